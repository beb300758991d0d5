"""A change of an object's replica numbers as data: what was there, what we write, and what undo may put back.

Scaling out, scaling to zero, with or without an autoscaler, are all "these fields from these values to those". Each
patch tests the values that it replaces, which protects against a lost update exactly where it would hurt and does not
fail because a controller wrote the status meanwhile, as a test on the resourceVersion would.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from pydantic import BaseModel, ConfigDict

from hdr_responder.actions.contract import StepContext, Undone
from hdr_responder.actions.kubernetes.fencing import change, claim
from hdr_responder.actions.kubernetes.marks import (
    METADATA_ANNOTATIONS,
    STEP,
    UNDONE,
    annotate,
    replace,
    test,
)
from hdr_responder.actions.kubernetes.rights import AUTOSCALERS
from hdr_responder.domain.ports.kubernetes import Autoscaler, JsonPatch, KubernetesCluster, WorkloadState
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError, NotFoundError

REPLICAS = "/spec/replicas"
MINIMUM = "/spec/minReplicas"
MAXIMUM = "/spec/maxReplicas"

Scaled = WorkloadState | Autoscaler


class Move(BaseModel):
    """One field's value before and after, at a JSON pointer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pointer: str
    before: int
    after: int


class BoundsChange(BaseModel):
    """The change of one object; stored as the step's state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resource: str
    name: str
    uid: str
    autoscaler: str | None
    """The workload's autoscaler at the time of capture."""
    moves: tuple[Move, ...]

    def of(self, pointer: str) -> Move | None:
        """Return the move of one field."""
        return next((move for move in self.moves if move.pointer == pointer), None)

    def patch(self, seen: Scaled, mark: Mapping[str, str], *, backwards: bool = False) -> JsonPatch:
        """Return the patch that tests the values to be replaced, replaces them and marks the object."""
        pairs = [(m.pointer, *((m.after, m.before) if backwards else (m.before, m.after))) for m in self.moves]
        return [
            *(test(pointer, old) for pointer, old, _ in pairs),
            *(replace(pointer, new) for pointer, _, new in pairs),
            *annotate(METADATA_ANNOTATIONS, seen.meta.annotations, mark),
        ]

    def holds_before(self, seen: Scaled) -> bool:
        """Tell whether the object still has the values from before."""
        return all(numbers(seen).get(move.pointer) == move.before for move in self.moves)

    def holds_after(self, seen: Scaled) -> bool:
        """Tell whether the object has the values that we write."""
        return all(numbers(seen).get(move.pointer) == move.after for move in self.moves)


def numbers(seen: Scaled) -> dict[str, int]:
    """Return an object's replica numbers by JSON pointer."""
    if isinstance(seen, Autoscaler):
        return {MINIMUM: seen.min_replicas, MAXIMUM: seen.max_replicas}
    return {} if seen.replicas is None else {REPLICAS: seen.replicas}


def looker(cluster: KubernetesCluster, workload: Workload, planned: BoundsChange) -> Callable[[], Awaitable[Scaled]]:
    """Return the reader of the object that a change is about."""

    async def look() -> Scaled:
        if planned.resource == AUTOSCALERS:
            return await cluster.read_autoscaler(workload.namespace, planned.name)
        return await cluster.workload(workload)

    return look


async def apply(ctx: StepContext, workload: Workload, planned: BoundsChange, marks: Mapping[str, str]) -> None:
    """Make the change once and write ``marks`` with it; does nothing when this step has made it already.

    Raises ConflictError when a field no longer has the value that the step was decided on.
    """
    cluster = ctx.systems.cluster(workload.cluster)

    def build(seen: Scaled) -> JsonPatch | None:
        if seen.meta.annotations.get(STEP) == ctx.step_key:
            return None
        if not planned.holds_before(seen):
            raise ConflictError(f"{seen.meta.ref} was scaled by somebody else since this step looked at it")
        return planned.patch(seen, {STEP: ctx.step_key, **marks})

    await change(cluster, ctx.fence, planned.uid, looker(cluster, workload, planned), build)


async def revert(ctx: StepContext, workload: Workload, planned: BoundsChange) -> Undone:
    """Put the old values back while the object still holds ours."""
    cluster = ctx.systems.cluster(workload.cluster)
    look = looker(cluster, workload, planned)
    try:
        seen = await look()
    except NotFoundError:
        return Undone.NOTHING_TO_UNDO
    if seen.meta.uid != planned.uid:
        return Undone.DRIFTED
    if seen.meta.annotations.get(UNDONE) == ctx.step_key:
        return Undone.UNDONE
    if planned.holds_before(seen):
        return Undone.NOTHING_TO_UNDO
    if not planned.holds_after(seen) or await _autoscaler_changed(cluster, workload, planned):
        return Undone.DRIFTED
    await claim(cluster, ctx.fence, look)
    return await _put_back(ctx, cluster, planned, look)


async def _put_back(
    ctx: StepContext, cluster: KubernetesCluster, planned: BoundsChange, look: Callable[[], Awaitable[Scaled]]
) -> Undone:
    drifted = False

    def build(seen: Scaled) -> JsonPatch | None:
        nonlocal drifted
        if seen.meta.annotations.get(UNDONE) == ctx.step_key:
            return None
        drifted = not planned.holds_after(seen)
        return None if drifted else planned.patch(seen, {UNDONE: ctx.step_key}, backwards=True)

    await change(cluster, ctx.fence, planned.uid, look, build)
    return Undone.DRIFTED if drifted else Undone.UNDONE


async def _autoscaler_changed(cluster: KubernetesCluster, workload: Workload, planned: BoundsChange) -> bool:
    """Tell whether another autoscaler owns the replicas now: putting ours back would fight it."""
    found = await cluster.autoscaler(workload)
    return (found.meta.ref.name if found else None) != planned.autoscaler
