"""Restarts, waiting, logs, rights and errors against a real control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.actions.contract import Seen
from hdr_responder.actions.kubernetes.logs import Logs, LogsParameters
from hdr_responder.actions.kubernetes.marks import FENCE, RESTARTED_AT, STEP
from hdr_responder.actions.kubernetes.rollouts import (
    RestartParameters,
    Rollout,
    RolloutParameters,
    RolloutRestart,
    RolloutStatus,
    RolloutStatusParameters,
)
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.errors import (
    ConflictError,
    PermanentError,
    TemporaryError,
)
from tests.fakes.clock import ManualClock
from tests.integration.kubernetes.steps import (
    KeptEvidence,
    grant_for,
    perform,
    prepare,
    responder,
    step,
    workload,
)
from tests.services.kubernetes import RESPONDER, ControlPlane

pytestmark = pytest.mark.service

RESTART = RolloutRestart()


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


def template_annotations(control_plane: ControlPlane, namespace: str) -> dict[str, str]:
    meta = control_plane.api.deployment(namespace, "neural-hdr")["spec"]["template"]["metadata"]
    annotations: dict[str, str] = meta.get("annotations", {})
    return annotations


class TestRestart:
    async def test_happens_exactly_once(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr", replicas=2)
        params = RestartParameters(workload=workload(namespace))
        grant_for(control_plane, RESTART, params)
        ctx = step(cluster)
        state, result = await perform(RESTART, ctx, params)
        assert await RESTART.execute(ctx, params, state) == result
        after = control_plane.api.wait_available(namespace, "neural-hdr")
        assert after["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        marks = template_annotations(control_plane, namespace)
        assert marks == {RESTARTED_AT: result.restarted_at, STEP: ctx.step_key}
        patches = control_plane.audit_events(user=RESPONDER, verb="patch", namespace=namespace)
        restarts = [event for event in patches if RESTARTED_AT in str(event.body)]
        assert len(restarts) == 1
        assert {event.field_manager for event in patches} == {"hdr-responder"}
        assert restarts[0].body[0] == {
            "op": "test",
            "path": f"/metadata/annotations/{pointer(FENCE)}",
            "value": str(ctx.fence),
        }

    async def test_dry_run_changes_nothing(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        before = control_plane.api.create_deployment(namespace, "neural-hdr")
        params = RestartParameters(workload=workload(namespace))
        grant_for(control_plane, RESTART, params)
        await RESTART.dry_run(step(cluster), params)
        after = control_plane.api.deployment(namespace, "neural-hdr")
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert control_plane.audit_events(user=RESPONDER, verb="patch", namespace=namespace) == []
        rehearsals = control_plane.audit_events(user=RESPONDER, verb="patch", namespace=namespace, include_dry_run=True)
        assert [event.code for event in rehearsals] == [200]

    async def test_observe_after_a_crash(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr")
        params = RestartParameters(workload=workload(namespace))
        grant_for(control_plane, RESTART, params)
        ctx = step(cluster)
        state = await prepare(RESTART, ctx, params)
        assert (await RESTART.observe(ctx, params, state)).seen is Seen.NO_EFFECT
        result = await RESTART.execute(ctx, params, state)
        taken_over = step(cluster, run_id=ctx.fence.run_id, token=2)
        await RESTART.claim(taken_over, params)
        observed = await RESTART.observe(taken_over, params, state)
        assert (observed.seen, observed.result) == (Seen.TOOK_EFFECT, result)

    async def test_observe_admits_what_it_cannot_know(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr")
        params = RestartParameters(workload=workload(namespace))
        grant_for(control_plane, RESTART, params)
        ctx = step(cluster)
        state = await prepare(RESTART, ctx, params)
        await perform(RESTART, step(cluster, clock=ManualClock()), params)
        assert (await RESTART.observe(ctx, params, state)).seen is Seen.UNKNOWN

    async def test_keeps_other_annotations(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr", annotations={"team": "video"})
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
        control_plane.api.merge_patch(
            path, {"spec": {"template": {"metadata": {"annotations": {"a.example/b": "kept"}}}}}
        )
        params = RestartParameters(workload=workload(namespace))
        grant_for(control_plane, RESTART, params)
        await perform(RESTART, step(cluster), params)
        assert template_annotations(control_plane, namespace)["a.example/b"] == "kept"
        assert control_plane.api.deployment(namespace, "neural-hdr")["metadata"]["annotations"]["team"] == "video"

    @pytest.mark.parametrize(
        ("spec", "reason"),
        [({"paused": True}, "is paused"), ({"progressDeadlineSeconds": 600}, None)],
        ids=["paused", "running"],
    )
    async def test_refuses_where_nothing_would_restart(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        spec: dict[str, Any],
        reason: str | None,
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr")
        control_plane.api.merge_patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr", {"spec": spec})
        params = RestartParameters(workload=workload(namespace))
        grant_for(control_plane, RESTART, params)
        if reason is None:
            await RESTART.dry_run(step(cluster), params)
        else:
            with pytest.raises(ConflictError, match=reason):
                await RESTART.dry_run(step(cluster), params)

    @pytest.mark.parametrize("kind", ["statefulset", "daemonset"])
    async def test_other_kinds(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, kind: Any
    ) -> None:
        control_plane.api.request("POST", f"/apis/apps/v1/namespaces/{namespace}/{kind}s", pod_set(kind))
        params = RestartParameters(workload=workload(namespace, kind=kind))
        grant_for(control_plane, RESTART, params)
        await perform(RESTART, step(cluster), params)
        waiting = RolloutStatusParameters(workload=params.workload, within=timedelta(seconds=30))
        done = await RolloutStatus().execute(step(cluster), waiting)
        assert done.replicas >= 1
        [pod] = control_plane.api.pods(namespace, "app=neural-hdr")
        assert STEP in pod["metadata"]["annotations"]


def pod_set(kind: str) -> dict[str, Any]:
    own = {"replicas": 1, "serviceName": "neural-hdr"} if kind == "statefulset" else {}
    template = {
        "metadata": {"labels": {"app": "neural-hdr"}},
        "spec": {"containers": [{"name": "app", "image": "registry.example/app:1.0"}]},
    }
    selector = {"matchLabels": {"app": "neural-hdr"}}
    return {"metadata": {"name": "neural-hdr"}, "spec": {**own, "selector": selector, "template": template}}


def pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


class TestRollout:
    async def test_done(self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr", replicas=2)
        params = RolloutStatusParameters(workload=workload(namespace), within=timedelta(seconds=30))
        grant_for(control_plane, RolloutStatus(), params)
        control_plane.api.set_image(namespace, "neural-hdr", "registry.example/app:2.0")
        done = await RolloutStatus().execute(step(cluster), params)
        assert done.replicas == 2
        verdict = await Rollout().evaluate(step(cluster), RolloutParameters(workload=params.workload))
        assert verdict.holds is True

    async def test_stuck_is_no_evidence_until_the_deadline_is_exceeded(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr", progress_deadline_seconds=2)
        params = RolloutParameters(workload=workload(namespace))
        waiting = RolloutStatusParameters(workload=params.workload, within=timedelta(seconds=30))
        grant_for(control_plane, RolloutStatus(), waiting)
        control_plane.api.set_image(namespace, "neural-hdr", "registry.example/app:never-ready")
        verdict = await Rollout().evaluate(step(cluster), params)
        assert verdict.holds is None
        with pytest.raises(PermanentError, match="ProgressDeadlineExceeded"):
            await RolloutStatus().execute(step(cluster), waiting)
        verdict = await Rollout().evaluate(step(cluster), params)
        assert verdict.holds is False
        assert "ProgressDeadlineExceeded" in verdict.detail

    async def test_out_of_time_may_be_tried_again(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(
            namespace, "neural-hdr", image="registry.example/app:never-ready", wait=False
        )
        params = RolloutStatusParameters(workload=workload(namespace), within=timedelta(seconds=1))
        grant_for(control_plane, RolloutStatus(), params)
        with pytest.raises(TemporaryError, match="0 of 1 replicas available"):
            await RolloutStatus().execute(step(cluster), params)


class TestLogs:
    async def test_keeps_the_lines_that_match(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr", replicas=2)
        control_plane.set_logs(["INFO one", "ERROR two", "INFO three", "ERROR four [a-z]+"])
        params = LogsParameters(workload=workload(namespace), tail=3, grep="ERROR")
        grant_for(control_plane, Logs(), params)
        evidence = KeptEvidence()
        result = await Logs().execute(step(cluster, evidence=evidence), params)
        assert (result.lines, result.matched, result.skipped) == (6, 4, [])
        assert len(result.pods) == 2
        assert [evidence.artifacts[each][1] for each in result.artifacts] == [b"ERROR two\nERROR four [a-z]+\n"] * 2

    async def test_pods_in_trouble_come_first(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr", replicas=3)
        pods = sorted(pod["metadata"]["name"] for pod in control_plane.api.pods(namespace))
        path = f"/api/v1/namespaces/{namespace}/pods/{pods[-1]}"
        control_plane.api.merge_patch(path, {"metadata": {"annotations": {"hdr-responder.test/behaviour": "crash"}}})
        control_plane.api.wait_pods(namespace, "app=neural-hdr", lambda seen: sum(_restarts(pod) for pod in seen) > 0)
        control_plane.set_logs(["alive"])
        params = LogsParameters(workload=workload(namespace), pods=1, grep=None)
        grant_for(control_plane, Logs(), params)
        result = await Logs().execute(step(cluster), params)
        assert result.pods == [pods[-1]]

    async def test_a_container_without_a_log_is_skipped(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(
            namespace, "neural-hdr", image="registry.example/app:pull-error", wait=False
        )
        control_plane.api.wait_pods(
            namespace, "app=neural-hdr", lambda pods: bool(pods) and "phase" in pods[0]["status"]
        )
        params = LogsParameters(workload=workload(namespace))
        grant_for(control_plane, Logs(), params)
        result = await Logs().execute(step(cluster), params)
        assert result.artifacts == []
        assert (result.lines, len(result.pods)) == (0, 1)


def _restarts(pod: Any) -> int:
    return sum(status.get("restartCount", 0) for status in pod["status"].get("containerStatuses", []))
