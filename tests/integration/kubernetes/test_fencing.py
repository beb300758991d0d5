"""What the fence on the target stops, and what it lets pass: frozen workers, lost answers, busy objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hdr_responder.actions.contract import Seen
from hdr_responder.actions.kubernetes.marks import FENCE, PAST_FENCES, STEP
from hdr_responder.actions.kubernetes.rollouts import RestartParameters, RolloutRestart
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.kubernetes import JsonPatch, ObjectRef
from hdr_responder.errors import AmbiguousError, ConflictError, FencedError
from tests.fakes.everywhere import EVERYWHERE
from tests.integration.kubernetes.steps import CLUSTER, grant_for, perform, prepare, responder, step, workload
from tests.services.kubernetes import RESPONDER, ControlPlane

pytestmark = pytest.mark.service

RESTART = RolloutRestart()


class FrozenBeforePatch(KubernetesAdapter):
    """A worker that is suspended just before its change leaves."""

    def freeze(self) -> None:
        self.arrived = asyncio.Event()
        self.thaw = asyncio.Event()

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        self.arrived.set()
        await self.thaw.wait()
        await super().patch(ref, operations, dry_run=dry_run)


class LosesAnswers(KubernetesAdapter):
    """A connection that breaks after the server has done what was asked, so many times."""

    losses = 1

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        await super().patch(ref, operations, dry_run=dry_run)
        if self.losses:
            self.losses -= 1
            raise AmbiguousError("the connection broke")


class SilencesServer(KubernetesAdapter):
    """A server that falls silent just as the change is sent."""

    control_plane: ControlPlane

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        self.control_plane.apiserver.suspend()
        await super().patch(ref, operations, dry_run=dry_run)


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def params(control_plane: ControlPlane, namespace: str) -> RestartParameters:
    control_plane.api.create_deployment(namespace, "neural-hdr", replicas=1)
    wanted = RestartParameters(workload=workload(namespace))
    grant_for(control_plane, RESTART, wanted)
    return wanted


def revision(control_plane: ControlPlane, params: RestartParameters) -> str:
    seen = control_plane.api.wait_available(params.workload.namespace, "neural-hdr")
    return str(seen["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def restarts(control_plane: ControlPlane, params: RestartParameters) -> list[int]:
    """Status codes of the restarts that reached the server."""
    events = control_plane.audit_events(user=RESPONDER, verb="patch", namespace=params.workload.namespace)
    return [event.code for event in events if "restartedAt" in str(event.body)]


async def test_a_worker_frozen_before_its_change_cannot_act_after_a_takeover(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RestartParameters
) -> None:
    frozen = FrozenBeforePatch.connect(CLUSTER, control_plane.responder_kubeconfig, namespaces=EVERYWHERE)
    assert isinstance(frozen, FrozenBeforePatch)
    frozen.freeze()
    old = step(cluster)
    state = await prepare(RESTART, old, params)
    late = step(frozen, run_id=old.fence.run_id)
    acting = asyncio.create_task(RESTART.execute(late, params, state))
    await frozen.arrived.wait()
    await RESTART.claim(step(cluster, run_id=old.fence.run_id, token=2), params)
    frozen.thaw.set()
    with pytest.raises(FencedError, match="ours is"):
        await acting
    await frozen.close()
    assert restarts(control_plane, params) == [422]
    assert revision(control_plane, params) == "1"


async def test_a_worker_of_an_ended_run_cannot_act_under_the_next_run(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RestartParameters
) -> None:
    ended = step(cluster)
    state = await prepare(RESTART, ended, params)
    following = step(cluster)
    await RESTART.claim(following, params)
    with pytest.raises(FencedError):
        await RESTART.execute(ended, params, state)
    with pytest.raises(FencedError, match="lost the target"):
        await RESTART.claim(ended, params)
    await perform(RESTART, following, params)
    assert revision(control_plane, params) == "2"


async def test_an_older_token_cannot_claim(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RestartParameters
) -> None:
    first = step(cluster, token=1)
    second = step(cluster, run_id=first.fence.run_id, token=2)
    await RESTART.claim(first, params)
    await RESTART.claim(second, params)
    with pytest.raises(FencedError, match="token 2"):
        await RESTART.claim(first, params)
    annotations = control_plane.api.deployment(params.workload.namespace, "neural-hdr")["metadata"]["annotations"]
    assert annotations[FENCE] == str(second.fence)
    assert PAST_FENCES not in annotations


async def test_claiming_twice_writes_once(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RestartParameters
) -> None:
    ctx = step(cluster)
    await RESTART.claim(ctx, params)
    await RESTART.claim(ctx, params)
    patches = control_plane.audit_events(user=RESPONDER, verb="patch", namespace=params.workload.namespace)
    assert [event.code for event in patches] == [200]


async def test_a_workload_made_anew_is_another_one(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RestartParameters
) -> None:
    ctx = step(cluster)
    state = await prepare(RESTART, ctx, params)
    namespace = params.workload.namespace
    control_plane.api.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr")
    control_plane.api.create_deployment(namespace, "neural-hdr")
    with pytest.raises(ConflictError, match="created anew"):
        await RESTART.execute(ctx, params, state)
    assert (await RESTART.observe(ctx, params, state)).seen is Seen.UNKNOWN
    assert revision(control_plane, params) == "1"


async def test_busy_writers_do_not_make_a_step_fail(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RestartParameters
) -> None:
    path = f"/apis/apps/v1/namespaces/{params.workload.namespace}/deployments/neural-hdr"
    done = asyncio.Event()
    started = asyncio.Event()

    async def write(writer: int) -> int:
        written = 0
        while not done.is_set():
            noise = {"metadata": {"annotations": {f"noise.example/{writer}": str(written)}}}
            await asyncio.to_thread(control_plane.api.merge_patch, path, noise)
            written += 1
            started.set()
        return written

    async with asyncio.TaskGroup() as tasks:
        writers = [tasks.create_task(write(number)) for number in range(2)]
        await started.wait()
        try:
            for _ in range(10):
                await perform(RESTART, step(cluster), params)
        finally:
            done.set()
    assert sum(writer.result() for writer in writers) > 20
    assert restarts(control_plane, params).count(200) == 10


async def test_a_lost_answer_is_met_by_looking(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RestartParameters
) -> None:
    ctx = step(cluster)
    state = await prepare(RESTART, ctx, params)
    losing = LosesAnswers.connect(CLUSTER, control_plane.responder_kubeconfig, namespaces=EVERYWHERE)
    result = await RESTART.execute(step(losing, run_id=ctx.fence.run_id), params, state)
    await losing.close()
    assert result.restarted_at == state["restarted_at"]
    assert restarts(control_plane, params) == [200]


async def test_a_silent_server_makes_the_outcome_ambiguous_and_repeating_harmless(
    control_plane: ControlPlane, cluster: KubernetesAdapter, params: RestartParameters
) -> None:
    ctx = step(cluster)
    state = await prepare(RESTART, ctx, params)
    silenced = SilencesServer.connect(CLUSTER, control_plane.responder_kubeconfig, timeout=0.5, namespaces=EVERYWHERE)
    assert isinstance(silenced, SilencesServer)
    silenced.control_plane = control_plane
    try:
        with pytest.raises(AmbiguousError, match="may have happened"):
            await RESTART.execute(step(silenced, run_id=ctx.fence.run_id), params, state)
    finally:
        control_plane.apiserver.resume()
        await silenced.close()
    await RESTART.execute(ctx, params, state)
    annotations = control_plane.api.deployment(params.workload.namespace, "neural-hdr")["spec"]["template"]["metadata"]
    assert annotations["annotations"][STEP] == ctx.step_key
    assert revision(control_plane, params) == "2"
