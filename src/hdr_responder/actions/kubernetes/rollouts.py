"""Restarts a workload, waits for rollouts and judges them.

Restart and waiting are two actions, so that the change is over in milliseconds and a worker that dies while waiting has
nothing to find out about.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import Field

from hdr_responder.actions.contract import (
    Check,
    Mutation,
    Observed,
    Parameters,
    Permission,
    Read,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
    Verdict,
)
from hdr_responder.actions.kubernetes.fencing import change, claim, require_fence
from hdr_responder.actions.kubernetes.marks import RESTARTED_AT, STEP, annotate, test
from hdr_responder.actions.kubernetes.rights import workload_rights
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import restart_impact, surveyed
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.kubernetes import JsonPatch, WorkloadState
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError, PermanentError, TemporaryError

TEMPLATE_ANNOTATIONS = "/spec/template/metadata/annotations"
POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rollout is, with one line for people."""

    state: Literal["done", "progressing", "failed"]
    detail: str


def progress(seen: WorkloadState) -> Progress:
    """Judge a rollout (Kubernetes contract: observedGeneration >= generation, updated = replicas = available).

    A stalled condition counts only once the controller has observed the present generation: before, it speaks of an
    earlier rollout. A StatefulSet's ``partition`` keeps that many pods on the old template.
    """
    if seen.observed_generation < seen.meta.generation:
        return Progress(state="progressing", detail="the controller has not seen the change yet")
    if seen.stalled is not None:
        return Progress(state="failed", detail=f"ProgressDeadlineExceeded: {seen.stalled}")
    wanted = max(seen.desired - seen.partition, 0)
    if seen.updated < wanted:
        return Progress(state="progressing", detail=f"{seen.updated} of {wanted} replicas updated")
    if not seen.partition and seen.total > seen.updated:
        return Progress(state="progressing", detail=f"{seen.total - seen.updated} old replicas still there")
    if seen.available < seen.desired:
        return Progress(state="progressing", detail=f"{seen.available} of {seen.desired} replicas available")
    return Progress(state="done", detail=f"{seen.available} of {seen.desired} replicas updated and available")


class RestartParameters(Parameters):
    """What to restart."""

    shorthand = "workload"
    workload: Workload


class RestartResult(Result):
    """What was restarted."""

    workload: str = Field(description="The workload, as kind/name.")
    restarted_at: str = Field(description="The time written on the pod template (RFC 3339).")


class RolloutRestart(Mutation[RestartParameters, RestartResult]):
    """Replaces all pods under the workload's own update strategy."""

    name = "kubernetes.rollout_restart"
    summary = "Restart a workload's pods under its own update strategy."
    example = """\
id: restart
action: kubernetes.rollout_restart
with:
  workload: "${params.workload}"
"""
    parameters = RestartParameters
    result = RestartResult
    undoable = Undo.NONE
    holds_fence = True
    destructive = False
    effect_group = "workload"

    def permissions(self, params: RestartParameters) -> tuple[Permission, ...]:
        """Return the rights to read and patch the workload."""
        return (*workload_rights(params.workload, "get", "patch"), *story_rights(params.workload))

    def target(self, params: RestartParameters) -> Target:
        """Return the workload; other ways to replace its pods share the effect."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: RestartParameters) -> TargetSurvey:
        """Look at the workload; what it takes away is up to its update strategy."""
        workload = params.workload
        seen = await systems.cluster(workload.cluster).workload(workload)
        return surveyed(seen, restart_impact(workload.kind, seen))

    async def dry_run(self, ctx: StepContext, params: RestartParameters) -> None:
        """Rehearse the patch; refuses where the annotation would not restart anything."""
        cluster = ctx.systems.cluster(params.workload.cluster)
        seen = await cluster.workload(params.workload)
        if seen.paused:
            raise ConflictError(f"{params.workload} is paused: a restart would wait until it is resumed")
        if seen.update_strategy == "OnDelete":
            raise ConflictError(f"{params.workload} has the update strategy OnDelete: it restarts no pod by itself")
        now = ctx.clock.now().isoformat(timespec="seconds")
        await cluster.patch(
            seen.meta.ref, [test("/metadata/uid", seen.meta.uid), *_restart(ctx, seen, now)], dry_run=True
        )

    async def claim(self, ctx: StepContext, params: RestartParameters) -> None:
        """Raise the fence on the workload."""
        await claim_workload(ctx, params.workload)

    async def capture(self, ctx: StepContext, params: RestartParameters) -> State:
        """Fix the time to write, so that the same restart sent twice is one restart."""
        seen = await ctx.systems.cluster(params.workload.cluster).workload(params.workload)
        require_fence(seen.meta, ctx.fence, seen.meta.uid)
        return {
            "uid": seen.meta.uid,
            "restarted_at": ctx.clock.now().isoformat(timespec="seconds"),
            "restarted_before": (seen.template_annotations or {}).get(RESTARTED_AT),
        }

    async def execute(self, ctx: StepContext, params: RestartParameters, state: State) -> RestartResult:
        """Write the restart on the pod template."""
        cluster = ctx.systems.cluster(params.workload.cluster)
        at = str(state["restarted_at"])

        def patch(seen: WorkloadState) -> JsonPatch | None:
            return None if _is_ours(ctx, seen) else _restart(ctx, seen, at)

        await change(cluster, ctx.fence, str(state["uid"]), lambda: cluster.workload(params.workload), patch)
        return RestartResult(workload=str(params.workload), restarted_at=at)

    async def observe(self, ctx: StepContext, params: RestartParameters, state: State) -> Observed[RestartResult]:
        """Look for this step's key on the pod template."""
        seen = await ctx.systems.cluster(params.workload.cluster).workload(params.workload)
        if seen.meta.uid != state["uid"]:
            return Observed(seen=Seen.UNKNOWN, detail=f"{params.workload} was deleted and created anew")
        if _is_ours(ctx, seen):
            result = RestartResult(workload=str(params.workload), restarted_at=str(state["restarted_at"]))
            return Observed(seen=Seen.TOOK_EFFECT, result=result, detail="the pod template carries this step")
        if (seen.template_annotations or {}).get(RESTARTED_AT) != state["restarted_before"]:
            return Observed(seen=Seen.UNKNOWN, detail="somebody else restarted it since")
        return Observed(seen=Seen.NO_EFFECT, detail="the pod template does not carry this step")

    async def announce(self, ctx: StepContext, params: RestartParameters, state: State, *, undone: bool) -> None:
        """Write an Event on the workload."""
        del state, undone
        workload = params.workload
        seen = await ctx.systems.cluster(workload.cluster).workload(workload)
        await tell(ctx, workload.cluster, seen.meta, reason="Restarted", done="restarted this")


def workload_target(workload: Workload, effect_group: str) -> Target:
    """Return the lock on a workload."""
    title = f"{workload} in {workload.namespace} ({workload.cluster})"
    return Target(key=workload.key, effect_group=effect_group, title=title)


async def claim_workload(ctx: StepContext, workload: Workload) -> None:
    """Raise the fence on a workload."""
    cluster = ctx.systems.cluster(workload.cluster)
    await claim(cluster, ctx.fence, lambda: cluster.workload(workload))


def _is_ours(ctx: StepContext, seen: WorkloadState) -> bool:
    return (seen.template_annotations or {}).get(STEP) == ctx.step_key


def _restart(ctx: StepContext, seen: WorkloadState, at: str) -> JsonPatch:
    marks = {RESTARTED_AT: at, STEP: ctx.step_key}
    return annotate(TEMPLATE_ANNOTATIONS, seen.template_annotations, marks)


class RolloutStatusParameters(Parameters):
    """What to wait for."""

    shorthand = "workload"
    workload: Workload
    within: Duration = Field(default=timedelta(minutes=5), gt=timedelta(0), le=timedelta(hours=1))


class RolloutStatusResult(Result):
    """How the rollout ended."""

    replicas: int = Field(description="Replicas that are updated and available.")
    detail: str


class RolloutStatus(Read[RolloutStatusParameters, RolloutStatusResult]):
    """Waits until all replicas run the present template and are available."""

    name = "kubernetes.rollout_status"
    summary = "Wait until a workload's rollout is done."
    example = """\
id: wait
action: kubernetes.rollout_status
with:
  workload: "${params.workload}"
  within: 10m
"""
    parameters = RolloutStatusParameters
    result = RolloutStatusResult
    default_timeout_seconds = 3700.0

    def permissions(self, params: RolloutStatusParameters) -> tuple[Permission, ...]:
        """Return the right to read the workload."""
        return workload_rights(params.workload, "get")

    async def execute(self, ctx: StepContext, params: RolloutStatusParameters) -> RolloutStatusResult:
        """Poll until done.

        Raises PermanentError on ProgressDeadlineExceeded, TemporaryError when it is not done ``within`` the time.
        """
        cluster = ctx.systems.cluster(params.workload.cluster)
        last = "not looked at yet"
        try:
            async with asyncio.timeout(params.within.total_seconds()):
                while True:
                    try:
                        seen = await cluster.workload(params.workload)
                    except TemporaryError as e:  # a restarting API server is no reason to give the rollout up
                        last = str(e)
                    else:
                        now = progress(seen)
                        last = now.detail
                        if now.state == "done":
                            return RolloutStatusResult(replicas=seen.available, detail=now.detail)
                        if now.state == "failed":
                            raise PermanentError(f"the rollout of {params.workload} failed: {now.detail}")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as e:
            within = f"{params.within.total_seconds():g} s"
            raise TemporaryError(f"the rollout of {params.workload} is not done within {within}: {last}") from e


class RolloutParameters(Parameters):
    """Which workload must be rolled out."""

    shorthand = "workload"
    workload: Workload


class Rollout(Check[RolloutParameters]):
    """Holds when all replicas run the present template and are available."""

    name = "kubernetes.rollout"
    summary = "All replicas of the workload are updated and available."
    example = """\
kubernetes.rollout:
  workload: "${params.workload}"
"""
    parameters = RolloutParameters

    def permissions(self, params: RolloutParameters) -> tuple[Permission, ...]:
        """Return the right to read the workload."""
        return workload_rights(params.workload, "get")

    async def evaluate(self, ctx: StepContext, params: RolloutParameters) -> Verdict:
        """Judge the rollout; one still in progress is no evidence yet, and neither are zero replicas."""
        try:
            seen = await ctx.systems.cluster(params.workload.cluster).workload(params.workload)
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))
        now = progress(seen)
        if now.state == "done" and seen.desired == 0:
            return Verdict(holds=None, detail=f"{params.workload} has no replicas: nothing shows that it works")
        return Verdict(holds={"done": True, "progressing": None, "failed": False}[now.state], detail=now.detail)
