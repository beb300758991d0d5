"""What pods use, through the API server's own aggregation, and a cluster that does not measure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from hdr_responder.actions.kubernetes.top import Top, TopParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.errors import NotFoundError, PermanentError, TemporaryError
from tests.integration.kubernetes.steps import grant_for, responder, step, workload
from tests.services.kubernetes import ControlPlane
from tests.services.kubernetes_metrics import MetricsServer

pytestmark = pytest.mark.service


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def metrics(control_plane: ControlPlane) -> Iterator[MetricsServer]:
    yield MetricsServer.install(control_plane)
    MetricsServer.remove(control_plane)


def arranged(
    control_plane: ControlPlane, namespace: str, replicas: int, **more: Any
) -> tuple[TopParameters, list[str]]:
    """The deployment with so many pods, as a user who may weigh them; the parameters, and the pods' names."""
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=replicas)
    params = TopParameters(workload=workload(namespace), **more)
    grant_for(control_plane, Top(), params)
    return params, sorted(pod["metadata"]["name"] for pod in control_plane.api.pods(namespace, "app=neural-hdr"))


async def test_the_heaviest_comes_first(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, metrics: MetricsServer
) -> None:
    params, (first, second, third) = arranged(control_plane, namespace, 3)
    metrics.usage |= {first: ("250m", "64Mi"), second: ("12345678n", "3Gi"), third: ("1", "128974848")}
    by_memory = await Top().execute(step(cluster), params)
    assert [(each.name, each.cpu_cores, each.memory_bytes) for each in by_memory.pods] == [
        (second, 0.012345678, 3 * 2**30),
        (third, 1.0, 128974848),
        (first, 0.25, 64 * 2**20),
    ]
    assert by_memory.heaviest == second
    assert by_memory.cpu_cores == pytest.approx(1.262345678)
    assert by_memory.memory_bytes == 3 * 2**30 + 128974848 + 64 * 2**20
    assert by_memory.summary.startswith(f"{second} uses most: 3072 MiB, 0.0123 cores of 3259 MiB, 1.26 cores in all")
    by_cpu = await Top().execute(step(cluster), params.model_copy(update={"by": "cpu", "limit": 1}))
    assert (by_cpu.heaviest, [each.name for each in by_cpu.pods]) == (third, [third])
    assert by_cpu.memory_bytes == by_memory.memory_bytes


async def test_pods_that_the_selector_matches_by_chance_do_not_count(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, metrics: MetricsServer
) -> None:
    params, (own,) = arranged(control_plane, namespace, 1)
    spec = {"containers": [{"name": "app", "image": "registry.example/app:1.0"}]}
    stranger = {"metadata": {"name": "stranger", "labels": {"app": "neural-hdr"}}, "spec": spec}
    control_plane.api.request("POST", f"/api/v1/namespaces/{namespace}/pods", stranger)
    metrics.usage["stranger"] = ("9", "9Gi")
    result = await Top().execute(step(cluster), params)
    assert (result.heaviest, [each.name for each in result.pods]) == (own, [own])


async def test_pods_not_measured_yet(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, metrics: MetricsServer
) -> None:
    params, (first, second) = arranged(control_plane, namespace, 2)
    metrics.unmeasured.add(first)
    result = await Top().execute(step(cluster), params)
    assert (result.heaviest, result.unmeasured) == (second, [first])
    assert result.summary.endswith("; 1 of 2 pods not measured")
    metrics.unmeasured.add(second)
    with pytest.raises(TemporaryError, match="measured yet"):
        await Top().execute(step(cluster), params)


async def test_a_metrics_server_that_fails_may_be_asked_again(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, metrics: MetricsServer
) -> None:
    params, _ = arranged(control_plane, namespace, 1)
    metrics.failing = True
    with pytest.raises(TemporaryError, match="answered 503: not ready yet"):
        await Top().execute(step(cluster), params)


async def test_a_workload_without_pods(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, metrics: MetricsServer
) -> None:
    params, _ = arranged(control_plane, namespace, 0)
    with pytest.raises(NotFoundError, match="has no pods to measure"):
        await Top().execute(step(cluster), params)


async def test_a_cluster_that_does_not_measure(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    MetricsServer.remove(control_plane)
    params, _ = arranged(control_plane, namespace, 1)
    with pytest.raises(PermanentError, match="metrics-server is not installed") as caught:
        await Top().execute(step(cluster), params)
    assert type(caught.value) is PermanentError
