"""The exact rights of each action, in one spelling, so that plans and generated Roles agree."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hdr_responder.actions.contract import Permission
from hdr_responder.domain.workloads import Workload, WorkloadKind

RESOURCES: dict[WorkloadKind, str] = {
    "deployment": "apps/deployments",
    "statefulset": "apps/statefulsets",
    "daemonset": "apps/daemonsets",
}
KINDS: dict[WorkloadKind, str] = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}
AUTOSCALERS = "autoscaling/horizontalpodautoscalers"
NETWORK_POLICIES = "networking.k8s.io/networkpolicies"
SERVICES = "services"
ENDPOINT_SLICES = "discovery.k8s.io/endpointslices"

ObjectName = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""Name of an object: a DNS subdomain (RFC 1123)."""


def rights(workload: Workload, resource: str, *verbs: str) -> tuple[Permission, ...]:
    """Return the rights to ``verbs`` on ``resource`` in the workload's namespace."""
    return namespace_rights(workload.cluster, workload.namespace, resource, *verbs)


def namespace_rights(cluster: str, namespace: str, resource: str, *verbs: str) -> tuple[Permission, ...]:
    """Return the rights to ``verbs`` on ``resource`` in a namespace."""
    return tuple(
        Permission(system="kubernetes", scope=cluster, verb=verb, resource=resource, namespace=namespace)
        for verb in verbs
    )


def workload_rights(workload: Workload, *verbs: str) -> tuple[Permission, ...]:
    """Return the rights to ``verbs`` on workloads of this kind."""
    return rights(workload, RESOURCES[workload.kind], *verbs)
