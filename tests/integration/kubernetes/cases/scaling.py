"""Changes of replica numbers, with and without an autoscaler."""

from __future__ import annotations

from hdr_responder.actions.kubernetes.scaling import Scale, ScaleParameters, ScaleToZero, ScaleToZeroParameters
from tests.integration.kubernetes.case import Case, one_deployment
from tests.integration.kubernetes.steps import create_autoscaler, workload
from tests.services.kubernetes import ControlPlane


def _autoscaled(control_plane: ControlPlane, namespace: str) -> None:
    one_deployment(control_plane, namespace)
    create_autoscaler(control_plane, namespace)


def _scaled_to_seven(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"replicas": 7}})


def _bounds_moved(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"minReplicas": 3}})


def _maximum_moved(control_plane: ControlPlane, namespace: str) -> None:
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"maxReplicas": 9}})


def _more(namespace: str) -> ScaleParameters:
    return ScaleParameters(workload=workload(namespace), by=1, maximum=5)


def _fewer(namespace: str) -> ScaleParameters:
    return ScaleParameters(workload=workload(namespace), to=1)


def _three(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=3)


def _three_autoscaled(control_plane: ControlPlane, namespace: str) -> None:
    _three(control_plane, namespace)
    create_autoscaler(control_plane, namespace, low=2, high=4)


CASES = {
    "scale_down": Case(
        action=Scale(),
        params=_fewer,
        arrange=_three,
        unused=frozenset(f"{verb} autoscaling/horizontalpodautoscalers" for verb in ("get", "patch")),
        drift=_scaled_to_seven,
    ),
    "scale_down_autoscaled": Case(
        action=Scale(),
        params=_fewer,
        arrange=_three_autoscaled,
        unused=frozenset({"patch apps/deployments"}),
        drift=_maximum_moved,
    ),
    "scale": Case(
        action=Scale(),
        params=_more,
        unused=frozenset(f"{verb} autoscaling/horizontalpodautoscalers" for verb in ("get", "patch")),
        drift=_scaled_to_seven,
    ),
    "scale_autoscaled": Case(
        action=Scale(),
        params=_more,
        arrange=_autoscaled,
        unused=frozenset({"patch apps/deployments"}),
        drift=_bounds_moved,
    ),
    "scale_to_zero": Case(
        action=ScaleToZero(),
        params=lambda ns: ScaleToZeroParameters(workload=workload(ns)),
        drift=_scaled_to_seven,
    ),
}
