"""How pods are told to be, against a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.actions.kubernetes.pods import PodEntry, Pods, PodsParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter, calls
from hdr_responder.errors import PermanentError
from tests.fakes.clock import ManualClock
from tests.integration.kubernetes.steps import CLUSTER, grant_for, responder, step, workload
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


def names(control_plane: ControlPlane, namespace: str, selector: str = "") -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in control_plane.api.pods(namespace, selector))


async def pods_of_namespace(
    control_plane: ControlPlane, cluster: KubernetesAdapter, namespace: str, **more: Any
) -> Any:
    params = PodsParameters(cluster=CLUSTER, namespace=namespace, **more)
    grant_for(control_plane, Pods(), params)
    return await Pods().execute(step(cluster), params)


async def test_a_healthy_workload(control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=3)
    control_plane.api.create_deployment(namespace, "other")
    params = PodsParameters(workload=workload(namespace))
    grant_for(control_plane, Pods(), params)
    result = await Pods().execute(step(cluster), params)
    assert (result.total, result.running, result.ready, result.not_ready, result.restarts) == (3, 3, 3, 0, 0)
    assert (result.not_running, result.worst, result.omitted, result.problems) == ([], "", 0, {})
    assert [each.name for each in result.pods] == names(control_plane, namespace, "app=neural-hdr")
    assert {(each.phase, each.reason, each.node, each.exit_code) for each in result.pods} == {
        ("Running", "", "node-1", None)
    }
    assert result.summary == "3 of 3 pods ready"


async def test_the_age_is_that_of_the_pod(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    params = PodsParameters(workload=workload(namespace))
    grant_for(control_plane, Pods(), params)
    clock = ManualClock()
    clock.advance(3650 * 86_400)
    (old,) = (await Pods().execute(step(cluster, clock=clock), params)).pods
    clock.advance(300)
    (older,) = (await Pods().execute(step(cluster, clock=clock), params)).pods
    assert older.age - old.age == timedelta(minutes=5)


async def test_the_worst_of_a_namespace_comes_first(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    control_plane.api.create_deployment(namespace, "fine")
    for name in ("oom", "crash", "never-ready", "pull-error"):
        control_plane.api.create_deployment(namespace, name, image=f"registry.example/app:{name}", wait=False)
    control_plane.api.wait_pods(namespace, "", lambda pods: len(pods) == 5 and all(_reported(pod) for pod in pods))
    result = await pods_of_namespace(control_plane, cluster, namespace)
    told = [(each.name.rpartition("-")[0].rpartition("-")[0], _story(each)) for each in result.pods]
    assert told == [
        ("crash", ("Running", False, 5, "CrashLoopBackOff", "Error", 1)),
        ("oom", ("Running", False, 3, "CrashLoopBackOff", "OOMKilled", 137)),
        ("pull-error", ("Pending", False, 0, "ImagePullBackOff", "", None)),
        ("never-ready", ("Running", True, 0, "not ready: app", "", None)),
        ("fine", ("Running", True, 0, "", "", None)),
    ]
    assert (result.total, result.running, result.ready, result.not_ready, result.restarts) == (5, 2, 1, 4, 8)
    assert result.problems == {"CrashLoopBackOff": 2, "ImagePullBackOff": 1, "not ready: app": 1}
    assert result.not_running == [each.name for each in result.pods[:3]]
    assert result.worst == result.pods[0].name
    assert result.summary.startswith(f"1 of 5 pods ready; not ready: {result.worst} (CrashLoopBackOff), oom-")
    assert result.summary.endswith(" and 1 more")


def _story(pod: PodEntry) -> tuple[Any, ...]:
    return pod.phase, pod.running, pod.restarts, pod.reason, pod.last_end, pod.exit_code


def _reported(pod: Any) -> bool:
    return "containerStatuses" in pod["status"]


async def test_one_that_cannot_be_scheduled(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    pod = {
        "metadata": {"name": "huge"},
        "spec": {
            "containers": [
                {"name": "app", "image": "registry.example/app:1.0", "resources": {"requests": {"cpu": "9000"}}}
            ]
        },
    }
    control_plane.api.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    control_plane.api.wait_pods(namespace, "", lambda pods: bool(pods[0]["status"].get("conditions")))
    result = await pods_of_namespace(control_plane, cluster, namespace)
    (entry,) = result.pods
    assert (entry.phase, entry.reason, entry.node) == ("Pending", "Unschedulable", "")


async def test_the_pods_of_a_finished_job_are_no_trouble(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    template = {"restartPolicy": "Never", "containers": [{"name": "job", "image": "registry.example/job:1.0"}]}
    job = {"metadata": {"name": "backup"}, "spec": {"template": {"spec": template}}}
    control_plane.api.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job)
    control_plane.api.wait_pods(
        namespace, "job-name=backup", lambda pods: bool(pods) and pods[0]["status"].get("phase") == "Succeeded"
    )
    result = await pods_of_namespace(control_plane, cluster, namespace)
    assert (result.total, result.running, result.not_ready, result.completed) == (2, 1, 0, 1)
    assert (result.not_running, result.worst) == ([], "")
    assert result.pods[-1].name.startswith("backup-")
    assert result.summary == "1 of 1 pods ready, 1 completed"


async def test_labels_choose(control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter) -> None:
    control_plane.api.create_deployment(namespace, "one", labels={"tier": "core", "team": ""})
    control_plane.api.create_deployment(namespace, "two", labels={"tier": "edge", "team": ""})
    result = await pods_of_namespace(control_plane, cluster, namespace, labels={"tier": "core", "team": ""})
    assert [each.name for each in result.pods] == names(control_plane, namespace, "app=one")


async def test_the_list_is_bounded_and_the_counts_are_not(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=4)
    control_plane.api.make_pods(namespace, "app=neural-hdr", "crash")
    result = await pods_of_namespace(control_plane, cluster, namespace, limit=2)
    assert (result.total, len(result.pods), len(result.not_running), result.omitted) == (4, 2, 2, 2)


async def test_all_pages_are_read_and_too_many_are_refused(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=5)
    params = PodsParameters(cluster=CLUSTER, namespace=namespace)
    grant_for(control_plane, Pods(), params)
    monkeypatch.setattr(calls, "LIST_LIMIT", 2)
    assert (await Pods().execute(step(cluster), params)).total == 5
    monkeypatch.setattr(calls, "PAGES", 2)
    with pytest.raises(PermanentError, match="more than 4, not judged by a part"):
        await Pods().execute(step(cluster), params)


async def test_an_empty_namespace(control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter) -> None:
    result = await pods_of_namespace(control_plane, cluster, namespace)
    assert (result.total, result.pods, result.summary) == (0, [], "no pods")
