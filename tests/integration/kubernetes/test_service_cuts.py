"""Cutting the Services of an isolated workload: which are cut, which are left, and what becomes of them."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.kubernetes import parts
from hdr_responder.actions.kubernetes.isolated import Isolated, IsolatedParameters
from hdr_responder.actions.kubernetes.isolation import Isolate, IsolateParameters, IsolationState
from hdr_responder.actions.kubernetes.service_cuts import cut_off
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.kubernetes import JsonPatch, ObjectRef
from hdr_responder.errors import AmbiguousError, ConflictError, FencedError, HdrError, TemporaryError
from tests.fakes.everywhere import EVERYWHERE
from tests.integration.kubernetes.networks import (
    SELECTOR,
    create_service,
    endpoints,
    ours,
    policies,
    selector,
    service,
    services_path,
    wait_endpoints,
)
from tests.integration.kubernetes.steps import CLUSTER, grant_for, perform, prepare, responder, step, workload
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service

ISOLATE = Isolate()
CUT = {**SELECTOR, "hdr-responder.io/cut-off": "true"}


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def params(control_plane: ControlPlane, namespace: str) -> IsolateParameters:
    """Two pods behind the Service ``web``."""
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=2, labels={"tier": "core"})
    create_service(control_plane, namespace, "web")
    wait_endpoints(control_plane, namespace, "web", 2)
    wanted = IsolateParameters(workload=workload(namespace))
    grant_for(control_plane, ISOLATE, wanted)
    return wanted


class Refuses(KubernetesAdapter):
    """Answers patches of Services with an error, so many times."""

    error: HdrError
    times: int
    after = False
    """Whether the server has done it all the same."""

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        mine = ref.resource == "services" and self.times > 0
        if mine:
            self.times -= 1
        if not mine or self.after:
            await super().patch(ref, operations, dry_run=dry_run)
        if mine:
            raise self.error


def refusing(control_plane: ControlPlane, error: HdrError, times: int, *, after: bool = False) -> Refuses:
    made = Refuses.connect(CLUSTER, control_plane.responder_kubeconfig, namespaces=EVERYWHERE)
    assert isinstance(made, Refuses)
    made.error, made.times, made.after = error, times, after
    return made


async def holds(cluster: KubernetesAdapter, params: IsolateParameters, enforced_by: str | None = "calico") -> Any:
    verdict = await Isolated().evaluate(
        step(cluster), IsolatedParameters(workload=params.workload, enforced_by=enforced_by)
    )
    return verdict.holds, verdict.detail


def without_marks(found: dict[str, Any]) -> dict[str, Any]:
    """An object as its owner wrote it."""
    kept = copy.deepcopy(found)
    for key in ("managedFields", "resourceVersion"):
        kept["metadata"].pop(key, None)
    marks = kept["metadata"].pop("annotations", {})
    kept["metadata"]["annotations"] = {k: v for k, v in marks.items() if not k.startswith("hdr-responder.io/")}
    return kept


class TestWhichAreCut:
    async def test_all_that_lead_to_the_pods_alone(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        create_service(control_plane, namespace, "peers", clusterIP="None")
        create_service(control_plane, namespace, "core", {"app": "neural-hdr", "tier": "core"})
        wait_endpoints(control_plane, namespace, "peers", 2)
        wait_endpoints(control_plane, namespace, "core", 2)
        names = ["core", "peers", "web"]
        before = {name: without_marks(service(control_plane, namespace, name)) for name in names}
        ctx = step(cluster)
        state, result = await perform(ISOLATE, ctx, params)
        assert (result.services, result.left, result.endpoints) == (names, [], [])
        assert result.summary == "2 pods denied all traffic; cut off from core, peers, web"
        assert [endpoints(control_plane, namespace, name) for name in names] == [0, 0, 0]
        assert selector(control_plane, namespace, "web") == CUT
        assert await ISOLATE.execute(ctx, params, state) == result
        assert len(control_plane.api.pods(namespace)) == 2, "no pod was replaced"
        assert await ISOLATE.undo(ctx, params, state) is Undone.UNDONE
        assert await ISOLATE.undo(ctx, params, state) is Undone.UNDONE
        assert {name: without_marks(service(control_plane, namespace, name)) for name in names} == before
        assert ours(control_plane, namespace, "web") == set()
        wait_endpoints(control_plane, namespace, "web", 2)

    async def test_one_that_serves_others_too_is_left_and_told(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        control_plane.api.create_deployment(namespace, "quantum-hdr", labels={"tier": "core"})
        create_service(control_plane, namespace, "shared", {"tier": "core"})
        wait_endpoints(control_plane, namespace, "shared", 3)
        _, result = await perform(ISOLATE, step(cluster), params)
        assert result.services == ["web"]
        (left,) = result.left
        assert left.startswith("shared: it also selects 1 pods of others (quantum-hdr-")
        assert [each.partition("/")[0] for each in result.endpoints] == ["shared", "shared"]
        assert "2 endpoints remain" in result.summary
        assert selector(control_plane, namespace, "shared") == {"tier": "core"}
        assert ours(control_plane, namespace, "shared") == set()
        held, detail = await holds(cluster, params)
        assert held is True, "the policy denies what the shared Service sends"
        assert "left: shared" in detail

    async def test_others_and_those_that_select_nothing_are_left_alone(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        create_service(control_plane, namespace, "elsewhere", type="ExternalName", externalName="video.example")
        create_service(control_plane, namespace, "stranger", {"app": "other"})
        create_service(control_plane, namespace, "by-hand", {})
        pod = control_plane.api.pods(namespace, "app=neural-hdr")[0]["metadata"]
        target = {"kind": "Pod", "name": pod["name"], "namespace": namespace, "uid": pod["uid"]}
        body = {
            "metadata": {"name": "by-hand-1", "labels": {"kubernetes.io/service-name": "by-hand"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.9"], "targetRef": target}],
            "ports": [{"port": 80}],
        }
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        control_plane.api.request("POST", slices, body)
        names = ["by-hand", "elsewhere", "stranger"]
        before = [service(control_plane, namespace, name) for name in names]
        _, result = await perform(ISOLATE, step(cluster), params)
        assert result.services == ["web"]
        assert result.left == ["by-hand: it has no selector, its endpoints are written by somebody else"]
        assert result.endpoints == [f"by-hand/{pod['name']}"]
        assert [service(control_plane, namespace, name) for name in names] == before

    async def test_one_that_selects_pods_of_an_older_template_is_found_by_its_endpoints(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        for pod in control_plane.api.pods(namespace):
            path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
            control_plane.api.merge_patch(path, {"metadata": {"labels": {"version": "1"}}})
        create_service(control_plane, namespace, "old", {"app": "neural-hdr", "version": "1"})
        wait_endpoints(control_plane, namespace, "old", 2)
        _, result = await perform(ISOLATE, step(cluster), params)
        assert (result.services, result.endpoints) == (["old", "web"], [])

    async def test_a_service_that_a_gitops_controller_tracks_is_said_to_be_put_back(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        before = await ISOLATE.survey(step(cluster).systems, params)
        assert before.owner is None
        metadata = {"labels": {"argocd.argoproj.io/instance": "fleet"}}
        control_plane.api.merge_patch(services_path(namespace, "web"), {"metadata": metadata})
        found = await ISOLATE.survey(step(cluster).systems, params)
        assert found.owner is not None
        assert (found.owner.name, found.owner.reverts) == ("Argo CD application fleet", True)

    async def test_nothing_is_cut_before_it_is_executed(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        before = service(control_plane, namespace, "web")
        ctx = step(cluster)
        await ISOLATE.dry_run(ctx, params)
        assert service(control_plane, namespace, "web") == before
        state = await prepare(ISOLATE, ctx, params)
        assert selector(control_plane, namespace, "web") == SELECTOR
        assert await ISOLATE.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO


class TestHalfDone:
    async def test_a_worker_that_takes_over_goes_on(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        create_service(control_plane, namespace, "peers", clusterIP="None")
        wait_endpoints(control_plane, namespace, "peers", 2)
        old = step(cluster)
        state = await prepare(ISOLATE, old, params)
        half = state | {"services": [each for each in state["services"] if each["service"] == "peers"]}  # type: ignore[union-attr, index, call-overload]
        await ISOLATE.execute(old, params, half)
        new = step(cluster, run_id=old.fence.run_id, token=2)
        await ISOLATE.claim(new, params)
        observed = await ISOLATE.observe(new, params, state)
        assert (observed.seen, observed.detail) == (Seen.NO_EFFECT, "the policy stands, web is not cut yet")
        result = await ISOLATE.execute(new, params, state)
        assert (result.services, result.left) == (["peers", "web"], [])
        assert (await ISOLATE.observe(new, params, state)).result == result
        assert await ISOLATE.undo(new, params, state) is Undone.UNDONE
        assert [selector(control_plane, namespace, name) for name in ("peers", "web")] == [SELECTOR, SELECTOR]

    async def test_half_of_it_is_undone(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state = await prepare(ISOLATE, ctx, params)
        await ISOLATE.execute(ctx, params, state | {"services": []})
        assert await ISOLATE.undo(ctx, params, state) is Undone.UNDONE
        assert policies(control_plane, namespace) == []
        assert selector(control_plane, namespace, "web") == SELECTOR

    async def test_a_late_worker_cuts_nothing(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        old = step(cluster)
        state = await prepare(ISOLATE, old, params)
        new = step(cluster, run_id=old.fence.run_id, token=2)
        await ISOLATE.claim(new, params)
        (cut,) = IsolationState.model_validate(state).services
        with pytest.raises(FencedError):
            await cut_off(old, cluster, params.workload, cut)
        with pytest.raises(FencedError):
            await ISOLATE.execute(old, params, state)
        assert selector(control_plane, namespace, "web") == SELECTOR

    async def test_a_state_that_knew_of_no_services_is_read(
        self, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state = await prepare(ISOLATE, ctx, params)
        old = {key: value for key, value in state.items() if key != "services"}
        result = await ISOLATE.execute(ctx, params, old)
        assert (await ISOLATE.observe(ctx, params, old)).result == result
        assert await ISOLATE.undo(ctx, params, old) is Undone.UNDONE


class TestTrouble:
    async def test_one_that_somebody_changed_meanwhile_is_told_and_the_rest_is_cut(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        create_service(control_plane, namespace, "peers", clusterIP="None")
        wait_endpoints(control_plane, namespace, "peers", 2)
        ctx = step(cluster)
        state = await prepare(ISOLATE, ctx, params)
        control_plane.api.merge_patch(services_path(namespace, "peers"), {"spec": {"selector": {"tier": "core"}}})
        result = await ISOLATE.execute(ctx, params, state)
        assert result.services == ["web"]
        (left,) = result.left
        assert left.startswith("peers: not cut (")
        assert "another selector" in left
        assert (await holds(cluster, params)) == (False, f"{result.policy} stands, but peers still selects the pods")
        assert await ISOLATE.undo(ctx, params, state) is Undone.UNDONE
        assert selector(control_plane, namespace, "peers") == {**SELECTOR, "tier": "core"}

    async def test_one_that_is_gone_is_no_matter(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state = await prepare(ISOLATE, ctx, params)
        control_plane.api.request("DELETE", services_path(namespace, "web"))
        result = await ISOLATE.execute(ctx, params, state)
        assert (result.services, result.left) == ([], [])
        assert (await ISOLATE.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT
        assert await ISOLATE.undo(ctx, params, state) is Undone.UNDONE

    async def test_a_busy_server_is_asked_again(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state = await prepare(ISOLATE, ctx, params)
        busy = refusing(control_plane, TemporaryError("asks to wait", retry_after=0.01), 1)
        result = await ISOLATE.execute(step(busy, run_id=ctx.fence.run_id), params, state)
        await busy.close()
        assert result.services == ["web"]

    async def test_one_that_cannot_be_cut_is_told_and_the_policy_stands(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state = await prepare(ISOLATE, ctx, params)
        busy = refusing(control_plane, TemporaryError("asks to wait", retry_after=0.01), parts.TRIES)
        result = await ISOLATE.execute(step(busy, run_id=ctx.fence.run_id), params, state)
        await busy.close()
        assert (result.services, result.left) == ([], ["web: not cut (asks to wait)"])
        assert (await holds(cluster, params))[0] is False
        # What is left can be done by doing the step again.
        assert (await ISOLATE.observe(ctx, params, state)).seen is Seen.NO_EFFECT
        assert (await ISOLATE.execute(ctx, params, state)).services == ["web"]

    async def test_a_lost_answer_is_met_by_looking(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state = await prepare(ISOLATE, ctx, params)
        losing = refusing(control_plane, AmbiguousError("the connection broke"), 1, after=True)
        result = await ISOLATE.execute(step(losing, run_id=ctx.fence.run_id), params, state)
        await losing.close()
        assert (result.services, result.left) == (["web"], [])

    @pytest.mark.parametrize("name", ["../../x", "a/b", "x;drop table y", "$(reboot)", "a=b,c!=d", "*", "é", "a" * 300])
    async def test_a_hostile_name_touches_nothing(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        params: IsolateParameters,
        name: str,
    ) -> None:
        before = service(control_plane, namespace, "web")
        with pytest.raises(ValidationError):
            IsolateParameters(workload=workload(namespace, name))
        assert policies(control_plane, namespace) == []
        assert service(control_plane, namespace, "web") == before


class TestUndo:
    async def test_one_whose_selector_somebody_changed_is_left(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state, _ = await perform(ISOLATE, ctx, params)
        control_plane.api.merge_patch(services_path(namespace, "web"), {"spec": {"selector": {"tier": "front"}}})
        assert await ISOLATE.undo(ctx, params, state) is Undone.DRIFTED
        assert selector(control_plane, namespace, "web") == {**CUT, "tier": "front"}
        assert policies(control_plane, namespace) == []

    async def test_one_that_somebody_put_back_is_as_it_was(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state, _ = await perform(ISOLATE, ctx, params)
        restored = {"spec": {"selector": {"hdr-responder.io/cut-off": None}}}
        control_plane.api.merge_patch(services_path(namespace, "web"), restored)
        assert (await holds(cluster, params))[0] is False
        assert await ISOLATE.undo(ctx, params, state) is Undone.UNDONE
        assert selector(control_plane, namespace, "web") == SELECTOR

    async def test_one_that_was_made_anew_is_another_one(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state, _ = await perform(ISOLATE, ctx, params)
        control_plane.api.request("DELETE", services_path(namespace, "web"))
        create_service(control_plane, namespace, "web")
        assert await ISOLATE.undo(ctx, params, state) is Undone.UNDONE
        control_plane.api.request("DELETE", services_path(namespace, "web"))
        create_service(control_plane, namespace, "web", CUT)
        assert await ISOLATE.undo(ctx, params, state) is Undone.DRIFTED
        assert selector(control_plane, namespace, "web") == CUT

    @pytest.mark.parametrize("first", [0, 1])
    async def test_the_last_of_two_isolations_restores_the_selector(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        params: IsolateParameters,
        first: int,
    ) -> None:
        steps = [step(cluster), step(cluster)]
        states = [(await perform(ISOLATE, ctx, params))[0] for ctx in steps]
        assert len(policies(control_plane, namespace)) == 2
        undoing = [step(cluster, run_id=each.fence.run_id, token=2) for each in steps]
        assert await ISOLATE.undo(undoing[first], params, states[first]) is Undone.UNDONE
        assert selector(control_plane, namespace, "web") == CUT
        assert len(policies(control_plane, namespace)) == 1
        assert (await holds(cluster, params))[0] is True
        last = 1 - first
        assert await ISOLATE.undo(undoing[last], params, states[last]) is Undone.UNDONE
        assert selector(control_plane, namespace, "web") == SELECTOR
        assert ours(control_plane, namespace, "web") == set()

    async def test_the_story_is_told_on_both(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
    ) -> None:
        ctx = step(cluster)
        state, result = await perform(ISOLATE, ctx, params)
        for _ in range(2):
            await ISOLATE.announce(ctx, params, state, undone=False)
        await ISOLATE.undo(ctx, params, state)
        await ISOLATE.announce(ctx, params, state, undone=True)
        events = control_plane.api.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
        told = {
            (each["involvedObject"]["kind"], each["reason"], each["message"])
            for each in events
            if each.get("reportingComponent") == "hdr-responder"
        }
        assert told == {
            ("Deployment", "Isolated", f"hdr-responder cut this off the network (policy {result.policy}) for INC-1"),
            ("Service", "Isolated", "hdr-responder cut this off its pods (deployment/neural-hdr) for INC-1"),
            (
                "Deployment",
                "Released",
                f"hdr-responder let this back on the network (policy {result.policy}) for INC-1",
            ),
            ("Service", "Released", "hdr-responder let this lead to deployment/neural-hdr again for INC-1"),
        }


async def test_too_many_services_are_refused_not_trimmed(
    control_plane: ControlPlane,
    namespace: str,
    cluster: KubernetesAdapter,
    params: IsolateParameters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create_service(control_plane, namespace, "peers", clusterIP="None")
    monkeypatch.setattr("hdr_responder.actions.kubernetes.isolation.MAX_SERVICES", 1)
    with pytest.raises(ConflictError, match="2 Services lead to deployment/neural-hdr, at most 1"):
        await ISOLATE.dry_run(step(cluster), params)


async def test_endpoints_that_are_not_gone_yet_prove_nothing(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, params: IsolateParameters
) -> None:
    await perform(ISOLATE, step(cluster), params)
    pod = control_plane.api.pods(namespace)[0]["metadata"]
    body = {
        "metadata": {"name": "web-late", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.9"], "targetRef": {"kind": "Pod", "name": pod["name"]}}],
        "ports": [],
    }
    control_plane.api.request("POST", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", body)
    held, detail = await holds(cluster, params)
    assert held is None
    assert detail.endswith("the endpoints of web are not gone yet")
