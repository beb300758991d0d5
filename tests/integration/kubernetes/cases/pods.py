"""Taking single pods away."""

from __future__ import annotations

from hdr_responder.actions.kubernetes.pod_removal import DeletePod, EvictPod, RemovalParameters
from tests.integration.kubernetes.case import Case
from tests.integration.kubernetes.steps import workload
from tests.services.kubernetes import ControlPlane
from tests.services.kubernetes_api import pod_ready


def one_statefulset(control_plane: ControlPlane, namespace: str) -> None:
    """The StatefulSet ``neural-hdr``, whose pods have names that are known beforehand."""
    labels = {"app": "neural-hdr"}
    control_plane.api.request(
        "POST",
        f"/apis/apps/v1/namespaces/{namespace}/statefulsets",
        {
            "metadata": {"name": "neural-hdr"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "app", "image": "registry.example/app:1.0"}]},
                },
            },
        },
    )
    control_plane.api.wait_pods(namespace, "app=neural-hdr", lambda pods: len(pods) == 2 and all(map(pod_ready, pods)))


def _first_pod(namespace: str) -> RemovalParameters:
    return RemovalParameters(workload=workload(namespace, kind="statefulset"), pod="neural-hdr-0")


CASES = {
    "delete_pod": Case(action=DeletePod(), params=_first_pod, arrange=one_statefulset),
    "evict_pod": Case(action=EvictPod(), params=_first_pod, arrange=one_statefulset),
}
