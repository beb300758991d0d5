"""Deleting and evicting pods: the right one, once, and never against a disruption budget."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Seen
from hdr_responder.actions.kubernetes.pod_removal import DeletePod, EvictPod, RemovalParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.survey import Impact
from hdr_responder.errors import ConflictError, FencedError, NotFoundError, TemporaryError
from tests.integration.kubernetes.steps import grant_for, perform, prepare, responder, step, workload
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.processes import poll

pytestmark = pytest.mark.service

DELETE = DeletePod()
EVICT = EvictPod()


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def params(control_plane: ControlPlane, namespace: str) -> RemovalParameters:
    """One of the two pods of a deployment, which the responder may delete."""
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=2)
    pod = control_plane.api.pods(namespace, "app=neural-hdr")[0]["metadata"]["name"]
    wanted = RemovalParameters(workload=workload(namespace), pod=pod)
    grant_for(control_plane, DELETE, wanted)
    return wanted


def names(control_plane: ControlPlane, params: RemovalParameters) -> set[str]:
    pods = control_plane.api.pods(params.workload.namespace, "app=neural-hdr")
    return {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


async def test_the_pod_goes_and_its_controller_starts_another(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RemovalParameters
) -> None:
    before = names(control_plane, params)
    ctx = step(cluster)
    state, result = await perform(DELETE, ctx, params)
    assert (result.pod, result.uid) == (params.pod, state["uid"])
    control_plane.api.wait_available(params.workload.namespace, "neural-hdr")
    after = names(control_plane, params)
    assert params.pod not in after
    assert len(after) == 2
    assert before - {params.pod} < after
    await DELETE.announce(ctx, params, state, undone=False)
    events = control_plane.api.request("GET", f"/api/v1/namespaces/{params.workload.namespace}/events")["items"]
    (told,) = [event for event in events if event["source"].get("component") == "hdr-responder"]
    assert told["message"] == f"hdr-responder removed pod {params.pod} of this for INC-1"
    assert told["involvedObject"]["kind"] == "Deployment"


async def test_a_pod_that_took_the_name_meanwhile_is_left_alone(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RemovalParameters
) -> None:
    ctx = step(cluster)
    state = await prepare(DELETE, ctx, params)
    another = {**state, "uid": "another"}
    assert (await DELETE.observe(ctx, params, another)).seen is Seen.TOOK_EFFECT
    await DELETE.execute(ctx, params, another)
    assert params.pod in names(control_plane, params)
    assert control_plane.audit_events(user=RESPONDER, verb="delete", namespace=params.workload.namespace) == []


async def test_a_late_worker_is_fenced_off(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RemovalParameters
) -> None:
    ctx = step(cluster)
    state = await prepare(DELETE, ctx, params)
    await DELETE.claim(step(cluster, run_id=ctx.fence.run_id, token=2), params)
    with pytest.raises(FencedError):
        await DELETE.execute(ctx, params, state)
    assert params.pod in names(control_plane, params)


async def test_a_pod_of_another_owner_is_refused(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RemovalParameters
) -> None:
    namespace = params.workload.namespace
    control_plane.api.create_deployment(namespace, "neural-hdr-other")
    other = control_plane.api.pods(namespace, "app=neural-hdr-other")[0]["metadata"]["name"]
    with pytest.raises(ConflictError, match="owned by Deployment/neural-hdr-other"):
        await DELETE.dry_run(step(cluster), params.model_copy(update={"pod": other}))


async def test_a_pod_without_an_owner_is_refused(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RemovalParameters
) -> None:
    bare = {"metadata": {"name": "bare"}, "spec": {"containers": [{"name": "app", "image": "a:1"}]}}
    control_plane.api.request("POST", f"/api/v1/namespaces/{params.workload.namespace}/pods", bare)
    with pytest.raises(ConflictError, match="would not come back"):
        await DELETE.dry_run(step(cluster), params.model_copy(update={"pod": "bare"}))


async def test_a_pod_that_does_not_exist_is_named(cluster: KubernetesAdapter, params: RemovalParameters) -> None:
    with pytest.raises(NotFoundError, match="pods neural-hdr-gone"):
        await DELETE.dry_run(step(cluster), params.model_copy(update={"pod": "neural-hdr-gone"}))


async def test_an_eviction_waits_for_the_disruption_budget(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RemovalParameters
) -> None:
    namespace = params.workload.namespace
    grant_for(control_plane, EVICT, params)
    budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    selector = {"matchLabels": {"app": "neural-hdr"}}
    budget = {"metadata": {"name": "all"}, "spec": {"minAvailable": 2, "selector": selector}}
    control_plane.api.request("POST", budgets, budget)
    assert poll(
        lambda: control_plane.api.request("GET", f"{budgets}/all").get("status", {}).get("currentHealthy") == 2,
        seconds=20,
    )
    ctx = step(cluster)
    with pytest.raises(TemporaryError, match="disruption budget"):
        await EVICT.dry_run(ctx, params)
    await EVICT.claim(ctx, params)
    state = await EVICT.capture(ctx, params)
    with pytest.raises(TemporaryError, match="disruption budget"):
        await EVICT.execute(ctx, params, state)
    assert (await EVICT.observe(ctx, params, state)).seen is Seen.NO_EFFECT
    control_plane.api.merge_patch(f"{budgets}/all", {"spec": {"minAvailable": 1}})
    assert poll(
        lambda: control_plane.api.request("GET", f"{budgets}/all")["status"].get("disruptionsAllowed") == 1, seconds=20
    )
    await EVICT.execute(ctx, params, state)
    assert (await EVICT.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT


async def test_it_says_that_one_healthy_pod_goes(cluster: KubernetesAdapter, params: RemovalParameters) -> None:
    found = await DELETE.survey(step(cluster).systems, params)
    assert found.impact == Impact(unavailable=1, healthy=2)


@pytest.mark.parametrize("pod", ["../../x", "a/b", "*", "", "a" * 254, "Upper", "x;y", "${x}", "a\n"])
def test_what_is_no_name_is_refused(pod: str) -> None:
    with pytest.raises(ValidationError):
        RemovalParameters(workload=workload("any"), pod=pod)
