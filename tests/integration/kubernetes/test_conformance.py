"""What is proved of every action on Kubernetes alike, against a real API server, its storage and its audit log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hdr_responder.actions.contract import Mutation, Read, Seen, State, StepContext, Undo, Undone
from hdr_responder.actions.kubernetes import KUBERNETES_ACTIONS
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.errors import AmbiguousError, ConflictError, NotFoundError, TemporaryError
from tests.fakes.everywhere import EVERYWHERE
from tests.integration.kubernetes.case import Case, all_cases
from tests.integration.kubernetes.steps import CLUSTER, grant_for, perform, prepare, responder, step
from tests.services.api_gate import ApiCall, ApiGate, Fault, Hold, api_gate
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.kubernetes_storage import Storage, asked_for, settled

pytestmark = pytest.mark.service

CASES = all_cases()
MUTATIONS = [name for name, case in CASES.items() if case.action.mutates]
RESTORING = [name for name in MUTATIONS if CASES[name].mutation.undoable is Undo.RESTORES]
DRIFTING = [name for name in RESTORING if CASES[name].drift]
NEEDING = [name for name, case in CASES.items() if not case.absent]
TIMEOUT = 2.0


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
async def gate(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[ApiGate]:
    async with api_gate(control_plane, tmp_path) as running:
        yield running


@pytest.fixture
async def gated(control_plane: ControlPlane, gate: ApiGate) -> AsyncIterator[KubernetesAdapter]:
    """The cluster as it is reached through the gate, with little patience."""
    kubeconfig = gate.kubeconfig(control_plane.responder_kubeconfig)
    adapter = KubernetesAdapter.connect(CLUSTER, kubeconfig, timeout=TIMEOUT, namespaces=EVERYWHERE)
    yield adapter
    await adapter.close()


def arranged(control_plane: ControlPlane, namespace: str, name: str) -> tuple[Case, Any]:
    """The case with its parameters, in a namespace that holds what it needs, and as a user with its rights alone."""
    case = CASES[name]
    case.arrange(control_plane, namespace)
    params = case.params(namespace)
    grant_for(control_plane, case.action, params)
    return case, params


def changes(call: ApiCall) -> bool:
    """Whether a call changes something, rehearsals, reviews and Events apart."""
    return (
        call.method != "GET"
        and not call.dry_run
        and not call.path.endswith("/events")
        and "authorization.k8s.io" not in call.path
    )


def accepted(control_plane: ControlPlane, namespace: str) -> int:
    """How many changes the API server has accepted from the responder."""
    events = control_plane.audit_events(user=RESPONDER, namespace=namespace)
    return sum(event.code < 300 and event.resource != "events" for event in events)


def test_every_action_has_a_case() -> None:
    assert {case.action.name for case in CASES.values()} == {action.name for action in KUBERNETES_ACTIONS}


def test_what_can_be_restored_can_drift() -> None:
    assert {CASES[n].action.name for n in DRIFTING} == {CASES[n].action.name for n in RESTORING}


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_rehearsal_stores_nothing(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, name: str
) -> None:
    case, params = arranged(control_plane, namespace, name)
    before = settled(control_plane, namespace)
    await case.mutation.dry_run(step(cluster), params)
    assert settled(control_plane, namespace) == before


@pytest.mark.parametrize("name", MUTATIONS)
async def test_done_twice_is_done_once(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, name: str
) -> None:
    case, params = arranged(control_plane, namespace, name)
    ctx = step(cluster)
    state = await prepare(case.mutation, ctx, params)
    assert (await case.mutation.observe(ctx, params, state)).seen is Seen.NO_EFFECT
    first = await case.mutation.execute(ctx, params, state)
    done = accepted(control_plane, namespace)
    assert await case.mutation.execute(ctx, params, state) == first
    assert accepted(control_plane, namespace) == done
    observed = await case.mutation.observe(ctx, params, state)
    assert (observed.seen, observed.result) == (Seen.TOOK_EFFECT, first)


@pytest.mark.parametrize("name", RESTORING)
async def test_undo_restores_what_was_there(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, name: str
) -> None:
    case, params = arranged(control_plane, namespace, name)
    before = asked_for(settled(control_plane, namespace))
    ctx = step(cluster)
    state, _ = await perform(case.mutation, ctx, params)
    assert asked_for(settled(control_plane, namespace)) != before
    assert await case.mutation.undo(ctx, params, state) is Undone.UNDONE
    assert asked_for(settled(control_plane, namespace)) == before
    assert await case.mutation.undo(ctx, params, state) in {Undone.UNDONE, Undone.NOTHING_TO_UNDO}
    assert asked_for(settled(control_plane, namespace)) == before


@pytest.mark.parametrize("name", DRIFTING)
async def test_undo_leaves_what_somebody_changed_since(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, name: str
) -> None:
    case, params = arranged(control_plane, namespace, name)
    ctx = step(cluster)
    state, _ = await perform(case.mutation, ctx, params)
    ours = asked_for(settled(control_plane, namespace))
    assert case.drift is not None
    case.drift(control_plane, namespace)
    theirs = asked_for(settled(control_plane, namespace))
    assert await case.mutation.undo(ctx, params, state) is Undone.DRIFTED
    after = asked_for(settled(control_plane, namespace))
    assert _differing(ours, theirs)
    assert {key: after.get(key) for key in _differing(ours, theirs)} == _differing(ours, theirs)


@pytest.mark.parametrize("name", NEEDING)
async def test_a_missing_target_is_named(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, name: str
) -> None:
    case = CASES[name]
    params = case.params(namespace)
    grant_for(control_plane, case.action, params)
    action = case.action
    assert isinstance(action, Mutation | Read)
    looking = action.dry_run if isinstance(action, Mutation) else action.execute
    with pytest.raises(NotFoundError, match=namespace):
        await looking(step(cluster), params)


class TestFaults:
    """The change's own calls are spoiled; what the responder then says must be what the API server holds."""

    @pytest.mark.parametrize("name", MUTATIONS)
    async def test_a_server_that_asks_to_wait(
        self, control_plane: ControlPlane, namespace: str, gate: ApiGate, gated: KubernetesAdapter, name: str
    ) -> None:
        case, params, ctx, state = await self.prepared(control_plane, namespace, gated, name)
        done = accepted(control_plane, namespace)
        fault = gate.spoil(Fault(match=changes, reaches=False, status=429))
        with pytest.raises(TemporaryError):
            await case.mutation.execute(ctx, params, state)
        assert fault.spoiled
        await self.nothing_happened(control_plane, gate, case, params, ctx, state, done)

    @pytest.mark.parametrize("name", MUTATIONS)
    async def test_a_conflict(
        self, control_plane: ControlPlane, namespace: str, gate: ApiGate, gated: KubernetesAdapter, name: str
    ) -> None:
        case, params, ctx, state = await self.prepared(control_plane, namespace, gated, name)
        gate.spoil(Fault(match=changes, reaches=False, status=409, times=1))
        try:
            await case.mutation.execute(ctx, params, state)
        except ConflictError:
            assert (await case.mutation.observe(ctx, params, state)).seen is Seen.NO_EFFECT
        else:
            assert (await case.mutation.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT

    @pytest.mark.parametrize("name", MUTATIONS)
    @pytest.mark.parametrize("status", [500, None], ids=["500", "cut"])
    async def test_a_call_that_never_arrives(
        self,
        control_plane: ControlPlane,
        namespace: str,
        gate: ApiGate,
        gated: KubernetesAdapter,
        name: str,
        status: int | None,
    ) -> None:
        case, params, ctx, state = await self.prepared(control_plane, namespace, gated, name)
        done = accepted(control_plane, namespace)
        gate.spoil(Fault(match=changes, reaches=False, status=status))
        with pytest.raises((AmbiguousError, TemporaryError)):
            await case.mutation.execute(ctx, params, state)
        await self.nothing_happened(control_plane, gate, case, params, ctx, state, done)

    @pytest.mark.parametrize("name", MUTATIONS)
    @pytest.mark.parametrize(
        ("status", "silent"), [(503, False), (None, False), (None, True)], ids=["503", "cut", "silent"]
    )
    async def test_an_answer_that_is_lost(
        self,
        control_plane: ControlPlane,
        namespace: str,
        gate: ApiGate,
        gated: KubernetesAdapter,
        name: str,
        status: int | None,
        silent: bool,
    ) -> None:
        case, params, ctx, state = await self.prepared(control_plane, namespace, gated, name)
        gate.spoil(Fault(match=changes, reaches=True, status=status, silent=silent, times=1))
        with contextlib.suppress(AmbiguousError):
            await case.mutation.execute(ctx, params, state)
        gate.open()
        await self.ends_done_once(control_plane, case, params, ctx, state)

    @pytest.mark.parametrize("name", MUTATIONS)
    @pytest.mark.parametrize("what", ["request", "answer"])
    async def test_a_change_that_is_broken_off(
        self, control_plane: ControlPlane, namespace: str, gate: ApiGate, gated: KubernetesAdapter, name: str, what: Any
    ) -> None:
        case, params, ctx, state = await self.prepared(control_plane, namespace, gated, name)
        hold = gate.hold(Hold(what=what, match=changes))
        executing = asyncio.create_task(case.mutation.execute(ctx, params, state))
        async with asyncio.timeout(10):
            await hold.arrived.wait()
        executing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await executing
        await self.ends_done_once(control_plane, case, params, ctx, state)

    async def prepared(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, name: str
    ) -> tuple[Case, Any, StepContext, State]:
        case, params = arranged(control_plane, namespace, name)
        ctx = step(cluster)
        return case, params, ctx, await prepare(case.mutation, ctx, params)

    async def nothing_happened(
        self,
        control_plane: ControlPlane,
        gate: ApiGate,
        case: Case,
        params: Any,
        ctx: StepContext,
        state: State,
        done: int,
    ) -> None:
        """Nothing was accepted, observing says so, and the step can be done once the fault is over."""
        gate.open()
        assert accepted(control_plane, _namespace(params)) == done
        assert (await case.mutation.observe(ctx, params, state)).seen is Seen.NO_EFFECT
        await case.mutation.execute(ctx, params, state)
        assert (await case.mutation.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT

    async def ends_done_once(
        self, control_plane: ControlPlane, case: Case, params: Any, ctx: StepContext, state: State
    ) -> None:
        """Observing tells whether to go on, as after a crash; in the end the effect is there, by no call too many."""
        if (await case.mutation.observe(ctx, params, state)).seen is Seen.NO_EFFECT:
            await case.mutation.execute(ctx, params, state)
        assert (await case.mutation.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT
        assert accepted(control_plane, _namespace(params)) == await _undisturbed(control_plane, case)


async def _undisturbed(control_plane: ControlPlane, case: Case) -> int:
    """How many changes the step takes when nothing goes wrong."""
    cluster = responder(control_plane)
    try:
        with control_plane.fresh_namespace() as namespace:
            case.arrange(control_plane, namespace)
            params = case.params(namespace)
            grant_for(control_plane, case.action, params)
            await perform(case.mutation, step(cluster), params)
            return accepted(control_plane, namespace)
    finally:
        await cluster.close()


def _namespace(params: Any) -> str:
    return str(params.workload.namespace if hasattr(params, "workload") else params.namespace)


def _differing(before: Storage, after: Storage) -> Storage:
    return {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
