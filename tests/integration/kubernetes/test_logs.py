"""Which lines of which pods are kept, and how much at most, against a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from hdr_responder.actions.kubernetes import logs as logs_module
from hdr_responder.actions.kubernetes.logs import Logs, LogsParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.adapters.kubernetes import pods as adapter_module
from tests.integration.kubernetes.steps import CLUSTER, KeptEvidence, grant_for, responder, step, workload
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


async def test_the_pods_of_a_namespace_by_their_labels(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    control_plane.api.create_deployment(namespace, "one", labels={"tier": "core"})
    control_plane.api.create_deployment(namespace, "two", labels={"tier": "core"})
    control_plane.api.create_deployment(namespace, "three", labels={"tier": "edge"})
    control_plane.set_logs(["INFO fine", "ERROR broken"])
    params = LogsParameters(cluster=CLUSTER, namespace=namespace, labels={"tier": "core"}, grep="ERROR")
    grant_for(control_plane, Logs(), params)
    evidence = KeptEvidence()
    result = await Logs().execute(step(cluster, evidence=evidence), params)
    assert [name.partition("-")[0] for name in result.pods] == ["one", "two"]
    assert (result.lines, result.matched, result.summary) == (4, 2, "2 of 4 lines match, from 2 pods")
    assert [content for _, content in evidence.artifacts.values()] == [b"ERROR broken\n"] * 2


async def test_only_young_lines(control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    control_plane.set_logs(["young"])
    old = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    control_plane.logs_file.write_text(f"{old} stdout F old\n{control_plane.logs_file.read_text()}")
    params = LogsParameters(workload=workload(namespace))
    grant_for(control_plane, Logs(), params)
    assert await kept(cluster, params) == [b"old\nyoung\n"]
    assert await kept(cluster, params.model_copy(update={"since": timedelta(hours=1)})) == [b"young\n"]
    assert await kept(cluster, params.model_copy(update={"since": timedelta(hours=3)})) == [b"old\nyoung\n"]


async def test_a_step_reads_no_more_than_its_bytes(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=4)
    control_plane.set_logs([f"line {number:04}" for number in range(100)])
    params = LogsParameters(workload=workload(namespace), tail=100)
    grant_for(control_plane, Logs(), params)
    monkeypatch.setattr(logs_module, "MAX_STEP_BYTES", 1500)
    evidence = KeptEvidence()
    result = await Logs().execute(step(cluster, evidence=evidence), params)
    sizes = [len(content) for _, content in evidence.artifacts.values()]
    assert sizes == [1000, 500]
    assert len(result.pods) == 4
    assert len(result.skipped) == 2
    assert "not read: this step has read" in result.skipped[0]
    assert result.cut == [f"{result.pods[1]}/app"]
    assert result.summary.endswith(", from 4 pods, 1 cut")


async def test_one_container_gives_no_more_than_its_bytes(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    control_plane.set_logs(["x" * 5000])
    params = LogsParameters(workload=workload(namespace))
    grant_for(control_plane, Logs(), params)
    monkeypatch.setattr(logs_module, "MAX_LOG_BYTES", 100)
    result = await Logs().execute(step(cluster), params)
    assert (result.cut, result.summary) == ([f"{result.pods[0]}/app"], "1 lines, from 1 pod, 1 cut")
    assert [len(each) for each in await kept(cluster, params)] == [100]


async def test_lines_that_are_more_than_the_server_sends_lose_their_first_and_not_their_last(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    control_plane.set_logs([f"line {number:04}" for number in range(1000)])
    params = LogsParameters(workload=workload(namespace), tail=1000)
    grant_for(control_plane, Logs(), params)
    monkeypatch.setattr(adapter_module, "LOG_READ_LIMIT", 5000)
    evidence = KeptEvidence()
    result = await Logs().execute(step(cluster, evidence=evidence), params)
    ((_, content),) = evidence.artifacts.values()
    lines = content.decode().splitlines()
    assert lines == [f"line {number:04}" for number in range(875, 1000)]
    assert result.cut == [f"{result.pods[0]}/app"]


async def test_one_line_that_is_more_than_the_server_sends(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    control_plane.set_logs(["x" * 500, "y" * 500])
    params = LogsParameters(workload=workload(namespace), tail=100)
    grant_for(control_plane, Logs(), params)
    monkeypatch.setattr(adapter_module, "LOG_READ_LIMIT", 300)
    assert await kept(cluster, params) == [b"y" * 300 + b"\n"]


async def test_a_log_that_is_whole_is_not_cut(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    control_plane.set_logs(["one", "two"])
    params = LogsParameters(workload=workload(namespace))
    grant_for(control_plane, Logs(), params)
    result = await Logs().execute(step(cluster), params)
    assert (result.cut, result.skipped, result.lines) == ([], [], 2)


async def test_what_is_not_read_is_told(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=3)
    control_plane.set_logs(["one"])
    params = LogsParameters(workload=workload(namespace))
    grant_for(control_plane, Logs(), params)
    missing = await Logs().execute(step(cluster), params.model_copy(update={"container": "ap"}))
    assert missing.skipped == [f"{pod}/ap: the pod has no such container" for pod in missing.pods]
    assert (missing.lines, len(missing.pods)) == (0, 3)
    monkeypatch.setattr(logs_module, "MAX_CONTAINERS", 2)
    result = await Logs().execute(step(cluster), params)
    assert (len(result.artifacts), result.skipped) == (2, ["1 more containers: one step reads 2"])


async def test_the_run_before_the_restart(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    control_plane.set_logs(["alive"])
    control_plane.set_logs(["Traceback"], previous=True)
    params = LogsParameters(workload=workload(namespace), previous=True)
    grant_for(control_plane, Logs(), params)
    assert await kept(cluster, params) == [b"Traceback\n"]


async def kept(cluster: KubernetesAdapter, params: LogsParameters) -> list[bytes]:
    evidence = KeptEvidence()
    await Logs().execute(step(cluster, evidence=evidence), params)
    return [content for _, content in evidence.artifacts.values()]
