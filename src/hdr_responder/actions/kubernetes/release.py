"""Ends the isolation of a workload, whichever run of ours made it: policies, Services and replicas as they were before.

Undo takes back what one run did, by its records; this is a person's decision about a workload that may have been
isolated more than once and long ago, by the marks that the isolations left on the objects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from pydantic import Field

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
from hdr_responder.actions.kubernetes.bounds import REPLICAS
from hdr_responder.actions.kubernetes.fencing import Look, change, claim
from hdr_responder.actions.kubernetes.marks import (
    METADATA_ANNOTATIONS,
    STEP,
    STOPPED,
    annotate,
    pointer,
    remove,
    replace,
    test,
)
from hdr_responder.actions.kubernetes.parts import Part, change_each
from hdr_responder.actions.kubernetes.policies import Denial, delete_policy
from hdr_responder.actions.kubernetes.rights import NETWORK_POLICIES, SERVICES, rights, workload_rights
from hdr_responder.actions.kubernetes.rollouts import claim_workload, workload_target
from hdr_responder.actions.kubernetes.service_cuts import Cut, is_cut, looker, restore, restoring
from hdr_responder.actions.kubernetes.standing import Standing, Stopped, look_up, standing
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import surveyed
from hdr_responder.domain.ports.kubernetes import JsonPatch, KubernetesCluster, NetworkPolicy, WorkloadState
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import AmbiguousError, ConflictError, HdrError, NotFoundError

REPLICAS_PART = "replicas"
"""What people are told of the workload's replicas."""


class ReleaseParameters(Parameters):
    """What to let back on the network."""

    shorthand = "workload"
    workload: Workload


class ReleaseResult(Result):
    """What was put back."""

    policies: list[str] = Field(description="NetworkPolicies of ours that were deleted.")
    services: list[str] = Field(description="Services that select their pods again.")
    replicas: int | None = Field(description="Replicas brought back; None when an isolation of ours took none away.")
    left: list[str] = Field(description="What was not put back, each with the reason: a person has to.")
    summary: str


class Release(Mutation[ReleaseParameters, ReleaseResult]):
    """Takes every isolation of ours off a workload."""

    name = "kubernetes.release"
    summary = (
        "End the isolation of a workload: delete our policies, give the Services their selectors back, and bring back"
        " replicas that were taken away with it."
    )
    example = """\
id: release
action: kubernetes.release
with:
  workload: "${params.workload}"
"""
    parameters = ReleaseParameters
    result = ReleaseResult
    undoable = Undo.NONE
    holds_fence = True
    destructive = True
    """It cuts nothing off, but may let a break-in loose: at P1 that is not done on one person's word either."""
    effect_group = "network"
    awaits_dependencies = False

    def permissions(self, params: ReleaseParameters) -> tuple[Permission, ...]:
        """Return the rights to find what stands of isolations and to put it back."""
        workload = params.workload
        verbs = ("get",) if workload.kind == "daemonset" else ("get", "patch")
        return (
            *workload_rights(workload, *verbs),
            *rights(workload, NETWORK_POLICIES, "get", "list", "patch", "delete"),
            *rights(workload, SERVICES, "get", "list", "patch"),
            *story_rights(workload),
        )

    def target(self, params: ReleaseParameters) -> Target:
        """Return the workload."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: ReleaseParameters) -> TargetSurvey:
        """Look at the workload; it loses nothing."""
        seen = await look_up(systems.cluster(params.workload.cluster), params.workload)
        return surveyed(seen) if seen is not None else TargetSurvey()

    async def dry_run(self, ctx: StepContext, params: ReleaseParameters) -> None:
        """Rehearse what can be; raises ConflictError when there is nothing to put back."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        seen = await look_up(cluster, workload)
        found = await standing(cluster, workload, seen)
        if not found.anything:
            seen = await cluster.workload(workload)
            left = f" ({'; '.join(found.left)})" if found.left else ""
            raise ConflictError(f"nothing that we can take back isolates {workload}{left}")
        for denial in found.denials:
            policy = await cluster.network_policy(workload.namespace, denial.policy)
            await cluster.delete_network_policy(policy.meta, dry_run=True)
        for cut in found.cuts:
            service = await cluster.service(workload.namespace, cut.service)
            patch = [test("/metadata/uid", cut.uid), *restoring(service, cut, {STEP: ctx.step_key})]
            await cluster.patch(service.meta.ref, patch, dry_run=True)
        if found.stopped is not None and seen is not None:
            patch = [test("/metadata/uid", seen.meta.uid), *_starting(ctx, seen, found.stopped)]
            await cluster.patch(seen.meta.ref, patch, dry_run=True)

    async def claim(self, ctx: StepContext, params: ReleaseParameters) -> None:
        """Raise the fence on everything that is to be put back and is there still."""
        await _claimed(ctx, params.workload)

    async def capture(self, ctx: StepContext, params: ReleaseParameters) -> State:
        """Remember what is put back."""
        return (await _claimed(ctx, params.workload)).model_dump(mode="json")

    async def execute(self, ctx: StepContext, params: ReleaseParameters, state: State) -> ReleaseResult:
        """Put each part back while it still is as we wrote it; what cannot be is reported.

        The policies go first, so that traffic and new pods find an open network. Raises what went wrong only when
        nothing at all was put back.
        """
        todo = Standing.model_validate(state)
        parts = _parts(ctx, params.workload, todo)
        problems = await change_each(parts)
        if parts and len(problems) == len(parts):
            first = next(iter(problems.values()))
            raise next((each for each in problems.values() if isinstance(each, AmbiguousError)), first)
        return _result(todo, problems)

    async def observe(self, ctx: StepContext, params: ReleaseParameters, state: State) -> Observed[ReleaseResult]:
        """Look whether any part still stands; if so, `execute` goes on."""
        todo = Standing.model_validate(state)
        waiting = await _waiting(ctx, params.workload, todo)
        if waiting:
            return Observed(seen=Seen.NO_EFFECT, detail=f"not put back yet: {', '.join(waiting)}")
        return Observed(seen=Seen.TOOK_EFFECT, result=_result(todo, {}), detail="nothing of it isolates any more")

    async def announce(self, ctx: StepContext, params: ReleaseParameters, state: State, *, undone: bool) -> None:
        """Write an Event on the workload and on every Service."""
        del undone
        workload, done = params.workload, Standing.model_validate(state)
        cluster = ctx.systems.cluster(workload.cluster)
        seen = await look_up(cluster, workload)
        if seen is not None:
            started = f" with {done.stopped.replicas} replicas" if done.stopped else ""
            told = f"let this back on the network{started}"
            await tell(ctx, workload.cluster, seen.meta, reason="Released", done=told)
        for cut in done.cuts:
            try:
                service = await cluster.service(workload.namespace, cut.service)
            except NotFoundError:
                continue
            if not is_cut(service):
                told = f"let this lead to {workload} again"
                await tell(ctx, workload.cluster, service.meta, reason="Released", done=told)


async def _claimed(ctx: StepContext, workload: Workload) -> Standing:
    """Raise the fence on all that stands, and return it; what goes meanwhile needs none."""
    cluster = ctx.systems.cluster(workload.cluster)
    found = await standing(cluster, workload, await look_up(cluster, workload))
    for denial in found.denials:
        with contextlib.suppress(NotFoundError):
            await claim(cluster, ctx.fence, _policy_looker(cluster, workload, denial))
    for cut in found.cuts:
        with contextlib.suppress(NotFoundError):
            await claim(cluster, ctx.fence, looker(cluster, workload.namespace, cut.service))
    if found.stopped is not None:
        await claim_workload(ctx, workload)
    return found


def _policy_looker(cluster: KubernetesCluster, workload: Workload, denial: Denial) -> Look[NetworkPolicy]:
    async def look() -> NetworkPolicy:
        return await cluster.network_policy(workload.namespace, denial.policy)

    return look


def _parts(ctx: StepContext, workload: Workload, todo: Standing) -> dict[str, Part]:
    """Return what is to be done, by the name that people are told."""
    cluster = ctx.systems.cluster(workload.cluster)

    def denial(each: Denial) -> Part:
        async def delete() -> None:
            if await delete_policy(ctx, cluster, workload.namespace, each) is Undone.DRIFTED:
                raise ConflictError("somebody edited it since")

        return delete

    def cut(each: Cut) -> Part:
        return lambda: restore(ctx, cluster, workload.namespace, each)

    def stopped(each: Stopped) -> Part:
        return lambda: _start(ctx, cluster, workload, each)

    return {
        **{_of_policy(each): denial(each) for each in todo.denials},
        **{_of_service(each): cut(each) for each in todo.cuts},
        **({REPLICAS_PART: stopped(todo.stopped)} if todo.stopped else {}),
    }


def _of_policy(denial: Denial) -> str:
    return f"policy {denial.policy}"


def _of_service(cut: Cut) -> str:
    return f"service {cut.service}"


async def _start(ctx: StepContext, cluster: KubernetesCluster, workload: Workload, stopped: Stopped) -> None:
    """Bring the replicas back; does nothing where somebody has given it some, or the workload is gone."""

    def build(seen: WorkloadState) -> JsonPatch | None:
        return _starting(ctx, seen, stopped) if _is_stopped(seen, stopped) else None

    try:
        if _is_stopped(await cluster.workload(workload), stopped):
            await claim_workload(ctx, workload)
            await change(cluster, ctx.fence, stopped.uid, lambda: cluster.workload(workload), build)
    except NotFoundError:
        return


def _is_stopped(seen: WorkloadState, stopped: Stopped) -> bool:
    return seen.meta.uid == stopped.uid and seen.replicas == 0 and STOPPED in seen.meta.annotations


def _starting(ctx: StepContext, seen: WorkloadState, stopped: Stopped) -> JsonPatch:
    return [
        test(REPLICAS, 0),
        replace(REPLICAS, stopped.replicas),
        remove(METADATA_ANNOTATIONS + pointer(STOPPED)),
        *annotate(METADATA_ANNOTATIONS, seen.meta.annotations, {STEP: ctx.step_key}),
    ]


async def _waiting(ctx: StepContext, workload: Workload, todo: Standing) -> list[str]:
    """Return the parts that still stand."""
    cluster = ctx.systems.cluster(workload.cluster)
    policies = {each.meta.uid for each in await cluster.network_policies(workload.namespace)}
    services = {each.meta.uid for each in await cluster.services(workload.namespace) if is_cut(each)}
    waiting = [_of_policy(each) for each in todo.denials if each.uid in policies]
    waiting += [_of_service(each) for each in todo.cuts if each.uid in services]
    if todo.stopped is not None:
        seen = await look_up(cluster, workload)
        waiting += [REPLICAS_PART] if seen is not None and _is_stopped(seen, todo.stopped) else []
    return waiting


def _result(done: Standing, problems: Mapping[str, HdrError]) -> ReleaseResult:
    policies = sorted(each.policy for each in done.denials if _of_policy(each) not in problems)
    services = sorted(each.service for each in done.cuts if _of_service(each) not in problems)
    replicas = done.stopped.replicas if done.stopped and REPLICAS_PART not in problems else None
    left = [*done.left, *(f"{part}: {problem}" for part, problem in problems.items())]
    told = [f"{len(policies)} {'policy' if len(policies) == 1 else 'policies'} deleted"]
    told += [f"{', '.join(services)} selects its pods again"] if services else []
    told += [f"{replicas} replicas brought back"] if replicas else []
    told += [f"LEFT: {'; '.join(left)}"] if left else []
    summary = "; ".join(told)[:1000]
    return ReleaseResult(policies=policies, services=services, replicas=replicas, left=left, summary=summary)
