"""Judges whether an isolation works, as far as the API can show; a policy that exists may not be enforced."""

from __future__ import annotations

from pydantic import Field

from hdr_responder.actions.contract import Check, Parameters, Permission, StepContext, Verdict
from hdr_responder.actions.kubernetes.isolation import LISTED_PODS, allowing, isolates
from hdr_responder.actions.kubernetes.rights import NETWORK_POLICIES, rights, workload_rights
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
    """Holds when a deny-all policy selects the pods, nothing else lets traffic through, and it is enforced."""

    name = "kubernetes.isolated"
    summary = "The workload's pods are cut off the network by an enforced policy."
    example = """\
kubernetes.isolated:
  workload: "${params.workload}"
  enforced_by: calico
"""
    parameters = IsolatedParameters
    is_health_probe = False

    def permissions(self, params: IsolatedParameters) -> tuple[Permission, ...]:
        """Return the rights to read the workload and to list policies and pods."""
        workload = params.workload
        return (
            *workload_rights(workload, "get"),
            *rights(workload, NETWORK_POLICIES, "list"),
            *rights(workload, "pods", "list"),
        )

    async def evaluate(self, ctx: StepContext, params: IsolatedParameters) -> Verdict:
        """Judge; without `enforced_by` a standing policy is inconclusive while pods run."""
        try:
            return await _judge(ctx.systems.cluster(params.workload.cluster), params)
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))


async def _judge(cluster: KubernetesCluster, params: IsolatedParameters) -> Verdict:
    workload = params.workload
    seen = await cluster.workload(workload)
    policies = await cluster.network_policies(workload.namespace)
    standing = sorted(policy.meta.ref.name for policy in policies if isolates(policy, seen))
    if not standing:
        return Verdict(holds=False, detail=f"no deny-all policy of ours selects the pods of {workload}")
    open_by = allowing(policies, seen)
    if open_by:
        return Verdict(
            holds=False, detail=f"{standing[0]} stands, but traffic is still allowed by {', '.join(open_by)}"
        )
    if seen.host_network:
        return Verdict(holds=False, detail=f"{workload} uses its nodes' network, which no NetworkPolicy reaches")
    pods = await cluster.pods(workload.namespace, seen.selector, limit=LISTED_PODS)
    running = sum(pod.phase not in {"Succeeded", "Failed"} for pod in pods)
    if not running:
        return Verdict(holds=True, detail=f"{standing[0]} stands and no pod runs")
    if params.enforced_by is None:
        return Verdict(holds=None, detail=f"{standing[0]} selects {running} pods; that it is enforced is unproved")
    return Verdict(holds=True, detail=f"{standing[0]} isolates {running} pods, enforced by {params.enforced_by}")
