"""Scaling out and to zero, with and without an autoscaler, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.kubernetes.marks import STEP
from hdr_responder.actions.kubernetes.replicas import Replicas, ReplicasParameters
from hdr_responder.actions.kubernetes.scaling import (
    Scale,
    ScaleParameters,
    ScaleToZero,
    ScaleToZeroParameters,
)
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.survey import Impact
from hdr_responder.errors import ConflictError, FencedError
from tests.integration.kubernetes.steps import (
    create_autoscaler,
    create_statefulset,
    grant_for,
    perform,
    prepare,
    responder,
    step,
    workload,
)
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.processes import poll

pytestmark = pytest.mark.service

OUT = Scale()
ZERO = ScaleToZero()


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def deployed(control_plane: ControlPlane, namespace: str) -> str:
    """The namespace of a deployment with two replicas, which the responder may scale."""
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=2)
    grant_for(control_plane, OUT, out(namespace, by=1))
    return namespace


def out(namespace: str, *, maximum: int = 10, **how: int) -> ScaleParameters:
    return ScaleParameters(workload=workload(namespace), maximum=maximum, **how)


def replicas(control_plane: ControlPlane, namespace: str) -> int:
    return int(control_plane.api.deployment(namespace, "neural-hdr")["spec"]["replicas"])


def scale_by_hand(control_plane: ControlPlane, namespace: str, number: int) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
    control_plane.api.merge_patch(path, {"spec": {"replicas": number}})


def autoscaler_path(namespace: str) -> str:
    return f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/neural-hdr"


def bounds(control_plane: ControlPlane, namespace: str) -> tuple[int, int]:
    spec = control_plane.api.request("GET", autoscaler_path(namespace))["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


class TestScale:
    @pytest.mark.parametrize("how", [{"by": 2}, {"to": 4}], ids=["by", "to"])
    async def test_adds_replicas_once_and_takes_them_back(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter, how: dict[str, int]
    ) -> None:
        params = out(deployed, **how)
        ctx = step(cluster)
        state, result = await perform(OUT, ctx, params)
        assert (result.changed, result.was, result.replicas, result.autoscaler) == (True, 2, 4, None)
        assert await OUT.execute(ctx, params, state) == result
        assert replicas(control_plane, deployed) == 4
        assert await OUT.undo(ctx, params, state) is Undone.UNDONE
        assert await OUT.undo(ctx, params, state) is Undone.UNDONE
        assert replicas(control_plane, deployed) == 2

    async def test_beyond_the_maximum_is_refused_and_not_trimmed(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        with pytest.raises(ConflictError, match="5 replicas would be beyond the maximum of 4"):
            await OUT.dry_run(step(cluster), out(deployed, by=3, maximum=4))
        with pytest.raises(ValueError, match="beyond maximum"):
            out(deployed, to=5, maximum=4)

    async def test_adding_nothing_is_refused(self, deployed: str, cluster: KubernetesAdapter) -> None:
        with pytest.raises(ConflictError, match="has 2 replicas already"):
            await OUT.dry_run(step(cluster), out(deployed, to=2))

    async def test_dry_run_changes_nothing(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        before = control_plane.api.deployment(deployed, "neural-hdr")["metadata"]["resourceVersion"]
        await OUT.dry_run(step(cluster), out(deployed, by=1))
        assert control_plane.api.deployment(deployed, "neural-hdr")["metadata"]["resourceVersion"] == before

    async def test_a_concurrent_scaling_is_not_overwritten(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        params, ctx = out(deployed, by=1), step(cluster)
        state = await prepare(OUT, ctx, params)
        scale_by_hand(control_plane, deployed, 7)
        with pytest.raises(ConflictError, match="scaled by somebody else"):
            await OUT.execute(ctx, params, state)
        assert replicas(control_plane, deployed) == 7
        assert (await OUT.observe(ctx, params, state)).seen is Seen.UNKNOWN

    async def test_undo_leaves_what_somebody_else_wrote(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        params, ctx = out(deployed, by=1), step(cluster)
        state, _ = await perform(OUT, ctx, params)
        scale_by_hand(control_plane, deployed, 7)
        assert await OUT.undo(ctx, params, state) is Undone.DRIFTED
        assert replicas(control_plane, deployed) == 7

    async def test_undo_of_what_never_happened(self, deployed: str, cluster: KubernetesAdapter) -> None:
        params, ctx = out(deployed, by=1), step(cluster)
        state = await prepare(OUT, ctx, params)
        assert await OUT.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO

    async def test_observe_after_a_crash(self, deployed: str, cluster: KubernetesAdapter) -> None:
        params, ctx = out(deployed, by=1), step(cluster)
        state = await prepare(OUT, ctx, params)
        assert (await OUT.observe(ctx, params, state)).seen is Seen.NO_EFFECT
        result = await OUT.execute(ctx, params, state)
        taken_over = step(cluster, run_id=ctx.fence.run_id, token=2)
        await OUT.claim(taken_over, params)
        observed = await OUT.observe(taken_over, params, state)
        assert (observed.seen, observed.result) == (Seen.TOOK_EFFECT, result)

    async def test_an_older_token_can_neither_act_nor_undo(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        params, old = out(deployed, by=1), step(cluster)
        state = await prepare(OUT, old, params)
        new = step(cluster, run_id=old.fence.run_id, token=2)
        await OUT.claim(new, params)
        with pytest.raises(FencedError):
            await OUT.execute(old, params, state)
        await OUT.execute(new, params, state)
        with pytest.raises(FencedError):
            await OUT.undo(old, params, state)
        assert replicas(control_plane, deployed) == 3
        assert await OUT.undo(new, params, state) is Undone.UNDONE


class TestScaleUnderAnAutoscaler:
    async def test_moves_the_minimum_and_the_replicas_follow(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        create_autoscaler(control_plane, deployed, low=1, high=4)
        params, ctx = out(deployed, by=1), step(cluster)
        state, result = await perform(OUT, ctx, params)
        assert (result.was, result.replicas, result.autoscaler) == (1, 3, "neural-hdr")
        assert bounds(control_plane, deployed) == (3, 4)
        assert STEP not in control_plane.api.deployment(deployed, "neural-hdr")["metadata"]["annotations"]
        patched = control_plane.audit_events(user=RESPONDER, verb="patch", namespace=deployed)
        assert {event.resource for event in patched} == {"horizontalpodautoscalers"}
        enough = ReplicasParameters(workload=params.workload, at_least=3)
        assert (await Replicas().evaluate(ctx, enough)).holds in {None, True}
        assert poll(lambda: replicas(control_plane, deployed) == 3, seconds=45)
        control_plane.api.wait_available(deployed, "neural-hdr")
        assert (await Replicas().evaluate(ctx, enough)).holds is True
        assert await OUT.undo(ctx, params, state) is Undone.UNDONE
        assert bounds(control_plane, deployed) == (1, 4)

    async def test_moves_the_maximum_where_it_is_in_the_way(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        create_autoscaler(control_plane, deployed, low=1, high=3)
        params, ctx = out(deployed, to=5), step(cluster)
        state, _ = await perform(OUT, ctx, params)
        assert bounds(control_plane, deployed) == (5, 5)
        assert await OUT.undo(ctx, params, state) is Undone.UNDONE
        assert bounds(control_plane, deployed) == (1, 3)

    async def test_undo_leaves_bounds_that_somebody_else_moved(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        create_autoscaler(control_plane, deployed, low=1, high=4)
        params, ctx = out(deployed, by=1), step(cluster)
        state, _ = await perform(OUT, ctx, params)
        control_plane.api.merge_patch(autoscaler_path(deployed), {"spec": {"minReplicas": 2}})
        assert await OUT.undo(ctx, params, state) is Undone.DRIFTED
        assert bounds(control_plane, deployed) == (2, 4)

    async def test_undo_leaves_replicas_that_an_autoscaler_owns_by_now(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        params, ctx = out(deployed, by=1), step(cluster)
        state, _ = await perform(OUT, ctx, params)
        create_autoscaler(control_plane, deployed, low=1, high=4)
        assert await OUT.undo(ctx, params, state) is Undone.DRIFTED

    async def test_an_autoscaler_of_another_controller_is_left_alone(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        create_autoscaler(control_plane, deployed)
        deployment = control_plane.api.deployment(deployed, "neural-hdr")
        owner = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "neural-hdr",
            "uid": deployment["metadata"]["uid"],
            "controller": True,
        }
        control_plane.api.merge_patch(autoscaler_path(deployed), {"metadata": {"ownerReferences": [owner]}})
        with pytest.raises(ConflictError, match="controlled by Deployment/neural-hdr"):
            await OUT.dry_run(step(cluster), out(deployed, by=1))


class TestScaleDown:
    @pytest.mark.parametrize("how", [{"by": -2}, {"to": 1}], ids=["by", "to"])
    async def test_takes_replicas_away_once_and_puts_them_back(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter, how: dict[str, int]
    ) -> None:
        scale_by_hand(control_plane, deployed, 3)
        params, ctx = ScaleParameters(workload=workload(deployed), **how), step(cluster)
        state, result = await perform(OUT, ctx, params)
        assert (result.changed, result.was, result.replicas) == (True, 3, 1)
        assert await OUT.execute(ctx, params, state) == result
        assert replicas(control_plane, deployed) == 1
        assert await OUT.undo(ctx, params, state) is Undone.UNDONE
        assert replicas(control_plane, deployed) == 3

    async def test_never_below_the_minimum_and_never_to_zero(self, deployed: str, cluster: KubernetesAdapter) -> None:
        with pytest.raises(ConflictError, match="0 replicas would be below the minimum of 1"):
            await OUT.dry_run(step(cluster), ScaleParameters(workload=workload(deployed), by=-2))
        with pytest.raises(ConflictError, match="1 replicas would be below the minimum of 2"):
            await OUT.dry_run(step(cluster), ScaleParameters(workload=workload(deployed), by=-1, minimum=2))

    async def test_what_it_takes_away_is_told_beforehand(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.wait_available(deployed, "neural-hdr")
        systems = step(cluster).systems
        down = await OUT.survey(systems, ScaleParameters(workload=workload(deployed), by=-1))
        assert down.impact == Impact(unavailable=1, healthy=2)
        assert (await OUT.survey(systems, out(deployed, by=1))).impact is None

    async def test_under_an_autoscaler_both_bounds_move_and_come_back(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        create_autoscaler(control_plane, deployed, low=2, high=6)
        params, ctx = ScaleParameters(workload=workload(deployed), to=1), step(cluster)
        state, result = await perform(OUT, ctx, params)
        assert (result.was, result.replicas, result.autoscaler) == (6, 1, "neural-hdr")
        assert bounds(control_plane, deployed) == (1, 1)
        assert replicas(control_plane, deployed) == 2
        assert poll(lambda: replicas(control_plane, deployed) == 1, seconds=45)
        assert await OUT.undo(ctx, params, state) is Undone.UNDONE
        assert bounds(control_plane, deployed) == (2, 6)

    async def test_a_statefulset_is_scaled_both_ways(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        create_statefulset(control_plane, namespace, replicas=2)
        where = workload(namespace, kind="statefulset")
        grant_for(control_plane, OUT, ScaleParameters(workload=where, to=1))
        path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/neural-hdr"
        for params, number in (
            (ScaleParameters(workload=where, by=-1), 1),
            (ScaleParameters(workload=where, by=2, maximum=4), 4),
        ):
            ctx = step(cluster)
            state, _ = await perform(OUT, ctx, params)
            assert control_plane.api.request("GET", path)["spec"]["replicas"] == number
            assert await OUT.undo(ctx, params, state) is Undone.UNDONE
            assert control_plane.api.request("GET", path)["spec"]["replicas"] == 2


class TestScaleToZero:
    @pytest.mark.parametrize("autoscaled", [False, True])
    async def test_stops_and_puts_back(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter, autoscaled: bool
    ) -> None:
        if autoscaled:
            create_autoscaler(control_plane, deployed)
        params, ctx = ScaleToZeroParameters(workload=workload(deployed)), step(cluster)
        state, result = await perform(ZERO, ctx, params)
        assert (result.was, result.replicas) == (2, 0)
        assert result.autoscaler == ("neural-hdr" if autoscaled else None)
        control_plane.api.wait_pods(deployed, "app=neural-hdr", lambda pods: not pods)
        none = ReplicasParameters(workload=params.workload, equals=0)
        assert (await Replicas().evaluate(ctx, none)).holds is True
        assert await ZERO.undo(ctx, params, state) is Undone.UNDONE
        assert replicas(control_plane, deployed) == 2

    async def test_stopping_what_is_stopped_is_no_failure(
        self, control_plane: ControlPlane, deployed: str, cluster: KubernetesAdapter
    ) -> None:
        scale_by_hand(control_plane, deployed, 0)
        params, ctx = ScaleToZeroParameters(workload=workload(deployed)), step(cluster)
        state, result = await perform(ZERO, ctx, params)
        assert result.changed is False
        assert (await ZERO.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT
        assert await ZERO.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO


class TestReplicas:
    @pytest.mark.parametrize(
        ("wanted", "holds"),
        [({"equals": 2}, True), ({"equals": 3}, False), ({"at_least": 2}, True), ({"at_least": 3}, False)],
    )
    async def test_counts(self, deployed: str, cluster: KubernetesAdapter, wanted: dict[str, Any], holds: bool) -> None:
        params = ReplicasParameters(workload=workload(deployed), **wanted)
        assert (await Replicas().evaluate(step(cluster), params)).holds is holds
