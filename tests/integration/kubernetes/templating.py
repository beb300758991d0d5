"""A Deployment's container and template, as tests change and read them."""

from __future__ import annotations

from typing import Any

from hdr_responder.domain.workloads import WorkloadKind
from tests.integration.kubernetes.cases.releases import change_container
from tests.services.kubernetes import ControlPlane


def deployment(control_plane: ControlPlane, namespace: str, **container: Any) -> dict[str, Any]:
    """The Deployment ``neural-hdr`` with this container; its template."""
    control_plane.api.create_deployment(namespace, "neural-hdr")
    if container:
        change_container(control_plane, namespace, container)
        control_plane.api.wait_available(namespace, "neural-hdr")
    return template(control_plane, namespace)


def template(control_plane: ControlPlane, namespace: str, kind: WorkloadKind = "deployment") -> dict[str, Any]:
    path = f"/apis/apps/v1/namespaces/{namespace}/{kind}s/neural-hdr"
    found: dict[str, Any] = control_plane.api.request("GET", path)["spec"]["template"]
    return found


def container(control_plane: ControlPlane, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = template(control_plane, namespace)["spec"]["containers"][0]
    return found


def replica_sets(control_plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = control_plane.api.request("GET", f"/apis/apps/v1/namespaces/{namespace}/replicasets")[
        "items"
    ]
    return found
