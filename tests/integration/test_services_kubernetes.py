"""The Kubernetes control plane of the harness: what it runs is real, and faults can be put into it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio import client, config
from kubernetes_asyncio.stream import WsApiClient

from tests.services.kubernetes import ControlPlane
from tests.services.kubernetes_api import ApiError, KubernetesApi, pod_ready
from tests.services.kubernetes_pods import CRASH, NEVER_READY, OOM, PULL_ERROR
from tests.services.processes import poll

pytestmark = pytest.mark.service

PATCH_DEPLOYMENTS = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch", "get"]}]


async def test_deployment_becomes_available(control_plane: ControlPlane, namespace: str) -> None:
    deployment = control_plane.api.create_deployment(namespace, "neural-hdr", replicas=3)
    assert deployment["status"]["availableReplicas"] == 3
    async with _client(control_plane.admin_kubeconfig) as api:
        pods = await client.CoreV1Api(api).list_namespaced_pod(namespace, label_selector="app=neural-hdr")
    assert [pod.status.phase for pod in pods.items] == ["Running"] * 3
    assert len({pod.status.pod_ip for pod in pods.items}) == 3


async def test_pod_logs_are_what_the_test_wrote(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.set_logs(["first", "second", "third"])
    control_plane.set_logs(["died"], previous=True)
    pod = _one_pod(control_plane.api, namespace)
    async with _client(control_plane.admin_kubeconfig) as api:
        core = client.CoreV1Api(api)
        assert await core.read_namespaced_pod_log(pod, namespace, tail_lines=2) == "second\nthird\n"
        assert await core.read_namespaced_pod_log(pod, namespace, previous=True) == "died\n"


async def test_command_in_a_pod_runs(control_plane: ControlPlane, namespace: str) -> None:
    pod = _one_pod(control_plane.api, namespace)
    configuration = client.Configuration()
    await config.load_kube_config(str(control_plane.admin_kubeconfig), client_configuration=configuration)
    async with WsApiClient(configuration) as api:
        core: Any = client.CoreV1Api(api)
        output = await core.connect_get_namespaced_pod_exec(
            pod, namespace, command=["echo", "hello"], stdout=True, stderr=True, stdin=False, tty=False
        )
    assert output == "hello\n"


async def test_dry_run_changes_nothing_and_is_told_apart(control_plane: ControlPlane, namespace: str) -> None:
    before = control_plane.api.create_deployment(namespace, "neural-hdr")
    async with _client(control_plane.admin_kubeconfig) as api:
        await _restart(api, namespace, "neural-hdr", dry_run="All")
    after = control_plane.api.deployment(namespace, "neural-hdr")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert control_plane.audit_events(verb="patch", namespace=namespace) == []
    (dry,) = control_plane.audit_events(verb="patch", namespace=namespace, include_dry_run=True)
    assert dry.dry_run
    assert dry.code == 200


async def test_granted_user_patches_once_and_is_counted(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=2)
    async with _client(control_plane.responder_kubeconfig) as api:
        with pytest.raises(client.ApiException) as refused:
            await _restart(api, namespace, "neural-hdr")
        subject = {"kind": "User", "name": "responder"}
        control_plane.api.grant(namespace, "responder", PATCH_DEPLOYMENTS, subject)
        await _restart(api, namespace, "neural-hdr")
    assert refused.value.status == 403
    control_plane.api.wait_available(namespace, "neural-hdr")
    events = control_plane.audit_events(
        user="responder", verb="patch", resource="deployments", namespace=namespace, name="neural-hdr"
    )
    assert [event.code for event in events] == [403, 200]
    assert {event.field_manager for event in events} == {"hdr-responder"}


async def test_token_of_a_service_account_is_held_to_its_role(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    token = control_plane.api.create_user_token(namespace, "operator", PATCH_DEPLOYMENTS)
    async with _client(control_plane.kubeconfig("operator", token)) as api:
        await _restart(api, namespace, "neural-hdr")
        with pytest.raises(client.ApiException, match="forbidden"):
            await client.AppsV1Api(api).delete_namespaced_deployment("neural-hdr", namespace)


async def test_rollout_to_a_broken_image_gets_stuck(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.api
    api.create_deployment(namespace, "neural-hdr", replicas=3, progress_deadline_seconds=1)
    api.set_image(namespace, "neural-hdr", f"registry.example/app:{NEVER_READY}")
    assert poll(lambda: "ProgressDeadlineExceeded" in _reasons(api.deployment(namespace, "neural-hdr")), seconds=20)
    assert sorted(pod_ready(pod) for pod in api.pods(namespace)) == [False, True, True, True]
    api.set_image(namespace, "neural-hdr", "registry.example/app:1.1")
    api.wait_available(namespace, "neural-hdr")


@pytest.mark.parametrize(
    ("behaviour", "phase", "reason"),
    [
        (NEVER_READY, "Running", None),
        (CRASH, "Running", "CrashLoopBackOff"),
        (OOM, "Running", "CrashLoopBackOff"),
        (PULL_ERROR, "Pending", "ImagePullBackOff"),
    ],
)
async def test_failing_pods_are_healed_by_a_restart(
    control_plane: ControlPlane, namespace: str, behaviour: str, phase: str, reason: str | None
) -> None:
    api = control_plane.api
    api.create_deployment(namespace, "neural-hdr", replicas=2)
    api.make_pods(namespace, "app=neural-hdr", behaviour)
    for pod in api.pods(namespace):
        state = pod["status"]["containerStatuses"][0]["state"]
        assert (pod["status"]["phase"], state.get("waiting", {}).get("reason")) == (phase, reason)
        assert not pod_ready(pod)
    async with _client(control_plane.admin_kubeconfig) as connection:
        await _restart(connection, namespace, "neural-hdr")
    api.wait_available(namespace, "neural-hdr")
    assert all(pod_ready(pod) for pod in api.wait_pods(namespace, "app=neural-hdr", lambda pods: len(pods) == 2))


@pytest.mark.parametrize(("tag", "outcome"), [("1.0", "succeeded"), ("fail", "failed")])
async def test_job_ends_as_its_image_says(control_plane: ControlPlane, namespace: str, tag: str, outcome: str) -> None:
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    container = {"name": "job", "image": f"registry.example/job:{tag}"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    control_plane.api.request(
        "POST", path, {"metadata": {"name": "job"}, "spec": {"backoffLimit": 0, "template": template}}
    )
    assert poll(lambda: control_plane.api.request("GET", f"{path}/job")["status"].get(outcome) == 1, seconds=20)


async def test_api_server_comes_back_with_what_it_knew(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    control_plane.apiserver.kill()
    with pytest.raises(OSError):
        control_plane.api.deployment(namespace, "neural-hdr")
    control_plane.start_apiserver()
    control_plane.api.wait_available(namespace, "neural-hdr")


async def test_api_refusals_carry_the_status(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(ApiError) as missing:
        control_plane.api.deployment(namespace, "absent")
    assert missing.value.code == 404


@contextlib.asynccontextmanager
async def _client(kubeconfig: Path) -> AsyncIterator[Any]:
    configuration = client.Configuration()
    await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        yield api


async def _restart(api: Any, namespace: str, name: str, **options: Any) -> None:
    annotations = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
    apps: Any = client.AppsV1Api(api)
    await apps.patch_namespaced_deployment(
        name,
        namespace,
        {"spec": {"template": {"metadata": {"annotations": annotations}}}},
        field_manager="hdr-responder",
        _content_type="application/strategic-merge-patch+json",
        **options,
    )


def _one_pod(api: KubernetesApi, namespace: str) -> str:
    api.create_deployment(namespace, "neural-hdr")
    return str(api.pods(namespace, "app=neural-hdr")[0]["metadata"]["name"])


def _reasons(deployment: dict[str, Any]) -> set[str]:
    return {condition["reason"] for condition in deployment.get("status", {}).get("conditions", [])}
