"""Ending the isolation of a workload, whichever run made it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Seen
from hdr_responder.actions.kubernetes.isolated import Released, ReleasedParameters
from hdr_responder.actions.kubernetes.isolation import Isolate, IsolateParameters
from hdr_responder.actions.kubernetes.release import Release, ReleaseParameters, ReleaseResult
from hdr_responder.actions.kubernetes.scaling import ScaleToZero, ScaleToZeroParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.kubernetes import JsonPatch, ObjectMeta, ObjectRef
from hdr_responder.errors import ConflictError, FencedError, NotFoundError, TemporaryError
from tests.fakes.everywhere import EVERYWHERE
from tests.integration.kubernetes.networks import (
    SELECTOR,
    create_service,
    ours,
    policies,
    policies_path,
    selector,
    service,
    services_path,
    wait_endpoints,
)
from tests.integration.kubernetes.steps import CLUSTER, grant, perform, prepare, responder, step, workload
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service

RELEASE = Release()
STOPPED = "hdr-responder.io/stopped"


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def params(control_plane: ControlPlane, namespace: str) -> ReleaseParameters:
    """Two pods of ``neural-hdr`` behind the Service ``web``; ``quantum-hdr`` beside it."""
    for name, replicas in (("neural-hdr", 2), ("quantum-hdr", 1)):
        control_plane.api.create_deployment(namespace, name, replicas=replicas)
    create_service(control_plane, namespace, "web")
    wait_endpoints(control_plane, namespace, "web", 2)
    target = workload(namespace)
    held = [
        *Isolate().permissions(IsolateParameters(workload=target)),
        *ScaleToZero().permissions(ScaleToZeroParameters(workload=target)),
        *RELEASE.permissions(ReleaseParameters(workload=target)),
    ]
    grant(control_plane, held)
    return ReleaseParameters(workload=target)


async def isolate(cluster: KubernetesAdapter, namespace: str, name: str = "neural-hdr") -> uuid.UUID:
    """Isolate as a run of its own; the run."""
    ctx = step(cluster, step_id="isolate")
    await perform(Isolate(), ctx, IsolateParameters(workload=workload(namespace, name)))
    return ctx.fence.run_id


async def stop(cluster: KubernetesAdapter, namespace: str, run_id: uuid.UUID | None = None) -> None:
    ctx = step(cluster, run_id=run_id, step_id="stop")
    await perform(ScaleToZero(), ctx, ScaleToZeroParameters(workload=workload(namespace)))


async def is_released(cluster: KubernetesAdapter, namespace: str) -> bool | None:
    return (await Released().evaluate(step(cluster), ReleasedParameters(workload=workload(namespace)))).holds


def deployment(control_plane: ControlPlane, namespace: str) -> dict[str, Any]:
    return control_plane.api.deployment(namespace, "neural-hdr")


def replicas(control_plane: ControlPlane, namespace: str) -> int:
    return int(deployment(control_plane, namespace)["spec"]["replicas"])


class TestRestores:
    async def test_exactly_what_was_there(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        specs = (deployment(control_plane, namespace)["spec"], service(control_plane, namespace, "web")["spec"])
        await stop(cluster, namespace, await isolate(cluster, namespace))
        control_plane.api.wait_pods(namespace, "app=neural-hdr", lambda pods: not pods)
        assert await is_released(cluster, namespace) is False
        ctx = step(cluster)
        state, result = await perform(RELEASE, ctx, params)
        assert (len(result.policies), result.services, result.replicas, result.left) == (1, ["web"], 2, [])
        assert result.summary == "1 policy deleted; web selects its pods again; 2 replicas brought back"
        assert policies(control_plane, namespace) == []
        assert (deployment(control_plane, namespace)["spec"], service(control_plane, namespace, "web")["spec"]) == specs
        assert ours(control_plane, namespace, "web") == set()
        assert STOPPED not in deployment(control_plane, namespace)["metadata"]["annotations"]
        control_plane.api.wait_available(namespace, "neural-hdr")
        wait_endpoints(control_plane, namespace, "web", 2)
        assert await is_released(cluster, namespace) is True
        assert await RELEASE.execute(ctx, params, state) == result
        assert (await RELEASE.observe(ctx, params, state)).result == result

    async def test_all_isolations_at_once_and_those_of_others_not(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        for name in ("neural-hdr", "neural-hdr", "quantum-hdr"):
            await isolate(cluster, namespace, name)
        foreign = {"metadata": {"name": "theirs"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
        control_plane.api.request("POST", policies_path(namespace), foreign)
        _, result = await perform(RELEASE, step(cluster), params)
        assert (len(result.policies), result.services, result.replicas) == (2, ["web"], None)
        left = sorted(each["metadata"]["name"] for each in policies(control_plane, namespace))
        assert [name.rpartition("-")[0] or name for name in left] == ["hdr-isolate-quantum-hdr", "theirs"]
        assert selector(control_plane, namespace, "web") == SELECTOR

    async def test_a_policy_that_was_claimed_and_never_written(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await prepare(Isolate(), step(cluster), IsolateParameters(workload=params.workload))
        assert await is_released(cluster, namespace) is False
        await perform(RELEASE, step(cluster), params)
        assert policies(control_plane, namespace) == []

    async def test_although_the_workload_is_gone(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await isolate(cluster, namespace)
        control_plane.api.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr")
        ctx = step(cluster)
        await RELEASE.survey(ctx.systems, params)
        state, result = await perform(RELEASE, ctx, params)
        await RELEASE.announce(ctx, params, state, undone=False)
        assert (len(result.policies), result.services) == (1, ["web"])
        assert selector(control_plane, namespace, "web") == SELECTOR
        assert await is_released(cluster, namespace) is True


class TestReplicas:
    async def test_stay_away_when_another_run_took_them(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await stop(cluster, namespace)
        await isolate(cluster, namespace)
        _, result = await perform(RELEASE, step(cluster), params)
        assert result.replicas is None
        assert replicas(control_plane, namespace) == 0

    async def test_stay_as_somebody_set_them_since(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await stop(cluster, namespace, await isolate(cluster, namespace))
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
        control_plane.api.merge_patch(path, {"spec": {"replicas": 5}})
        _, result = await perform(RELEASE, step(cluster), params)
        assert result.replicas is None
        assert replicas(control_plane, namespace) == 5

    async def test_stay_away_when_the_stop_was_undone_before(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        run_id = await isolate(cluster, namespace)
        ctx = step(cluster, run_id=run_id, step_id="stop")
        wanted = ScaleToZeroParameters(workload=params.workload)
        state, _ = await perform(ScaleToZero(), ctx, wanted)
        await ScaleToZero().undo(ctx, wanted, state)
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
        control_plane.api.merge_patch(path, {"spec": {"replicas": 0}})
        _, result = await perform(RELEASE, step(cluster), params)
        assert result.replicas is None
        assert replicas(control_plane, namespace) == 0

    async def test_a_second_stop_does_not_forget_how_many_there_were(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await stop(cluster, namespace, await isolate(cluster, namespace))
        await stop(cluster, namespace, await isolate(cluster, namespace))
        _, result = await perform(RELEASE, step(cluster), params)
        assert (len(result.policies), result.replicas) == (2, 2)


class TestLeaves:
    async def test_a_policy_that_somebody_edited(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await isolate(cluster, namespace)
        (policy,) = policies(control_plane, namespace)
        name = policy["metadata"]["name"]
        edit = {"spec": {"podSelector": {"matchLabels": {"app": None, "tier": "web"}}}}
        control_plane.api.merge_patch(f"{policies_path(namespace)}/{name}", edit)
        _, result = await perform(RELEASE, step(cluster), params)
        assert (result.policies, result.services) == ([], ["web"])
        assert result.left == [f"policy {name}: somebody edited it since"]
        assert len(policies(control_plane, namespace)) == 1
        assert await is_released(cluster, namespace) is False

    async def test_a_service_that_was_given_another_selector(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await isolate(cluster, namespace)
        control_plane.api.merge_patch(services_path(namespace, "web"), {"spec": {"selector": {"tier": "front"}}})
        _, result = await perform(RELEASE, step(cluster), params)
        assert (len(result.policies), result.services) == (1, [])
        assert result.left == ["service web: somebody changed its selector since it was cut"]
        assert selector(control_plane, namespace, "web") == {
            **SELECTOR,
            "tier": "front",
            "hdr-responder.io/cut-off": "true",
        }
        with pytest.raises(ConflictError, match=r"nothing that we can take back .*service web"):
            await RELEASE.dry_run(step(cluster), params)

    @pytest.mark.parametrize("marks", ["", "not json", "[]", '{"app": 1}', "{}", '{"app": "other"}'])
    async def test_a_service_whose_marks_say_nothing_of_use(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        params: ReleaseParameters,
        marks: str,
    ) -> None:
        await isolate(cluster, namespace)
        annotations = {"hdr-responder.io/selector": marks, "hdr-responder.io/workload": None}
        control_plane.api.merge_patch(services_path(namespace, "web"), {"metadata": {"annotations": annotations}})
        _, result = await perform(RELEASE, step(cluster), params)
        assert result.left == ["service web: somebody changed its selector since it was cut"]

    async def test_what_is_edited_while_it_is_released(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await isolate(cluster, namespace)
        ctx = step(cluster)
        state = await prepare(RELEASE, ctx, params)
        (policy,) = policies(control_plane, namespace)
        name = policy["metadata"]["name"]
        control_plane.api.merge_patch(f"{policies_path(namespace)}/{name}", {"spec": {"ingress": [{}]}})
        result = await RELEASE.execute(ctx, params, state)
        assert result.left == [f"policy {name}: somebody edited it since"]
        assert selector(control_plane, namespace, "web") == SELECTOR


class TestRefuses:
    async def test_what_nobody_isolated(self, cluster: KubernetesAdapter, params: ReleaseParameters) -> None:
        with pytest.raises(ConflictError, match="nothing that we can take back isolates deployment/neural-hdr"):
            await RELEASE.dry_run(step(cluster), params)

    async def test_what_does_not_exist(
        self, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        del params
        with pytest.raises(NotFoundError, match="no deployment/neural-hdrr in namespace"):
            await RELEASE.dry_run(step(cluster), ReleaseParameters(workload=workload(namespace, "neural-hdrr")))

    @pytest.mark.parametrize("name", ["../../x", "a/b", "x;drop table y", "`id`", "a=b,c!=d", "*", "\n", "a" * 300])
    async def test_hostile_names(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        params: ReleaseParameters,
        name: str,
    ) -> None:
        del params
        await isolate(cluster, namespace)
        before = policies(control_plane, namespace)
        with pytest.raises(ValidationError):
            ReleaseParameters(workload=workload(namespace, name))
        assert policies(control_plane, namespace) == before

    async def test_a_rehearsal_changes_nothing(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await stop(cluster, namespace, await isolate(cluster, namespace))

        def seen() -> list[Any]:
            return [
                [each["metadata"]["resourceVersion"] for each in policies(control_plane, namespace)],
                service(control_plane, namespace, "web")["metadata"]["resourceVersion"],
                deployment(control_plane, namespace)["spec"],
            ]

        before = seen()
        await RELEASE.dry_run(step(cluster), params)
        assert seen() == before


class DiesBeforePatch(KubernetesAdapter):
    """A worker whose end comes when it first would patch an object of this resource."""

    resource = "services"

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        if ref.resource == self.resource:
            raise KeyboardInterrupt
        await super().patch(ref, operations, dry_run=dry_run)


class Busy(KubernetesAdapter):
    """A server that asks to come back later at every change."""

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        raise TemporaryError("asks to wait", retry_after=0.01)

    async def delete_network_policy(self, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        raise TemporaryError("asks to wait", retry_after=0.01)


class TestCrashes:
    @pytest.mark.parametrize("resource", ["services", "apps/deployments"])
    async def test_a_worker_that_takes_over_goes_on(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        params: ReleaseParameters,
        resource: str,
    ) -> None:
        await stop(cluster, namespace, await isolate(cluster, namespace))
        old = step(cluster)
        state = await prepare(RELEASE, old, params)
        dying = DiesBeforePatch.connect(CLUSTER, control_plane.responder_kubeconfig, namespaces=EVERYWHERE)
        assert isinstance(dying, DiesBeforePatch)
        dying.resource = resource
        with pytest.raises(KeyboardInterrupt):
            await RELEASE.execute(step(dying, run_id=old.fence.run_id), params, state)
        await dying.close()
        assert policies(control_plane, namespace) == []
        new = step(cluster, run_id=old.fence.run_id, token=2)
        await RELEASE.claim(new, params)
        observed = await RELEASE.observe(new, params, state)
        assert observed.seen is Seen.NO_EFFECT
        assert observed.detail.endswith("replicas")
        result = await RELEASE.execute(new, params, state)
        assert (result.services, result.replicas, result.left) == (["web"], 2, [])
        assert (await RELEASE.observe(new, params, state)).result == result
        assert selector(control_plane, namespace, "web") == SELECTOR
        assert replicas(control_plane, namespace) == 2

    async def test_a_late_worker_releases_nothing(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await isolate(cluster, namespace)
        old = step(cluster)
        state = await prepare(RELEASE, old, params)
        await RELEASE.claim(step(cluster, run_id=old.fence.run_id, token=2), params)
        with pytest.raises(FencedError):
            await RELEASE.execute(old, params, state)
        assert len(policies(control_plane, namespace)) == 1
        assert selector(control_plane, namespace, "web") != SELECTOR

    async def test_a_server_that_takes_no_change_is_no_release(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
    ) -> None:
        await isolate(cluster, namespace)
        ctx = step(cluster)
        state = await prepare(RELEASE, ctx, params)
        busy = Busy.connect(CLUSTER, control_plane.responder_kubeconfig, namespaces=EVERYWHERE)
        with pytest.raises(TemporaryError, match="asks to wait"):
            await RELEASE.execute(step(busy, run_id=ctx.fence.run_id), params, state)
        await busy.close()
        assert (await RELEASE.observe(ctx, params, state)).seen is Seen.NO_EFFECT
        assert isinstance(await RELEASE.execute(ctx, params, state), ReleaseResult)


async def test_the_story_is_told(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: ReleaseParameters
) -> None:
    await stop(cluster, namespace, await isolate(cluster, namespace))
    ctx = step(cluster)
    state, _ = await perform(RELEASE, ctx, params)
    for _ in range(2):
        await RELEASE.announce(ctx, params, state, undone=False)
    events = control_plane.api.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    told = {
        (each["involvedObject"]["kind"], each["message"])
        for each in events
        if each.get("reportingComponent") == "hdr-responder" and each["reason"] == "Released"
    }
    assert told == {
        ("Deployment", "hdr-responder let this back on the network with 2 replicas for INC-1"),
        ("Service", "hdr-responder let this lead to deployment/neural-hdr again for INC-1"),
    }
