"""History, releases, who changed what, and changes of the pod template."""

from __future__ import annotations

from typing import Any

from hdr_responder.actions.kubernetes.environment import SetEnv, SetEnvParameters
from hdr_responder.actions.kubernetes.history import (
    LastRelease,
    LastReleaseParameters,
    RolloutHistory,
    RolloutHistoryParameters,
)
from hdr_responder.actions.kubernetes.ownership import WhoChanged, WhoChangedParameters
from hdr_responder.actions.kubernetes.resources import Amounts, SetResources, SetResourcesParameters
from hdr_responder.actions.kubernetes.rollback import RolloutUndo, RolloutUndoParameters
from tests.integration.kubernetes.case import Case, one_deployment
from tests.integration.kubernetes.steps import workload
from tests.services.kubernetes import ControlPlane


def two_releases(control_plane: ControlPlane, namespace: str) -> None:
    """The Deployment ``neural-hdr`` of image 1.0, then of image 2.0."""
    one_deployment(control_plane, namespace)
    control_plane.api.set_image(namespace, "neural-hdr", "registry.example/app:2.0")
    control_plane.api.wait_available(namespace, "neural-hdr")


def change_container(control_plane: ControlPlane, namespace: str, container: dict[str, Any]) -> None:
    """Somebody else changes the Deployment's only container."""
    control_plane.api.request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr",
        {"spec": {"template": {"spec": {"containers": [{"name": "app", **container}]}}}},
        content_type="application/strategic-merge-patch+json",
    )


def _third_release(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.set_image(namespace, "neural-hdr", "registry.example/app:3.0")


def _threads_changed(control_plane: ControlPlane, namespace: str) -> None:
    change_container(control_plane, namespace, {"env": [{"name": "WORKER_THREADS", "value": "16"}]})


def _memory_changed(control_plane: ControlPlane, namespace: str) -> None:
    change_container(control_plane, namespace, {"resources": {"requests": {"memory": "3Gi"}}})


CASES = {
    "rollout_history": Case(action=RolloutHistory(), params=lambda ns: RolloutHistoryParameters(workload=workload(ns))),
    "last_release": Case(action=LastRelease(), params=lambda ns: LastReleaseParameters(workload=workload(ns))),
    "who_changed": Case(action=WhoChanged(), params=lambda ns: WhoChangedParameters(workload=workload(ns))),
    "rollout_undo": Case(
        action=RolloutUndo(),
        params=lambda ns: RolloutUndoParameters(workload=workload(ns)),
        arrange=two_releases,
        drift=_third_release,
    ),
    "set_env": Case(
        action=SetEnv(),
        params=lambda ns: SetEnvParameters(workload=workload(ns), values={"WORKER_THREADS": "8"}),
        drift=_threads_changed,
    ),
    "set_resources": Case(
        action=SetResources(),
        params=lambda ns: SetResourcesParameters(workload=workload(ns), requests=Amounts(memory="2Gi")),
        drift=_memory_changed,
    ),
}
