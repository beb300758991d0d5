"""Judges whether an isolation works, and whether it has ended, as far as the API can show.

A policy that exists may not be enforced, and a Service that is cut keeps nobody away who knows a pod's address.
"""

from __future__ import annotations

from pydantic import Field

from hdr_responder.actions.contract import Check, Parameters, Permission, StepContext, Verdict
from hdr_responder.actions.kubernetes.policies import allowing, isolates
from hdr_responder.actions.kubernetes.rights import ENDPOINT_SLICES, NETWORK_POLICIES, SERVICES, rights, workload_rights
from hdr_responder.actions.kubernetes.service_cuts import LISTED_PODS, Serving, is_cut, serving
from hdr_responder.actions.kubernetes.standing import look_up, standing
from hdr_responder.domain.ports.kubernetes import KubernetesCluster
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import TemporaryError


class IsolatedParameters(Parameters):
    """Whose isolation is judged."""

    shorthand = "workload"
    workload: Workload
    enforced_by: str | None = Field(
        default=None,
        min_length=1,
        description="The network plugin that is known to enforce policies on this cluster (calico); without it a policy"
        " proves nothing.",
    )


class Isolated(Check[IsolatedParameters]):
    """Holds when a deny-all policy selects the pods, nothing lets traffic through to them, and it is enforced."""

    name = "kubernetes.isolated"
    summary = "The workload's pods are cut off the network by an enforced policy, and its Services lead nowhere."
    example = """\
kubernetes.isolated:
  workload: "${params.workload}"
  enforced_by: calico
"""
    parameters = IsolatedParameters
    is_health_probe = False

    def permissions(self, params: IsolatedParameters) -> tuple[Permission, ...]:
        """Return the rights to look."""
        return _rights(params.workload)

    async def evaluate(self, ctx: StepContext, params: IsolatedParameters) -> Verdict:
        """Judge; without `enforced_by` a standing policy is inconclusive while pods run."""
        try:
            return await _judge(ctx.systems.cluster(params.workload.cluster), params)
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))


def _rights(workload: Workload) -> tuple[Permission, ...]:
    """Return the rights to read the workload, and to list its pods, its Services and what cuts them off."""
    listed = (NETWORK_POLICIES, "pods", SERVICES, ENDPOINT_SLICES)
    return (*workload_rights(workload, "get"), *(right for each in listed for right in rights(workload, each, "list")))


async def _judge(cluster: KubernetesCluster, params: IsolatedParameters) -> Verdict:
    workload = params.workload
    seen = await cluster.workload(workload)
    policies = await cluster.network_policies(workload.namespace)
    policy = min((each.meta.ref.name for each in policies if isolates(each, seen)), default=None)
    if policy is None:
        return Verdict(holds=False, detail=f"no deny-all policy of ours selects the pods of {workload}")
    open_by = allowing(policies, seen)
    if open_by:
        return Verdict(holds=False, detail=f"{policy} stands, but traffic is still allowed by {', '.join(open_by)}")
    if seen.host_network:
        return Verdict(holds=False, detail=f"{workload} uses its nodes' network, which no NetworkPolicy reaches")
    found = await serving(cluster, workload, seen)
    served = _served(policy, found)
    if served is not None:
        return served
    pods = await cluster.pods(workload.namespace, seen.selector, limit=LISTED_PODS)
    running = sum(pod.phase not in {"Succeeded", "Failed"} for pod in pods)
    return _enforced(policy, running, params.enforced_by, f"; left: {'; '.join(found.left)}" if found.left else "")


def _enforced(policy: str, running: int, enforced_by: str | None, left: str) -> Verdict:
    """Judge the policy itself: what does not run needs none, and what runs is isolated by an enforced one alone."""
    if not running:
        return Verdict(holds=True, detail=f"{policy} stands and no pod runs{left}")
    if enforced_by is None:
        return Verdict(holds=None, detail=f"{policy} selects {running} pods; that it is enforced is unproved{left}")
    return Verdict(holds=True, detail=f"{policy} isolates {running} pods, enforced by {enforced_by}{left}")


def _served(policy: str, found: Serving) -> Verdict | None:
    """Judge the Services that lead to these pods alone; None when they are cut and their endpoints are gone."""
    names = [service.meta.ref.name for service in found.open]
    if names:
        return Verdict(holds=False, detail=f"{policy} stands, but {', '.join(names)} still selects the pods")
    cut = {service.meta.ref.name for service in found.services if is_cut(service)}
    stale = sorted({endpoint.service for endpoint in found.endpoints} & cut)
    if stale:
        return Verdict(holds=None, detail=f"{policy} stands; the endpoints of {', '.join(stale)} are not gone yet")
    return None


class ReleasedParameters(Parameters):
    """Whose release is judged."""

    shorthand = "workload"
    workload: Workload


class Released(Check[ReleasedParameters]):
    """Holds when nothing of ours isolates the workload any more."""

    name = "kubernetes.released"
    summary = "No policy of ours isolates the workload, and none of its Services is cut by us."
    example = """\
kubernetes.released: {workload: "${params.workload}"}
"""
    parameters = ReleasedParameters
    is_health_probe = False

    def permissions(self, params: ReleasedParameters) -> tuple[Permission, ...]:
        """Return the rights to look."""
        return _rights(params.workload)

    async def evaluate(self, ctx: StepContext, params: ReleasedParameters) -> Verdict:
        """Look once for what our isolations leave."""
        workload = params.workload
        try:
            cluster = ctx.systems.cluster(workload.cluster)
            found = await standing(cluster, workload, await look_up(cluster, workload))
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))
        names = [*(each.policy for each in found.denials), *(each.service for each in found.cuts), *found.left]
        if names:
            return Verdict(holds=False, detail=f"{workload} is isolated still by {', '.join(names)}")
        return Verdict(holds=True, detail=f"nothing of ours isolates {workload}")
