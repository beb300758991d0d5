"""Gives a workload more or fewer replicas, or takes them all away, and puts back what was there.

An autoscaler owns a workload's replicas (Kubernetes contract): scaling under one moves its bounds, since it would
revert the workload's own number within seconds. Zero replicas suspend an autoscaler, so scaling to zero and back works
on the workload in either case.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

from pydantic import Field, model_validator

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Parameters,
    Permission,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
    Undone,
)
from hdr_responder.actions.kubernetes.bounds import (
    MAXIMUM,
    MINIMUM,
    REPLICAS,
    BoundsChange,
    Move,
    Scaled,
    apply,
    looker,
    revert,
)
from hdr_responder.actions.kubernetes.fencing import claim, require_fence
from hdr_responder.actions.kubernetes.marks import STEP, STOPPED, test
from hdr_responder.actions.kubernetes.rights import AUTOSCALERS, rights, workload_rights
from hdr_responder.actions.kubernetes.rollouts import workload_target
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import all_healthy, fewer_impact, surveyed
from hdr_responder.domain.ports.kubernetes import Autoscaler, KubernetesCluster, WorkloadState
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import Impact, TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError


class ScalingParameters(Parameters):
    """Whose replicas change."""

    workload: Workload

    @model_validator(mode="after")
    def _scalable(self) -> ScalingParameters:
        if self.workload.kind == "daemonset":
            raise ValueError("a daemonset has one pod a node and no replicas to scale")
        return self


class ScaleParameters(ScalingParameters):
    """How many replicas: ``to`` a number or ``by`` so many more or fewer, within ``minimum`` and ``maximum``."""

    to: int | None = Field(default=None, ge=1)
    by: int | None = Field(default=None, description="So many more, or fewer when it is negative.")
    minimum: int = Field(default=1, ge=1, description="A target below it is refused, not trimmed.")
    maximum: int | None = Field(
        default=None, ge=1, description="A target beyond it is refused, not trimmed; required where `by` adds."
    )

    @model_validator(mode="after")
    def _one_way(self) -> ScaleParameters:
        if (self.to is None) == (self.by is None):
            raise ValueError("give either to or by")
        if self.by == 0:
            raise ValueError("by is 0, which changes nothing")
        if self.by is not None and self.by > 0 and self.maximum is None:
            raise ValueError("by adds replicas: give the maximum")
        if self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum is beyond maximum")
        if self.to is not None and self.maximum is not None and self.to > self.maximum:
            raise ValueError(f"to ({self.to}) is beyond maximum ({self.maximum})")
        if self.to is not None and self.to < self.minimum:
            raise ValueError(f"to ({self.to}) is below minimum ({self.minimum})")
        return self

    def wanted(self, present: int) -> int:
        """Return the number to have when there are ``present``."""
        return self.to if self.to is not None else present + (self.by or 0)


class ScaleToZeroParameters(ScalingParameters):
    """Whose replicas are taken away."""

    shorthand = "workload"


class ScalingResult(Result):
    """What was scaled."""

    changed: bool = Field(description="False when the numbers were these already.")
    replicas: int = Field(
        description="Replicas asked for; with an autoscaler the bound of it that lifts or lowers them."
    )
    was: int = Field(description="The same number before.")
    autoscaler: str | None = Field(description="The autoscaler of the workload, moved or suspended.")


P = TypeVar("P", bound=ScalingParameters)


class Scaling(Mutation[P, ScalingResult]):
    """What all changes of replica numbers share; they differ in the numbers alone."""

    result = ScalingResult
    undoable = Undo.RESTORES
    holds_fence = True

    @abstractmethod
    def plan(self, params: P, workload: WorkloadState, autoscaler: Autoscaler | None) -> BoundsChange:
        """Decide the change; raises ConflictError when it must not be made."""

    def permissions(self, params: P) -> tuple[Permission, ...]:
        """Return the rights to read and patch the workload and to find its autoscaler."""
        workload = params.workload
        return (
            *workload_rights(workload, "get", "patch"),
            *rights(workload, AUTOSCALERS, "list"),
            *story_rights(workload),
        )

    def target(self, params: P) -> Target:
        """Return the workload, whichever object carries its replica numbers."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: P) -> TargetSurvey:
        """Look at the workload; a GitOps controller puts replica numbers back that it tracks."""
        workload, autoscaler = await read(systems.cluster(params.workload.cluster), params.workload)
        impact = self.impact(params, workload, autoscaler)
        return surveyed(workload, impact, changes=self.carrier(workload, autoscaler).meta)

    @abstractmethod
    def impact(self, params: P, workload: WorkloadState, autoscaler: Autoscaler | None) -> Impact | None:
        """Return what the change takes away, None for nothing."""

    def marks(self, ctx: StepContext, planned: BoundsChange) -> Mapping[str, str]:
        """Return the annotations that the change leaves beside the step's key."""
        del ctx, planned
        return {}

    async def dry_run(self, ctx: StepContext, params: P) -> None:
        """Rehearse the change."""
        seen, planned = await self._look(ctx, params)
        cluster = ctx.systems.cluster(params.workload.cluster)
        same = test("/metadata/uid", planned.uid)
        await cluster.patch(seen.meta.ref, [same, *planned.patch(seen, {STEP: ctx.step_key})], dry_run=True)

    async def claim(self, ctx: StepContext, params: P) -> None:
        """Raise the fence on the object that carries the numbers."""
        cluster = ctx.systems.cluster(params.workload.cluster)

        async def look() -> Scaled:
            return self.carrier(*await read(cluster, params.workload))

        await claim(cluster, ctx.fence, look)

    async def capture(self, ctx: StepContext, params: P) -> State:
        """Decide the numbers, once, from what is there now."""
        seen, planned = await self._look(ctx, params)
        require_fence(seen.meta, ctx.fence, planned.uid)
        return planned.model_dump(mode="json")

    async def execute(self, ctx: StepContext, params: P, state: State) -> ScalingResult:
        """Write the numbers that were decided."""
        planned = BoundsChange.model_validate(state)
        await apply(ctx, params.workload, planned, self.marks(ctx, planned))
        return outcome(planned)

    async def observe(self, ctx: StepContext, params: P, state: State) -> Observed[ScalingResult]:
        """Look for this step's key, then for the numbers."""
        planned = BoundsChange.model_validate(state)
        seen = await looker(ctx.systems.cluster(params.workload.cluster), params.workload, planned)()
        if seen.meta.uid != planned.uid:
            return Observed(seen=Seen.UNKNOWN, detail=f"{seen.meta.ref} was deleted and created anew")
        if seen.meta.annotations.get(STEP) == ctx.step_key:
            return Observed(seen=Seen.TOOK_EFFECT, result=outcome(planned), detail="the object carries this step")
        if planned.holds_before(seen):
            return Observed(seen=Seen.NO_EFFECT, detail="the numbers are those from before")
        return Observed(seen=Seen.UNKNOWN, detail=f"{seen.meta.ref} was changed, and not marked by this step")

    async def undo(self, ctx: StepContext, params: P, state: State) -> Undone:
        """Put the numbers back where ours still stand and no other autoscaler owns them now."""
        return await revert(ctx, params.workload, BoundsChange.model_validate(state))

    async def announce(self, ctx: StepContext, params: P, state: State, *, undone: bool) -> None:
        """Write an Event on the object whose numbers changed."""
        planned, workload = BoundsChange.model_validate(state), params.workload
        seen = await looker(ctx.systems.cluster(workload.cluster), workload, planned)()
        first = planned.moves[0]
        before, after = (first.after, first.before) if undone else (first.before, first.after)
        reason = "ScalingUndone" if undone else "Scaled"
        await tell(ctx, workload.cluster, seen.meta, reason=reason, done=f"scaled this from {before} to {after}")

    @abstractmethod
    def carrier(self, workload: WorkloadState, autoscaler: Autoscaler | None) -> Scaled:
        """Return the object whose numbers change."""

    async def _look(self, ctx: StepContext, params: P) -> tuple[Scaled, BoundsChange]:
        workload, autoscaler = await read(ctx.systems.cluster(params.workload.cluster), params.workload)
        return self.carrier(workload, autoscaler), self.plan(params, workload, autoscaler)


class Scale(Scaling[ScaleParameters]):
    """Adds replicas or takes some away."""

    name = "kubernetes.scale"
    summary = "Give a workload more or fewer replicas, through its autoscaler where it has one."
    example = """\
id: more
action: kubernetes.scale
with:
  workload: "${params.workload}"
  by: 2
  maximum: 12
"""
    parameters = ScaleParameters
    destructive = False
    effect_group = "replicas"

    def permissions(self, params: ScaleParameters) -> tuple[Permission, ...]:
        """Return the rights on the workload and on its autoscaler, which is what changes where there is one."""
        return (*super().permissions(params), *rights(params.workload, AUTOSCALERS, "get", "patch"))

    def carrier(self, workload: WorkloadState, autoscaler: Autoscaler | None) -> Scaled:
        """Return the autoscaler where there is one."""
        return autoscaler or workload

    def impact(self, params: ScaleParameters, workload: WorkloadState, autoscaler: Autoscaler | None) -> Impact | None:
        """Return the healthy pods that go; where an earlier step gives the number, as many as it may take away."""
        present = held(workload, autoscaler)
        known = params.to is not None or params.by is not None
        wanted = params.wanted(present) if known else params.minimum
        return fewer_impact(params.workload.kind, workload, max(wanted, 0)) if wanted < present else None

    def plan(self, params: ScaleParameters, workload: WorkloadState, autoscaler: Autoscaler | None) -> BoundsChange:
        """Decide the target; refuses one that is not within the bounds, or that is there already."""
        refuse_foreign(autoscaler)
        if autoscaler is not None and not workload.replicas:
            raise ConflictError(f"{params.workload} is scaled to zero, which suspends {autoscaler.meta.ref}")
        present = held(workload, autoscaler)
        wanted = params.wanted(present)
        if params.maximum is not None and wanted > params.maximum:
            raise ConflictError(f"{params.workload}: {wanted} replicas would be beyond the maximum of {params.maximum}")
        if wanted < params.minimum:
            raise ConflictError(f"{params.workload}: {wanted} replicas would be below the minimum of {params.minimum}")
        if wanted == present:
            raise ConflictError(
                f"{params.workload} has {present} replicas already: scaling to {wanted} changes nothing"
            )
        if autoscaler is None:
            return planned(workload, None, Move(pointer=REPLICAS, before=present, after=wanted))
        return planned(autoscaler, autoscaler, *bounds_for(wanted, present, autoscaler))


class ScaleToZero(Scaling[ScaleToZeroParameters]):
    """Takes all replicas away."""

    name = "kubernetes.scale_to_zero"
    summary = "Stop a workload by taking all its replicas away; its autoscaler, if any, is suspended by that."
    example = """\
id: stop
action: kubernetes.scale_to_zero
with:
  workload: "${params.workload}"
"""
    parameters = ScaleToZeroParameters
    destructive = True
    effect_group = "replicas"
    awaits_dependencies = False

    def impact(
        self, params: ScaleToZeroParameters, workload: WorkloadState, autoscaler: Autoscaler | None
    ) -> Impact | None:
        """Return everything."""
        del params, autoscaler
        return all_healthy(workload)

    def marks(self, ctx: StepContext, planned: BoundsChange) -> Mapping[str, str]:
        """Say how many replicas were taken away, so that a release can bring them back."""
        before = planned.moves[0].before
        return {STOPPED: f"{ctx.step_key} {before}"} if before else {}

    def carrier(self, workload: WorkloadState, autoscaler: Autoscaler | None) -> Scaled:
        """Return the workload: zero replicas suspend an autoscaler."""
        del autoscaler
        return workload

    def plan(
        self, params: ScaleToZeroParameters, workload: WorkloadState, autoscaler: Autoscaler | None
    ) -> BoundsChange:
        """Decide for zero; a workload that is at zero already stays so."""
        del params
        refuse_foreign(autoscaler)
        return planned(workload, autoscaler, Move(pointer=REPLICAS, before=workload.replicas or 0, after=0))


async def read(cluster: KubernetesCluster, workload: Workload) -> tuple[WorkloadState, Autoscaler | None]:
    """Read a workload and the autoscaler that owns its replicas."""
    return await cluster.workload(workload), await cluster.autoscaler(workload)


def held(workload: WorkloadState, autoscaler: Autoscaler | None) -> int:
    """Return how many replicas are asked for at present; an autoscaler's bounds count before it has acted on them.

    So fewer never widen its bounds, and more never narrow them.
    """
    present = workload.replicas or 0
    return min(max(present, autoscaler.min_replicas), autoscaler.max_replicas) if autoscaler else present


def bounds_for(wanted: int, present: int, autoscaler: Autoscaler) -> list[Move]:
    """Return how an autoscaler's bounds move: its minimum lifts the replicas, its maximum holds them down.

    The other bound moves where it would be in the way.
    """
    low, high = autoscaler.min_replicas, autoscaler.max_replicas
    up, down = Move(pointer=MINIMUM, before=low, after=wanted), Move(pointer=MAXIMUM, before=high, after=wanted)
    if wanted > present:
        return [up, down] if wanted > high else [up]
    return [down, up] if wanted < low else [down]


def refuse_foreign(autoscaler: Autoscaler | None) -> None:
    """Raise ConflictError when a controller (such as KEDA's ScaledObject) owns the autoscaler and would revert us."""
    if autoscaler is not None and autoscaler.meta.controller is not None:
        raise ConflictError(f"{autoscaler.meta.ref} is controlled by {autoscaler.meta.controller}: change that instead")


def planned(carrier: Scaled, autoscaler: Autoscaler | None, *moves: Move) -> BoundsChange:
    """Return the change of one object."""
    ref = carrier.meta.ref
    name = autoscaler.meta.ref.name if autoscaler else None
    return BoundsChange(resource=ref.resource, name=ref.name, uid=carrier.meta.uid, autoscaler=name, moves=moves)


def outcome(change: BoundsChange) -> ScalingResult:
    """Return the result of a change that was made."""
    first = change.moves[0]
    return ScalingResult(
        changed=first.before != first.after, replicas=first.after, was=first.before, autoscaler=change.autoscaler
    )
