"""Cutting a workload off the network, and letting it back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.kubernetes.isolated import Isolated, IsolatedParameters
from hdr_responder.actions.kubernetes.isolation import Isolate, IsolateParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.errors import ConflictError, FencedError, NotFoundError, PermanentError
from tests.integration.kubernetes.steps import grant_for, perform, prepare, responder, step, workload
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service

QUARANTINE = Isolate()


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def params(control_plane: ControlPlane, namespace: str) -> IsolateParameters:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=2)
    wanted = IsolateParameters(workload=workload(namespace))
    grant_for(control_plane, QUARANTINE, wanted)
    return wanted


def policies_path(params: IsolateParameters) -> str:
    return f"/apis/networking.k8s.io/v1/namespaces/{params.workload.namespace}/networkpolicies"


def policies(control_plane: ControlPlane, params: IsolateParameters) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = control_plane.api.request("GET", policies_path(params))["items"]
    return items


def allow_all(control_plane: ControlPlane, params: IsolateParameters) -> None:
    spec = {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]}
    control_plane.api.request("POST", policies_path(params), {"metadata": {"name": "allow-web"}, "spec": spec})


def labels(control_plane: ControlPlane, params: IsolateParameters) -> dict[str, dict[str, str]]:
    pods = control_plane.api.pods(params.workload.namespace)
    return {pod["metadata"]["name"]: pod["metadata"]["labels"] for pod in pods}


async def holds(cluster: KubernetesAdapter, params: IsolateParameters, enforced_by: str | None = None) -> bool | None:
    wanted = IsolatedParameters(workload=params.workload, enforced_by=enforced_by)
    return (await Isolated().evaluate(step(cluster), wanted)).holds


async def test_denies_all_and_lets_go_again(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    before = labels(control_plane, params)
    ctx = step(cluster)
    state, result = await perform(QUARANTINE, ctx, params)
    assert await QUARANTINE.execute(ctx, params, state) == result
    [policy] = policies(control_plane, params)
    assert (result.policy, result.pods, result.still_allowed_by) == (policy["metadata"]["name"], 2, [])
    assert policy["spec"] == {
        "podSelector": {"matchLabels": {"app": "neural-hdr"}},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert policy["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "hdr-responder"}
    assert policy["metadata"]["annotations"]["hdr-responder.io/step"] == ctx.step_key
    assert labels(control_plane, params) == before
    assert await QUARANTINE.undo(ctx, params, state) is Undone.UNDONE
    assert policies(control_plane, params) == []
    assert await QUARANTINE.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO


async def test_until_it_is_executed_the_policy_isolates_nothing(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    ctx = step(cluster)
    await QUARANTINE.dry_run(ctx, params)
    assert policies(control_plane, params) == []
    state = await prepare(QUARANTINE, ctx, params)
    assert await holds(cluster, params) is False
    assert (await QUARANTINE.observe(ctx, params, state)).seen is Seen.NO_EFFECT
    assert await QUARANTINE.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO
    assert policies(control_plane, params) == []


async def test_observe_after_a_crash(cluster: KubernetesAdapter, params: IsolateParameters) -> None:
    ctx = step(cluster)
    state, result = await perform(QUARANTINE, ctx, params)
    taken_over = step(cluster, run_id=ctx.fence.run_id, token=2)
    await QUARANTINE.dry_run(taken_over, params)
    await QUARANTINE.claim(taken_over, params)
    observed = await QUARANTINE.observe(taken_over, params, state)
    assert (observed.seen, observed.result) == (Seen.TOOK_EFFECT, result)


async def test_a_late_worker_can_isolate_nothing(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    old = step(cluster)
    state = await prepare(QUARANTINE, old, params)
    new = step(cluster, run_id=old.fence.run_id, token=2)
    await QUARANTINE.claim(new, params)
    with pytest.raises(FencedError):
        await QUARANTINE.execute(old, params, state)
    await QUARANTINE.execute(new, params, state)
    with pytest.raises(FencedError):
        await QUARANTINE.undo(old, params, state)
    assert await QUARANTINE.undo(new, params, state) is Undone.UNDONE
    with pytest.raises(NotFoundError):
        await QUARANTINE.execute(old, params, state)
    assert policies(control_plane, params) == []


@pytest.mark.parametrize(
    "edit",
    [{"egress": [{}]}, {"policyTypes": ["Ingress"]}, {"podSelector": {"matchLabels": {"tier": "web"}}}],
    ids=["allows", "one direction", "other pods"],
)
async def test_undo_leaves_a_policy_that_somebody_edited(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters, edit: dict[str, Any]
) -> None:
    ctx = step(cluster)
    state, result = await perform(QUARANTINE, ctx, params)
    control_plane.api.merge_patch(f"{policies_path(params)}/{result.policy}", {"spec": edit})
    assert await QUARANTINE.undo(ctx, params, state) is Undone.DRIFTED
    assert len(policies(control_plane, params)) == 1


async def test_undo_after_somebody_deleted_the_policy_leaves_nothing_behind(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    ctx = step(cluster)
    state, result = await perform(QUARANTINE, ctx, params)
    control_plane.api.request("DELETE", f"{policies_path(params)}/{result.policy}")
    await QUARANTINE.claim(ctx, params)
    assert await QUARANTINE.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO
    assert policies(control_plane, params) == []


async def test_a_policy_of_that_name_that_is_not_ours_is_left_alone(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    ctx = step(cluster)
    state, result = await perform(QUARANTINE, ctx, params)
    control_plane.api.request("DELETE", f"{policies_path(params)}/{result.policy}")
    foreign = {"metadata": {"name": result.policy}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    control_plane.api.request("POST", policies_path(params), foreign)
    with pytest.raises(ConflictError, match="not ours"):
        await QUARANTINE.dry_run(ctx, params)
    with pytest.raises(ConflictError, match="not ours"):
        await QUARANTINE.claim(ctx, params)
    assert await QUARANTINE.undo(ctx, params, state) is Undone.DRIFTED
    assert "annotations" not in policies(control_plane, params)[0]["metadata"]


async def test_what_still_allows_traffic_is_told(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    allow_all(control_plane, params)
    _, result = await perform(QUARANTINE, step(cluster), params)
    assert result.still_allowed_by == ["allow-web"]
    assert await holds(cluster, params, enforced_by="calico") is False


async def test_a_policy_proves_nothing_unless_it_is_enforced(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    assert await holds(cluster, params, enforced_by="calico") is False
    await perform(QUARANTINE, step(cluster), params)
    assert await holds(cluster, params) is None
    assert await holds(cluster, params, enforced_by="calico") is True
    path = f"/apis/apps/v1/namespaces/{params.workload.namespace}/deployments/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"replicas": 0}})
    control_plane.api.wait_pods(params.workload.namespace, "app=neural-hdr", lambda pods: not pods)
    assert await holds(cluster, params) is True


async def test_pods_on_the_nodes_network_are_refused(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    path = f"/apis/apps/v1/namespaces/{params.workload.namespace}/deployments/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"template": {"spec": {"hostNetwork": True}}}})
    with pytest.raises(PermanentError, match="nodes' network"):
        await QUARANTINE.dry_run(step(cluster), params)


async def test_a_selector_that_hits_others_is_refused(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    namespace = params.workload.namespace
    # Its own controller keeps the ReplicaSet from adopting it.
    account = control_plane.api.request("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")["metadata"]
    owner = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "default", "uid": account["uid"], "controller": True}
    stranger = {
        "metadata": {"name": "stranger", "labels": {"app": "neural-hdr"}, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "app", "image": "registry.example/app:1.0"}]},
    }
    control_plane.api.request("POST", f"/api/v1/namespaces/{namespace}/pods", stranger)
    with pytest.raises(ConflictError, match=r"also matches 1 other pods \(stranger\)"):
        await QUARANTINE.dry_run(step(cluster), params)
