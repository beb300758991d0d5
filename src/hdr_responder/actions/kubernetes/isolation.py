"""Cuts a workload off the network and keeps its pods: a suspected break-in stops spreading and can still be examined.

A deny-all policy comes first, then the Services are cut. Neither alone is isolation: no policy does anything without a
network plugin that enforces it, and cut Services keep nobody away who knows a pod's address. What both leave open is
reported, never passed over.

The step changes several objects. The policy is written first, and every part may be sent again, so a worker that takes
a half-done step over goes on with `execute`; a Service that cannot be cut is reported, since the rest is better done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set

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
from hdr_responder.actions.kubernetes.fencing import claim, require_fence
from hdr_responder.actions.kubernetes.logs import belongs
from hdr_responder.actions.kubernetes.marks import STEP, test
from hdr_responder.actions.kubernetes.parts import Part, change_each
from hdr_responder.actions.kubernetes.policies import (
    Denial,
    allowing,
    claim_policy,
    delete_policy,
    deny,
    deny_all,
    manifest,
    policy_name,
    require_ours,
)
from hdr_responder.actions.kubernetes.rights import (
    ENDPOINT_SLICES,
    NETWORK_POLICIES,
    SERVICES,
    rights,
    workload_rights,
)
from hdr_responder.actions.kubernetes.rollouts import workload_target
from hdr_responder.actions.kubernetes.service_cuts import (
    LISTED_PODS,
    MAX_SERVICES,
    Cut,
    Serving,
    cut_off,
    cutting,
    holders,
    is_cut,
    let_go,
    looker,
    planned,
    serving,
)
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import all_healthy, surveyed
from hdr_responder.domain.ports.kubernetes import KubernetesCluster, WorkloadState
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import (
    AmbiguousError,
    ConflictError,
    FencedError,
    HdrError,
    NotFoundError,
    PermanentError,
    TemporaryError,
)

DRAIN_SECONDS = 5.0
"""How long is waited for the endpoints of a cut Service to go, which a controller takes away."""
POLL_SECONDS = 0.25


class IsolateParameters(Parameters):
    """What to cut off."""

    shorthand = "workload"
    workload: Workload


class IsolateResult(Result):
    """How the workload was cut off, and what still reaches it."""

    policy: str = Field(description="The NetworkPolicy that denies all traffic, name resolution (DNS) included.")
    pods: int = Field(description="Pods it selects.")
    still_allowed_by: list[str] = Field(
        description="Other policies that still let traffic through to or from the pods."
    )
    services: list[str] = Field(description="Services that select nothing now.")
    left: list[str] = Field(description="Services that still lead to the pods, each with the reason.")
    endpoints: list[str] = Field(description="Endpoints that still name the pods, as service/pod.")
    summary: str


class IsolationState(Denial):
    """What a step changes, decided once; without ``services`` as steps stored it that knew of none."""

    services: tuple[Cut, ...] = ()


class Isolate(Mutation[IsolateParameters, IsolateResult]):
    """Denies all traffic to and from a workload's pods, and cuts the Services that lead to them."""

    name = "kubernetes.isolate"
    summary = (
        "Cut a workload's pods off the network, name resolution included: a deny-all NetworkPolicy, and Services that"
        " select nothing; the pods keep running."
    )
    example = """\
id: isolate
action: kubernetes.isolate
with:
  workload: "${params.workload}"
"""
    parameters = IsolateParameters
    result = IsolateResult
    undoable = Undo.RESTORES
    holds_fence = True
    destructive = True
    effect_group = "network"
    awaits_dependencies = False
    default_timeout_seconds = 120.0

    def permissions(self, params: IsolateParameters) -> tuple[Permission, ...]:
        """Return the rights to find the pods, to manage network policies and to cut Services."""
        workload = params.workload
        return (
            *workload_rights(workload, "get"),
            *rights(workload, "pods", "list"),
            *rights(workload, NETWORK_POLICIES, "get", "list", "create", "patch", "delete"),
            *rights(workload, SERVICES, "get", "list", "patch"),
            *rights(workload, ENDPOINT_SLICES, "list"),
            *story_rights(workload),
        )

    def target(self, params: IsolateParameters) -> Target:
        """Return the workload."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: IsolateParameters) -> TargetSurvey:
        """Look at the workload: all of it is cut off; a GitOps controller puts selectors back that it tracks."""
        cluster = systems.cluster(params.workload.cluster)
        seen = await cluster.workload(params.workload)
        found = await serving(cluster, params.workload, seen)
        tracked = next((each.meta for each in found.services if each.meta.gitops), None)
        return surveyed(seen, all_healthy(seen), changes=tracked)

    async def dry_run(self, ctx: StepContext, params: IsolateParameters) -> None:
        """Rehearse the policy in its final form and every cut; refuses where it would miss the pods or hit others."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        seen = await cluster.workload(workload)
        await _refuse_unfit(cluster, workload, seen)
        await cluster.network_policies(workload.namespace)  # the result names them: a missing right speaks up now
        try:
            await cluster.create_network_policy(manifest(ctx, workload, deny_all(seen.selector)), dry_run=True)
        except ConflictError:
            require_ours(await cluster.network_policy(workload.namespace, policy_name(ctx, workload)))
        found = await serving(cluster, workload, seen)
        if len(found.services) > MAX_SERVICES:
            raise ConflictError(f"{len(found.services)} Services lead to {workload}, at most {MAX_SERVICES} are cut")
        for service in found.services:
            patch = cutting(ctx.step_key, workload, service, planned(service))
            if patch is not None:
                same = test("/metadata/uid", service.meta.uid)
                await cluster.patch(service.meta.ref, [same, *patch], dry_run=True)

    async def claim(self, ctx: StepContext, params: IsolateParameters) -> None:
        """Create the policy in its inert form under our fence, or raise the fence on it, and on the Services."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        await claim_policy(ctx, cluster, workload)
        for service in (await serving(cluster, workload, await cluster.workload(workload))).services:
            await claim(cluster, ctx.fence, looker(cluster, workload.namespace, service.meta.ref.name))

    async def capture(self, ctx: StepContext, params: IsolateParameters) -> State:
        """Remember which objects are changed: what the policy is to select, and what the Services select."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        seen = await cluster.workload(workload)
        policy = await cluster.network_policy(workload.namespace, policy_name(ctx, workload))
        require_fence(policy.meta, ctx.fence, policy.meta.uid)
        state = IsolationState(
            policy=policy.meta.ref.name,
            uid=policy.meta.uid,
            spec=deny_all(seen.selector),
            services=tuple(planned(each) for each in (await serving(cluster, workload, seen)).services),
        )
        return state.model_dump(mode="json")

    async def execute(self, ctx: StepContext, params: IsolateParameters, state: State) -> IsolateResult:
        """Deny by the policy, then cut the Services; one that cannot be cut is reported with the others left.

        What goes wrong once the policy denies is not raised as "nothing was changed".
        """
        workload, todo = params.workload, IsolationState.model_validate(state)
        cluster = ctx.systems.cluster(workload.cluster)
        await deny(ctx, cluster, workload.namespace, todo)

        def part(cut: Cut) -> Part:
            return lambda: cut_off(ctx, cluster, workload, cut)

        problems = await change_each({cut.service: part(cut) for cut in todo.services})
        try:
            await _drained(cluster, workload.namespace, {cut.service for cut in todo.services} - set(problems))
            return await _report(ctx, cluster, workload, todo, problems)
        except FencedError:
            raise
        except (TemporaryError, PermanentError) as e:
            raise AmbiguousError(f"{workload} was cut off, and could not be looked at afterwards: {e}") from e

    async def observe(self, ctx: StepContext, params: IsolateParameters, state: State) -> Observed[IsolateResult]:
        """Look for this step's key on the policy and on every Service; without all of them `execute` goes on."""
        workload, todo = params.workload, IsolationState.model_validate(state)
        cluster = ctx.systems.cluster(workload.cluster)
        try:
            policy = await cluster.network_policy(workload.namespace, todo.policy)
        except NotFoundError:
            return Observed(seen=Seen.NO_EFFECT, detail=f"there is no policy {todo.policy}")
        if policy.meta.uid != todo.uid:
            return Observed(seen=Seen.UNKNOWN, detail=f"{policy.meta.ref} was deleted and created anew")
        if policy.meta.annotations.get(STEP) != ctx.step_key:
            return Observed(seen=Seen.NO_EFFECT, detail="the policy selects no pod yet")
        waiting = await _not_cut_yet(ctx, cluster, workload, todo)
        if waiting:
            return Observed(seen=Seen.NO_EFFECT, detail=f"the policy stands, {', '.join(waiting)} is not cut yet")
        result = await _report(ctx, cluster, workload, todo, {})
        return Observed(seen=Seen.TOOK_EFFECT, result=result, detail="the policy stands, the Services are cut")

    async def undo(self, ctx: StepContext, params: IsolateParameters, state: State) -> Undone:
        """Delete the policy and let the Services go, each while it still is as we wrote it.

        The policy goes first: traffic comes when the pods may answer it.
        """
        namespace, done = params.workload.namespace, IsolationState.model_validate(state)
        cluster = ctx.systems.cluster(params.workload.cluster)
        answers = {await delete_policy(ctx, cluster, namespace, done)}
        for cut in done.services:
            answers.add(await let_go(ctx, cluster, namespace, cut))
        return next(each for each in (Undone.DRIFTED, Undone.UNDONE, Undone.NOTHING_TO_UNDO) if each in answers)

    async def announce(self, ctx: StepContext, params: IsolateParameters, state: State, *, undone: bool) -> None:
        """Write an Event on the workload and on every Service."""
        workload, done = params.workload, IsolationState.model_validate(state)
        cluster = ctx.systems.cluster(workload.cluster)
        seen = await cluster.workload(workload)
        reason, text = ("Released", "let this back on") if undone else ("Isolated", "cut this off")
        await tell(ctx, workload.cluster, seen.meta, reason=reason, done=f"{text} the network (policy {done.policy})")
        for cut in done.services:
            try:
                service = await cluster.service(workload.namespace, cut.service)
            except NotFoundError:
                continue
            if is_cut(service) is not undone:
                text = f"let this lead to {workload} again" if undone else f"cut this off its pods ({workload})"
                await tell(ctx, workload.cluster, service.meta, reason=reason, done=text)


async def _refuse_unfit(cluster: KubernetesCluster, workload: Workload, seen: WorkloadState) -> None:
    """Raise where a policy would miss the workload's pods or hit others."""
    if seen.host_network:
        raise PermanentError(f"{workload} uses its nodes' network, which no NetworkPolicy reaches")
    pods = await cluster.pods(workload.namespace, seen.selector, limit=LISTED_PODS)
    if len(pods) >= LISTED_PODS:
        raise ConflictError(f"the selector of {workload} matches {LISTED_PODS} pods or more, not judged by a part")
    strangers = sorted(pod.name for pod in pods if not belongs(pod, workload))
    if strangers:
        named = ", ".join(strangers[:3])
        raise ConflictError(f"the selector of {workload} also matches {len(strangers)} other pods ({named})")


async def _not_cut_yet(
    ctx: StepContext, cluster: KubernetesCluster, workload: Workload, todo: IsolationState
) -> list[str]:
    waiting = []
    for cut in todo.services:
        try:
            service = await cluster.service(workload.namespace, cut.service)
        except NotFoundError:
            continue
        if service.meta.uid == cut.uid and ctx.step_key not in holders(service.meta):
            waiting.append(cut.service)
    return waiting


async def _drained(cluster: KubernetesCluster, namespace: str, services: Set[str]) -> None:
    """Wait a little for the endpoints of the Services that are cut to go."""
    for _ in range(round(DRAIN_SECONDS / POLL_SECONDS) if services else 0):
        if not any(each.service in services for each in await cluster.endpoints(namespace)):
            return
        await asyncio.sleep(POLL_SECONDS)


async def _report(
    ctx: StepContext,
    cluster: KubernetesCluster,
    workload: Workload,
    done: IsolationState,
    problems: Mapping[str, HdrError],
) -> IsolateResult:
    seen = await cluster.workload(workload)
    pods = await cluster.pods(workload.namespace, seen.selector, limit=LISTED_PODS)
    allowed = allowing(await cluster.network_policies(workload.namespace), seen)
    found = await serving(cluster, workload, seen)
    held = sorted(each.meta.ref.name for each in found.services if is_cut(each) and ctx.step_key in holders(each.meta))
    left = sorted([*found.left, *(_why_open(each.meta.ref.name, problems) for each in found.open)])
    endpoints = sorted(f"{each.service}/{each.pod}" for each in found.endpoints)
    return IsolateResult(
        policy=done.policy,
        pods=len(pods),
        still_allowed_by=allowed,
        services=held,
        left=left,
        endpoints=endpoints,
        summary=_summary(len(pods), held, left, allowed, found),
    )


def _why_open(name: str, problems: Mapping[str, HdrError]) -> str:
    return f"{name}: not cut ({problems.get(name) or 'it came to select the pods'})"


def _summary(pods: int, held: list[str], left: list[str], allowed: list[str], found: Serving) -> str:
    told = [f"{pods} pods denied all traffic"]
    told += [f"cut off from {', '.join(held)}"] if held else []
    told += [f"STILL ALLOWED by {', '.join(allowed)}"] if allowed else []
    told += [f"left: {'; '.join(left)}"] if left else []
    told += [f"{len(found.endpoints)} endpoints remain"] if found.endpoints else []
    return "; ".join(told)[:1000]
