"""Autoscaling: what is made, what is changed, and where it would not work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.kubernetes.autoscaler_rules import NOTHING
from hdr_responder.actions.kubernetes.autoscaling import Autoscale, AutoscaleParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.survey import GitOpsOwner, Impact
from hdr_responder.errors import ConflictError, FencedError
from tests.integration.kubernetes.cases.autoscaling import with_requests
from tests.integration.kubernetes.steps import create_autoscaler, grant_for, perform, prepare, responder, step, workload
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service

AUTOSCALE = Autoscale()


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def params(control_plane: ControlPlane, namespace: str) -> AutoscaleParameters:
    wanted = AutoscaleParameters(workload=workload(namespace), minimum=3, maximum=10)
    grant_for(control_plane, AUTOSCALE, wanted)
    return wanted


def autoscalers(control_plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    items: list[dict[str, Any]] = control_plane.api.request("GET", path)["items"]
    return items


def set_container(control_plane: ControlPlane, namespace: str, changes: dict[str, Any]) -> None:
    control_plane.api.request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr",
        {"spec": {"template": {"spec": {"containers": [{"name": "app", **changes}]}}}},
        content_type="application/strategic-merge-patch+json",
    )
    control_plane.api.wait_available(namespace, "neural-hdr")


async def test_the_autoscaler_is_made_and_acts(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    with_requests(control_plane, namespace)
    _, result = await perform(AUTOSCALE, step(cluster), params)
    assert (result.created, result.autoscaler) == (True, "neural-hdr")
    (made,) = autoscalers(control_plane, namespace)
    spec = made["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 10)
    assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    control_plane.api.wait_pods(namespace, "app=neural-hdr", lambda pods: len(pods) == 3)


async def test_until_then_it_scales_nothing(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    with_requests(control_plane, namespace)
    ctx = step(cluster)
    state = await prepare(AUTOSCALE, ctx, params)
    (made,) = autoscalers(control_plane, namespace)
    assert made["spec"]["scaleTargetRef"]["name"] == NOTHING
    assert (await AUTOSCALE.observe(ctx, params, state)).seen is Seen.NO_EFFECT
    assert await AUTOSCALE.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO
    assert autoscalers(control_plane, namespace) == []


async def test_a_late_worker_cannot_let_it_act(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    with_requests(control_plane, namespace)
    ctx = step(cluster)
    state = await prepare(AUTOSCALE, ctx, params)
    await AUTOSCALE.claim(step(cluster, run_id=ctx.fence.run_id, token=2), params)
    with pytest.raises(FencedError):
        await AUTOSCALE.execute(ctx, params, state)


async def test_without_cpu_requests_it_would_do_nothing(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    with pytest.raises(ConflictError, match=r"requests no CPU \(neural-hdr-.*/app\)"):
        await AUTOSCALE.dry_run(step(cluster), params)


async def test_requests_that_the_cluster_fills_in_count(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr")
    set_container(control_plane, namespace, {"resources": {"limits": {"cpu": "200m"}}})
    await AUTOSCALE.dry_run(step(cluster), params)


async def test_a_sidecar_without_a_request_spoils_the_usage_of_all(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    with_requests(control_plane, namespace)
    sidecar = {"name": "proxy", "image": "registry.example/proxy:1.0", "restartPolicy": "Always"}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"template": {"spec": {"initContainers": [sidecar]}}}})
    control_plane.api.wait_available(namespace, "neural-hdr")
    with pytest.raises(ConflictError, match="proxy"):
        await AUTOSCALE.dry_run(step(cluster), params)


async def test_what_else_an_autoscaler_scales_by_stays(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    with_requests(control_plane, namespace)
    create_autoscaler(control_plane, namespace)
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/neural-hdr"
    queue = {
        "type": "External",
        "external": {"metric": {"name": "queue_depth"}, "target": {"type": "Value", "value": "30"}},
    }
    cpu = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}},
    }
    for metrics in ([queue], [queue, cpu], [cpu, queue]):
        control_plane.api.merge_patch(path, {"spec": {"metrics": metrics}})
        ctx = step(cluster)
        state, result = await perform(AUTOSCALE, ctx, params)
        assert result.created is False
        (changed,) = autoscalers(control_plane, namespace)
        assert queue in changed["spec"]["metrics"]
        targets = [m["resource"]["target"]["averageUtilization"] for m in changed["spec"]["metrics"] if "resource" in m]
        assert targets == [70]
        assert await AUTOSCALE.undo(ctx, params, state) is Undone.UNDONE
        (restored,) = autoscalers(control_plane, namespace)
        assert restored["spec"]["metrics"] == metrics


class TestReplicasAfterUndo:
    async def test_those_that_the_autoscaler_took_are_given_back(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
    ) -> None:
        assert await self.undone_at(4, control_plane, namespace, cluster, params) == 5

    async def test_those_that_it_added_stay(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
    ) -> None:
        assert await self.undone_at(8, control_plane, namespace, cluster, params) == 8

    async def test_a_workload_that_a_person_stopped_stays_stopped(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
    ) -> None:
        assert await self.undone_at(0, control_plane, namespace, cluster, params) == 0

    async def undone_at(
        self,
        replicas: int,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        params: AutoscaleParameters,
    ) -> int:
        """The replicas after undoing when there were five before and the autoscaler came to this many."""
        with_requests(control_plane, namespace)
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
        control_plane.api.merge_patch(path, {"spec": {"replicas": 5}})
        ctx = step(cluster)
        state, _ = await perform(AUTOSCALE, ctx, params)
        control_plane.api.merge_patch(path, {"spec": {"replicas": replicas}})
        assert await AUTOSCALE.undo(ctx, params, state) is Undone.UNDONE
        assert autoscalers(control_plane, namespace) == []
        return int(control_plane.api.request("GET", path)["spec"]["replicas"])


async def test_undo_works_without_the_workload(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    with_requests(control_plane, namespace)
    ctx = step(cluster)
    state, _ = await perform(AUTOSCALE, ctx, params)
    control_plane.api.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr")
    assert await AUTOSCALE.undo(ctx, params, state) is Undone.UNDONE
    assert autoscalers(control_plane, namespace) == []


async def test_a_gitops_controller_that_tracks_the_workload_is_told_of(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    tracked = {"argocd.argoproj.io/tracking-id": "video:apps/Deployment:video/neural-hdr"}
    control_plane.api.create_deployment(namespace, "neural-hdr", annotations=tracked)
    found = await AUTOSCALE.survey(step(cluster).systems, params)
    assert found.owner == GitOpsOwner(name="Argo CD application video", reverts=True)


async def test_bounds_that_an_earlier_step_gives_may_take_all_but_one(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=3)
    known: dict[str, Any] = {"workload": params.workload}
    awaited = AutoscaleParameters.model_construct(**known)
    assert (await AUTOSCALE.survey(step(cluster).systems, awaited)).impact == Impact(unavailable=2, healthy=3)


async def test_at_zero_replicas_it_is_suspended(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    with_requests(control_plane, namespace)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"replicas": 0}})
    with pytest.raises(ConflictError, match="scaled to zero"):
        await AUTOSCALE.dry_run(step(cluster), params)


async def test_the_name_may_be_taken_by_the_autoscaler_of_another(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    with_requests(control_plane, namespace)
    create_autoscaler(control_plane, namespace)
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"scaleTargetRef": {"name": "another"}}})
    with pytest.raises(ConflictError, match="scales Deployment/another"):
        await AUTOSCALE.dry_run(step(cluster), params)


async def test_a_maximum_below_the_replicas_takes_some_away(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: AutoscaleParameters
) -> None:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=3)
    lower = params.model_copy(update={"minimum": 1, "maximum": 2})
    impact = (await AUTOSCALE.survey(step(cluster).systems, lower)).impact
    assert impact is not None
    assert (impact.unavailable, impact.healthy) == (1, 3)
    assert (await AUTOSCALE.survey(step(cluster).systems, params)).impact is None


@pytest.mark.parametrize("how", [{"minimum": 3, "maximum": 2}, {"minimum": 0, "maximum": 2}, {"cpu_percent": 0}])
def test_parameters_that_make_no_sense(how: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        AutoscaleParameters(workload=workload("any"), **{"minimum": 1, "maximum": 2, **how})
