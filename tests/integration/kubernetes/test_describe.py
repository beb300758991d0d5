"""Workloads as an operator reads them, against a real API server with the events of its own controllers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.kubernetes import describe as describe_module
from hdr_responder.actions.kubernetes.describe import Describe, DescribeParameters, DescribeResult
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.errors import NotFoundError
from tests.integration.kubernetes.steps import KeptEvidence, grant_for, responder, step, workload
from tests.services.kubernetes import ControlPlane
from tests.services.processes import poll

pytestmark = pytest.mark.service

SECRET = "s3cret-value"
"""Stands wherever a secret may stand in a manifest."""

CONTAINER = {
    "name": "app",
    "image": "registry.example/app:never-ready",
    "command": ["server", f"--password={SECRET}"],
    "args": [SECRET],
    "ports": [{"containerPort": 8080}],
    "env": [
        {"name": "WORKER_THREADS", "value": "8"},
        {"name": "DB_PASSWORD", "value": SECRET},
        {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hdr-api", "key": "token"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    ],
    "envFrom": [{"secretRef": {"name": "hdr-env"}}, {"configMapRef": {"name": "hdr-settings"}}],
    "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
    "readinessProbe": {
        "httpGet": {
            "path": f"/ready?key={SECRET}",
            "port": 8080,
            "httpHeaders": [{"name": "Authorization", "value": SECRET}],
        },
        "periodSeconds": 5,
    },
    "livenessProbe": {"exec": {"command": ["check", SECRET]}},
    "startupProbe": {"tcpSocket": {"port": 8080}},
    "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "keys", "mountPath": "/keys", "readOnly": True}],
}
VOLUMES = [
    {"name": "data", "persistentVolumeClaim": {"claimName": "hdr-data"}},
    {"name": "keys", "secret": {"secretName": "hdr-keys"}},
    {"name": "scratch", "emptyDir": {}},
    {"name": "old", "flexVolume": {"driver": "x.example/y", "options": {"password": SECRET}}},
]
TOLD = """\
  labels: app=neural-hdr
  service account: reader
  container app
    image: registry.example/app:never-ready
    ports: 8080/TCP
    requests: cpu=1, memory=2Gi
    limits: memory=4Gi
    startup probe: TCP :8080, after 0 s, every 10 s, within 1 s, fails after 3
    readiness probe: HTTP GET :8080/ready, after 0 s, every 5 s, within 1 s, fails after 3
    liveness probe: command check, after 0 s, every 10 s, within 1 s, fails after 3
    environment: WORKER_THREADS, DB_PASSWORD, API_TOKEN (from secret hdr-api/token), NODE (from field spec.nodeName), \
CPUS (from resourceField limits.cpu), all of secret hdr-env, all of configMap hdr-settings
    mount /data from data
    mount /keys from keys (read only)
  initial container migrate
    image: registry.example/migrate:1.0
    requests: none
    limits: none
    environment: none
  volume data: persistentVolumeClaim hdr-data
  volume keys: secret hdr-keys
  volume scratch: emptyDir
  volume old: flexVolume
Pods (0 of 0, the worst first):
"""


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


async def described(
    control_plane: ControlPlane, cluster: KubernetesAdapter, namespace: str, **more: Any
) -> tuple[DescribeResult, str]:
    params = DescribeParameters(workload=workload(namespace), **more)
    grant_for(control_plane, Describe(), params)
    evidence = KeptEvidence()
    result = await Describe().execute(step(cluster, evidence=evidence), params)
    name, content = evidence.artifacts[result.artifact]
    assert name == "deployment-neural-hdr.describe.txt"
    return result, content.decode()


def events(control_plane: ControlPlane, namespace: str) -> list[Any]:
    found: list[Any] = control_plane.api.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    return found


def warn(control_plane: ControlPlane, namespace: str, about: Any, reason: str, at: str, **more: Any) -> None:
    """Write a warning about an object, as a kubelet would."""
    meta = about["metadata"]
    body = {
        "metadata": {"generateName": "warning-"},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": meta["name"], "uid": meta["uid"]},
        "type": "Warning",
        "reason": reason,
        "message": f"{reason} it was",
        "source": {"component": "kubelet"},
        "lastTimestamp": at,
        **more,
    }
    control_plane.api.request("POST", f"/api/v1/namespaces/{namespace}/events", body)


async def test_a_template_without_what_may_be_secret(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    template = {
        "metadata": {"labels": {"app": "neural-hdr"}, "annotations": {"copy": SECRET}},
        "spec": {
            "serviceAccountName": "reader",
            "containers": [CONTAINER],
            "initContainers": [{"name": "migrate", "image": "registry.example/migrate:1.0", "args": [SECRET]}],
            "volumes": VOLUMES,
        },
    }
    deployment = {
        "metadata": {"name": "neural-hdr", "labels": {"tier": "core"}, "annotations": {"copy": SECRET}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "neural-hdr"}}, "template": template},
    }
    control_plane.api.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)
    result, text = await described(control_plane, cluster, namespace)
    assert TOLD in text
    assert SECRET not in text
    assert SECRET not in result.model_dump_json()
    assert text.startswith(
        f"deployment/neural-hdr in namespace {namespace}\n"
        "  replicas: 0 desired, 0 total, 0 updated, 0 available\n"
        "  updates: RollingUpdate (max unavailable 25%, max surge 25%)\n"
        "  labels: tier=core\n"
        "  selector: app=neural-hdr\n"
    )
    assert result.images == ["registry.example/app:never-ready", "registry.example/migrate:1.0"]


async def test_the_worst_pods_with_their_events(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=3)
    control_plane.api.create_deployment(namespace, "other")
    first, second, third = sorted(control_plane.api.pods(namespace, "app=neural-hdr"), key=_name)
    (other,) = control_plane.api.pods(namespace, "app=other")
    path = f"/api/v1/namespaces/{namespace}/pods/{_name(third)}"
    control_plane.api.merge_patch(path, {"metadata": {"annotations": {"hdr-responder.test/behaviour": "oom"}}})
    control_plane.api.wait_pods(namespace, "app=neural-hdr", lambda pods: any(map(_restarted, pods)))
    warn(control_plane, namespace, third, "Unhealthy", "2999-01-02T00:00:00Z", message="two\nlines")
    warn(control_plane, namespace, third, "BackOff", "2999-01-01T00:00:00Z", count=7)
    warn(control_plane, namespace, second, "Unseen", "2999-01-03T00:00:00Z")
    warn(control_plane, namespace, other, "Foreign", "2999-01-03T00:00:00Z")
    result, text = await described(control_plane, cluster, namespace, pods=2)
    assert result.pods == [_name(third), _name(first)]
    assert (result.warnings, result.warning_reasons) == (2, ["BackOff", "Unhealthy"])
    assert result.summary == (
        f"2 of 3 pods ready; worst: {_name(third)} (CrashLoopBackOff); 2 warnings (BackOff, Unhealthy)"
    )
    assert {each.type: each.status for each in result.conditions} == {"Available": "False", "Progressing": "True"}
    assert f"  {_name(third)}: Running, not ready (CrashLoopBackOff), 3 restarts, on node-1, " in text
    assert "    app: waiting (CrashLoopBackOff), not ready, 3 restarts, the last run ended with OOMKilled" in text
    assert f"  {_name(first)}: Running, ready, 0 restarts, on node-1, " in text
    assert "Z ContainersNotReady: oom\n" in text.partition("    condition Ready False since ")[2]
    assert "condition Ready True" not in text
    about = f"pod {_name(third)}, by kubelet: "
    assert text.endswith(
        f"  2999-01-01T00:00:00Z Warning BackOff (7 times) {about}BackOff it was\n"
        f"  2999-01-02T00:00:00Z Warning Unhealthy {about}two lines\n"
    )
    assert "Normal ScalingReplicaSet deployment/neural-hdr, by deployment-controller: Scaled up" in text
    assert "Normal Scheduled pod" in text
    assert "Foreign" not in text


async def test_one_pod_that_is_named(control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=3)
    control_plane.api.create_deployment(namespace, "other")
    first, second, third = sorted(control_plane.api.pods(namespace, "app=neural-hdr"), key=_name)
    (other,) = control_plane.api.pods(namespace, "app=other")
    warn(control_plane, namespace, second, "Unhealthy", "2999-01-02T00:00:00Z")
    result, text = await described(control_plane, cluster, namespace, pod=_name(second), pods=1)
    assert (result.pods, result.warning_reasons) == ([_name(second)], ["Unhealthy"])
    assert "Pods (1 of 3, the worst first):" in text
    assert f"    app: running, ready, 0 restarts, image {second['spec']['containers'][0]['image']}\n" in text
    assert not any(f"  {_name(each)}: " in text for each in (first, third))
    for stranger in (_name(other), "no-such-pod"):
        with pytest.raises(NotFoundError, match=f"pod {stranger} is none of deployment/neural-hdr"):
            await Describe().execute(step(cluster), DescribeParameters(workload=workload(namespace), pod=stranger))


@pytest.mark.parametrize("pod", ["../../x", "a/b", "$(reboot)", "*", "${alert.labels}", "a\n", "\x00", "é", "a" * 300])
def test_hostile_pods_are_refused(pod: str) -> None:
    with pytest.raises(ValidationError):
        DescribeParameters(workload=workload("any"), pod=pod)


def _name(pod: Any) -> str:
    return str(pod["metadata"]["name"])


def _restarted(pod: Any) -> bool:
    return any(status["restartCount"] for status in pod["status"].get("containerStatuses", []))


async def test_why_no_pod_is_made(control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    control_plane.api.request("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    status = f"/api/v1/namespaces/{namespace}/resourcequotas/none"
    assert poll(lambda: "hard" in control_plane.api.request("GET", status)["status"], seconds=30)
    control_plane.api.create_deployment(namespace, "neural-hdr", wait=False)
    assert poll(lambda: any(each["reason"] == "FailedCreate" for each in events(control_plane, namespace)), seconds=30)
    result, text = await described(control_plane, cluster, namespace)
    assert (result.pods, result.warning_reasons) == ([], ["FailedCreate"])
    assert "Warning FailedCreate" in text
    assert "its ReplicaSet, by replicaset-controller: Error creating: pods" in text
    assert result.summary.startswith("0 of 0 pods ready; ")


async def test_it_is_bounded(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    (pod,) = control_plane.api.pods(namespace)
    for reason in ("First", "Second"):
        warn(control_plane, namespace, pod, reason, f"2999-01-0{1 if reason == 'First' else 2}T00:00:00Z")
    result, text = await described(control_plane, cluster, namespace, events=1)
    assert result.warnings == 2
    assert text.partition("Events (the newest last):\n")[2].count("\n") == 1
    assert "First" not in text
    monkeypatch.setattr(describe_module, "MAX_BYTES", 200)
    evidence = KeptEvidence()
    await Describe().execute(step(cluster, evidence=evidence), DescribeParameters(workload=workload(namespace)))
    ((_, content),) = evidence.artifacts.values()
    assert len(content) < 250
    assert content.decode().splitlines()[-1].startswith("(cut here: ")


@pytest.mark.parametrize("kind", ["statefulset", "daemonset"])
async def test_other_kinds(control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, kind: Any) -> None:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "app", "image": "r.example/x"}]}}
    own = {"serviceName": "x"} if kind == "statefulset" else {}
    body = {"metadata": {"name": "x"}, "spec": {**own, "selector": {"matchLabels": {"app": "x"}}, "template": template}}
    control_plane.api.request("POST", f"/apis/apps/v1/namespaces/{namespace}/{kind}s", body)
    control_plane.api.wait_pods(namespace, "app=x", lambda pods: len(pods) == 1)
    params = DescribeParameters(workload=workload(namespace, "x", kind))
    grant_for(control_plane, Describe(), params)
    result = await Describe().execute(step(cluster), params)
    assert (len(result.pods), result.images) == (1, ["r.example/x"])
