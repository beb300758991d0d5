"""Autoscalers that are made, and those that are there."""

from __future__ import annotations

from hdr_responder.actions.kubernetes.autoscaling import Autoscale, AutoscaleParameters
from tests.integration.kubernetes.case import Case
from tests.integration.kubernetes.steps import create_autoscaler, workload
from tests.services.kubernetes import ControlPlane


def with_requests(control_plane: ControlPlane, namespace: str) -> None:
    """The Deployment ``neural-hdr``, whose container requests CPU."""
    control_plane.api.create_deployment(namespace, "neural-hdr")
    container = {"name": "app", "resources": {"requests": {"cpu": "100m"}}}
    control_plane.api.request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr",
        {"spec": {"template": {"spec": {"containers": [container]}}}},
        content_type="application/strategic-merge-patch+json",
    )
    control_plane.api.wait_available(namespace, "neural-hdr")


def _with_an_autoscaler(control_plane: ControlPlane, namespace: str) -> None:
    with_requests(control_plane, namespace)
    create_autoscaler(control_plane, namespace)


def _maximum_moved(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"maxReplicas": 9}})


def _params(namespace: str) -> AutoscaleParameters:
    return AutoscaleParameters(workload=workload(namespace), minimum=1, maximum=6)


CASES = {
    "autoscale": Case(
        action=Autoscale(),
        params=_params,
        arrange=with_requests,
        unused=frozenset({"patch apps/deployments"}),
        drift=_maximum_moved,
    ),
    "autoscale_adopted": Case(
        action=Autoscale(),
        params=_params,
        arrange=_with_an_autoscaler,
        unused=frozenset({"patch apps/deployments"})
        | {f"{verb} autoscaling/horizontalpodautoscalers" for verb in ("create", "delete")},
        drift=_maximum_moved,
    ),
}
