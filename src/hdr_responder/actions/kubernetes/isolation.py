"""Cuts a workload off the network and keeps its pods: a suspected break-in stops spreading and can still be examined.

Pod labels are left alone: taking one away makes the ReplicaSet start another pod. Policies add up, so a deny-all does
nothing against a policy that allows; and no policy does anything without a network plugin that enforces it. Both are
reported, never passed over.

`claim` creates the policy in an inert form that selects no pod, so that the change itself is a patch under the fence
like every other: a late worker finds a policy with another fence, another uid, or none, and cannot isolate anything.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable

from pydantic import Field, JsonValue

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
from hdr_responder.actions.kubernetes.fencing import ATTEMPTS, change, claim, require_fence
from hdr_responder.actions.kubernetes.logs import belongs
from hdr_responder.actions.kubernetes.marks import (
    FENCE,
    MANAGED_BY,
    METADATA_ANNOTATIONS,
    STEP,
    annotate,
    replace,
)
from hdr_responder.actions.kubernetes.rights import NETWORK_POLICIES, rights, workload_rights
from hdr_responder.actions.kubernetes.rollouts import workload_target
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import all_healthy, surveyed
from hdr_responder.domain.ports.kubernetes import (
    MANAGER,
    JsonPatch,
    KubernetesCluster,
    NetworkPolicy,
    Requirement,
    Selector,
    WorkloadState,
)
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import AmbiguousError, ConflictError, NotFoundError, PermanentError, TemporaryError

LISTED_PODS = 500
NOTHING = Selector(
    requirements=(
        Requirement(key=FENCE, operator="Exists"),
        Requirement(key=FENCE, operator="DoesNotExist"),
    )
)
"""Selects no pod, whatever labels it has."""


class IsolateParameters(Parameters):
    """What to cut off."""

    shorthand = "workload"
    workload: Workload


class IsolateResult(Result):
    """How the workload was cut off."""

    policy: str = Field(description="The NetworkPolicy that denies all traffic.")
    pods: int = Field(description="Pods it selects.")
    still_allowed_by: list[str] = Field(
        description="Other policies that still let traffic through to or from the pods."
    )


class Isolate(Mutation[IsolateParameters, IsolateResult]):
    """Denies all traffic to and from a workload's pods."""

    name = "kubernetes.isolate"
    summary = "Cut a workload's pods off the network with a deny-all NetworkPolicy; the pods keep running."
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

    def permissions(self, params: IsolateParameters) -> tuple[Permission, ...]:
        """Return the rights to find the pods and to manage network policies."""
        workload = params.workload
        return (
            *workload_rights(workload, "get"),
            *rights(workload, "pods", "list"),
            *rights(workload, NETWORK_POLICIES, "get", "list", "create", "patch", "delete"),
            *story_rights(workload),
        )

    def target(self, params: IsolateParameters) -> Target:
        """Return the workload."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: IsolateParameters) -> TargetSurvey:
        """Look at the workload: all of it is cut off."""
        seen = await systems.cluster(params.workload.cluster).workload(params.workload)
        return surveyed(seen, all_healthy(seen))

    async def dry_run(self, ctx: StepContext, params: IsolateParameters) -> None:
        """Rehearse the policy in its final form; refuses where it would miss the pods or hit others."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        seen = await cluster.workload(workload)
        if seen.host_network:
            raise PermanentError(f"{workload} uses its nodes' network, which no NetworkPolicy reaches")
        pods = await cluster.pods(workload.namespace, seen.selector, limit=LISTED_PODS)
        strangers = sorted(pod.name for pod in pods if not belongs(pod, workload))
        if strangers:
            named = ", ".join(strangers[:3])
            raise ConflictError(f"the selector of {workload} also matches {len(strangers)} other pods ({named})")
        try:
            await cluster.create_network_policy(manifest(ctx, workload, deny_all(seen.selector)), dry_run=True)
        except ConflictError:
            _ours(await cluster.network_policy(workload.namespace, policy_name(ctx, workload)))

    async def claim(self, ctx: StepContext, params: IsolateParameters) -> None:
        """Create the policy in its inert form under our fence, or raise the fence on it when it is there."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        name = policy_name(ctx, workload)

        async def look() -> NetworkPolicy:
            try:
                return _ours(await cluster.network_policy(workload.namespace, name))
            except NotFoundError:
                # Another attempt of this step may have created it meanwhile, which the next look shows.
                with contextlib.suppress(ConflictError, AmbiguousError):
                    await cluster.create_network_policy(manifest(ctx, workload, deny_all(NOTHING)))
                return _ours(await cluster.network_policy(workload.namespace, name))

        await claim(cluster, ctx.fence, look)

    async def capture(self, ctx: StepContext, params: IsolateParameters) -> State:
        """Remember which object the policy is and which pods it is to select."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        selector = (await cluster.workload(workload)).selector
        policy = await cluster.network_policy(workload.namespace, policy_name(ctx, workload))
        require_fence(policy.meta, ctx.fence, policy.meta.uid)
        return {"policy": policy.meta.ref.name, "uid": policy.meta.uid, "spec": deny_all(selector)}

    async def execute(self, ctx: StepContext, params: IsolateParameters, state: State) -> IsolateResult:
        """Point the policy at the workload's pods."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)

        def patch(seen: NetworkPolicy) -> JsonPatch | None:
            if seen.meta.annotations.get(STEP) == ctx.step_key:
                return None
            mark = annotate(METADATA_ANNOTATIONS, seen.meta.annotations, {STEP: ctx.step_key})
            return [replace("/spec", state["spec"]), *mark]

        name = str(state["policy"])
        await change(
            cluster, ctx.fence, str(state["uid"]), lambda: cluster.network_policy(workload.namespace, name), patch
        )
        return await _report(cluster, workload, name)

    async def observe(self, ctx: StepContext, params: IsolateParameters, state: State) -> Observed[IsolateResult]:
        """Look for this step's key on the policy."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        name = str(state["policy"])
        try:
            policy = await cluster.network_policy(workload.namespace, name)
        except NotFoundError:
            return Observed(seen=Seen.NO_EFFECT, detail=f"there is no policy {name}")
        if policy.meta.uid != state["uid"]:
            return Observed(seen=Seen.UNKNOWN, detail=f"{policy.meta.ref} was deleted and created anew")
        if policy.meta.annotations.get(STEP) != ctx.step_key:
            return Observed(seen=Seen.NO_EFFECT, detail="the policy selects no pod yet")
        return Observed(
            seen=Seen.TOOK_EFFECT, result=await _report(cluster, workload, name), detail="the policy stands"
        )

    async def undo(self, ctx: StepContext, params: IsolateParameters, state: State) -> Undone:
        """Delete the policy while it is the object that we made and still says what we wrote."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        name = str(state["policy"])

        async def look() -> NetworkPolicy:
            return await cluster.network_policy(workload.namespace, name)

        asked = False
        for _ in range(ATTEMPTS):
            try:
                policy = await look()
                leftover = _is_inert(policy)
                if not leftover and not _is_as_written(policy, state):
                    return Undone.DRIFTED
                await claim(cluster, ctx.fence, look)
                claimed = await look()
                require_fence(claimed.meta, ctx.fence, policy.meta.uid)
                if leftover == _is_inert(claimed) and (leftover or _is_as_written(claimed, state)):
                    asked = not leftover
                    await cluster.delete_network_policy(claimed.meta)
                    return Undone.NOTHING_TO_UNDO if leftover else Undone.UNDONE
            except NotFoundError:
                return Undone.UNDONE if asked else Undone.NOTHING_TO_UNDO
            except (ConflictError, AmbiguousError):
                continue
        raise TemporaryError(f"cluster {cluster.name}: the policy {name} keeps changing, it was not deleted")

    async def announce(self, ctx: StepContext, params: IsolateParameters, state: State, *, undone: bool) -> None:
        """Write an Event on the workload."""
        workload, name = params.workload, state["policy"]
        seen = await ctx.systems.cluster(workload.cluster).workload(workload)
        reason, done = ("Released", "let this back on") if undone else ("Isolated", "cut this off")
        await tell(ctx, workload.cluster, seen.meta, reason=reason, done=f"{done} the network (policy {name})")


def policy_name(ctx: StepContext, workload: Workload) -> str:
    """Return the policy's name: the same for every attempt of this step, another for every other step."""
    digest = hashlib.sha256(f"{ctx.step_key} {workload.key}".encode()).hexdigest()[:12]
    return f"hdr-isolate-{workload.name[:200].rstrip('-.')}-{digest}"


def deny_all(pods: Selector) -> dict[str, JsonValue]:
    """Return a policy's spec that isolates ``pods`` in both directions and allows nothing."""
    requirements: list[JsonValue] = [
        {"key": each.key, "operator": each.operator, **({"values": list(each.values)} if each.values else {})}
        for each in pods.requirements
    ]
    selector: dict[str, JsonValue] = {}
    if pods.labels:
        selector["matchLabels"] = dict(pods.labels)
    if requirements:
        selector["matchExpressions"] = requirements
    return {"podSelector": selector, "policyTypes": ["Ingress", "Egress"]}


def manifest(ctx: StepContext, workload: Workload, spec: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the policy as it is created: ours by label, fenced, with the incident for whoever finds it."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": policy_name(ctx, workload),
            "namespace": workload.namespace,
            "labels": {MANAGED_BY: MANAGER},
            "annotations": {
                FENCE: str(ctx.fence),
                "hdr-responder.io/incident": ctx.incident_ref,
                "hdr-responder.io/workload": str(workload),
            },
        },
        "spec": spec,
    }


def allowing(policies: Iterable[NetworkPolicy], workload: WorkloadState) -> list[str]:
    """Return the policies that select the workload's pods and let traffic through."""
    return sorted(each.meta.ref.name for each in policies if each.allows and each.pods.selects(workload.pod_labels))


def isolates(policy: NetworkPolicy, workload: WorkloadState) -> bool:
    """Tell whether a policy of ours denies all traffic of the workload's pods."""
    ours = policy.meta.labels.get(MANAGED_BY) == MANAGER
    return ours and _stands(policy) and policy.pods == workload.selector


def _is_inert(policy: NetworkPolicy) -> bool:
    """Tell whether a policy of ours is still (or again) as `claim` creates it."""
    return policy.meta.labels.get(MANAGED_BY) == MANAGER and policy.pods == NOTHING


def _is_as_written(policy: NetworkPolicy, state: State) -> bool:
    return policy.meta.uid == state["uid"] and _stands(policy) and deny_all(policy.pods) == state["spec"]


def _stands(policy: NetworkPolicy) -> bool:
    return policy.isolates_ingress and policy.isolates_egress and not policy.allows


def _ours(policy: NetworkPolicy) -> NetworkPolicy:
    if policy.meta.labels.get(MANAGED_BY) != MANAGER:
        raise ConflictError(f"{policy.meta.ref} exists and is not ours")
    return policy


async def _report(cluster: KubernetesCluster, workload: Workload, name: str) -> IsolateResult:
    seen = await cluster.workload(workload)
    pods = await cluster.pods(workload.namespace, seen.selector, limit=LISTED_PODS)
    policies = await cluster.network_policies(workload.namespace)
    return IsolateResult(policy=name, pods=len(pods), still_allowed_by=allowing(policies, seen))
