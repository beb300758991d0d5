"""The exact rights of each action, in one spelling, so that plans and generated Roles agree."""

from __future__ import annotations

from hdr_responder.actions.contract import Permission
from hdr_responder.domain.workloads import Workload, WorkloadKind

RESOURCES: dict[WorkloadKind, str] = {
    "deployment": "apps/deployments",
    "statefulset": "apps/statefulsets",
    "daemonset": "apps/daemonsets",
}
AUTOSCALERS = "autoscaling/horizontalpodautoscalers"
NETWORK_POLICIES = "networking.k8s.io/networkpolicies"


def rights(workload: Workload, resource: str, *verbs: str) -> tuple[Permission, ...]:
    """Return the rights to ``verbs`` on ``resource`` in the workload's namespace."""
    return tuple(
        Permission(
            system="kubernetes", scope=workload.cluster, verb=verb, resource=resource, namespace=workload.namespace
        )
        for verb in verbs
    )


def workload_rights(workload: Workload, *verbs: str) -> tuple[Permission, ...]:
    """Return the rights to ``verbs`` on workloads of this kind."""
    return rights(workload, RESOURCES[workload.kind], *verbs)
