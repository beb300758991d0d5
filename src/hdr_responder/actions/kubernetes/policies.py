"""The deny-all NetworkPolicy of an isolation: how it is made, told from others, and taken away again.

`claim_policy` creates it in an inert form that selects no pod, so that the change itself is a patch under the fence
like every other: a late worker finds a policy with another fence, another uid, or none, and cannot isolate anything.

Policies add up, so a deny-all does nothing against a policy that allows; and no policy does anything without a network
plugin that enforces it. It denies name resolution (DNS) like all other traffic.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, JsonValue

from hdr_responder.actions.contract import StepContext, Undone
from hdr_responder.actions.kubernetes.fencing import ATTEMPTS, change, claim, require_fence
from hdr_responder.actions.kubernetes.marks import FENCE, MANAGED_BY, METADATA_ANNOTATIONS, STEP, annotate, replace
from hdr_responder.domain.ports.kubernetes import (
    MANAGER,
    JsonPatch,
    KubernetesCluster,
    NetworkPolicy,
    Requirement,
    Selector,
    WorkloadState,
)
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import AmbiguousError, ConflictError, NotFoundError, TemporaryError

WORKLOAD = "hdr-responder.io/workload"
"""On policies and Services of an isolation: the workload (``kind/name``) that it isolates."""
SELECTED = "hdr-responder.io/selector"
"""On policies the pods that they isolate as we wrote it, on Services those that they selected before; in JSON."""
INCIDENT = "hdr-responder.io/incident"
NOTHING = Selector(
    requirements=(
        Requirement(key=FENCE, operator="Exists"),
        Requirement(key=FENCE, operator="DoesNotExist"),
    )
)
"""Selects no pod, whatever labels it has."""


class Denial(BaseModel):
    """One policy of ours: which object it is, and what it says once it denies."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    policy: str
    uid: str
    spec: dict[str, JsonValue]


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
            "annotations": {FENCE: str(ctx.fence), INCIDENT: ctx.incident_ref, WORKLOAD: str(workload)},
        },
        "spec": spec,
    }


def allowing(policies: Iterable[NetworkPolicy], workload: WorkloadState) -> list[str]:
    """Return the policies that select the workload's pods and let traffic through."""
    return sorted(each.meta.ref.name for each in policies if each.allows and each.pods.selects(workload.pod_labels))


def isolates(policy: NetworkPolicy, workload: WorkloadState) -> bool:
    """Tell whether a policy of ours denies all traffic of the workload's pods."""
    return is_ours(policy) and denies(policy) and policy.pods == workload.selector


def is_ours(policy: NetworkPolicy) -> bool:
    """Tell whether we made the policy."""
    return policy.meta.labels.get(MANAGED_BY) == MANAGER


def denies(policy: NetworkPolicy) -> bool:
    """Tell whether a policy lets nothing in or out of the pods that it selects."""
    return policy.isolates_ingress and policy.isolates_egress and not policy.allows


def is_inert(policy: NetworkPolicy) -> bool:
    """Tell whether a policy of ours is still (or again) as `claim_policy` creates it."""
    return is_ours(policy) and policy.pods == NOTHING


def require_ours(policy: NetworkPolicy) -> NetworkPolicy:
    """Return the policy; raises ConflictError when somebody else made it."""
    if not is_ours(policy):
        raise ConflictError(f"{policy.meta.ref} exists and is not ours")
    return policy


async def claim_policy(ctx: StepContext, cluster: KubernetesCluster, workload: Workload) -> None:
    """Create this step's policy in its inert form under our fence, or raise the fence on it when it is there."""
    name = policy_name(ctx, workload)

    async def look() -> NetworkPolicy:
        try:
            return require_ours(await cluster.network_policy(workload.namespace, name))
        except NotFoundError:
            # Another attempt of this step may have created it meanwhile, which the next look shows.
            with contextlib.suppress(ConflictError, AmbiguousError):
                await cluster.create_network_policy(manifest(ctx, workload, deny_all(NOTHING)))
            return require_ours(await cluster.network_policy(workload.namespace, name))

    await claim(cluster, ctx.fence, look)


async def deny(ctx: StepContext, cluster: KubernetesCluster, namespace: str, denial: Denial) -> None:
    """Point the policy at the workload's pods; does nothing when this step has done it already."""

    def patch(seen: NetworkPolicy) -> JsonPatch | None:
        if seen.meta.annotations.get(STEP) == ctx.step_key:
            return None
        marks = {STEP: ctx.step_key, SELECTED: json.dumps(denial.spec["podSelector"], sort_keys=True)}
        return [replace("/spec", denial.spec), *annotate(METADATA_ANNOTATIONS, seen.meta.annotations, marks)]

    await change(cluster, ctx.fence, denial.uid, lambda: cluster.network_policy(namespace, denial.policy), patch)


async def delete_policy(ctx: StepContext, cluster: KubernetesCluster, namespace: str, denial: Denial) -> Undone:
    """Delete the policy while it is the object that we made and still says what we wrote.

    An inert one is deleted too, which counts as nothing to undo.
    """

    async def look() -> NetworkPolicy:
        return await cluster.network_policy(namespace, denial.policy)

    asked = False
    for _ in range(ATTEMPTS):
        try:
            policy = await look()
            leftover = is_inert(policy)
            if not leftover and not _is_as_written(policy, denial):
                return Undone.DRIFTED
            await claim(cluster, ctx.fence, look)
            claimed = await look()
            require_fence(claimed.meta, ctx.fence, policy.meta.uid)
            if leftover == is_inert(claimed) and (leftover or _is_as_written(claimed, denial)):
                asked = not leftover
                await cluster.delete_network_policy(claimed.meta)
                return Undone.NOTHING_TO_UNDO if leftover else Undone.UNDONE
        except NotFoundError:
            return Undone.UNDONE if asked else Undone.NOTHING_TO_UNDO
        except (ConflictError, AmbiguousError):
            continue
    raise TemporaryError(f"cluster {cluster.name}: the policy {denial.policy} keeps changing, it was not deleted")


def _is_as_written(policy: NetworkPolicy, denial: Denial) -> bool:
    return policy.meta.uid == denial.uid and denies(policy) and deny_all(policy.pods) == denial.spec
