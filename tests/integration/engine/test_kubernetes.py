"""The shipped playbooks on a real Kubernetes control plane, through the whole engine, crashes included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.kubernetes import JsonPatch, ObjectRef
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.ports.systems import Systems
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import ROOT, Workshop
from tests.services.kubernetes import ControlPlane
from tests.services.waiting import eventually

pytestmark = pytest.mark.service

NAME = "neural-hdr"


class Watched(KubernetesAdapter):
    """Counts changes, and stands still before or dies after one where the test says so."""

    def watch(self) -> None:
        self.changes: list[str] = []
        self.before: Callable[[], Awaitable[None]] | None = None
        self.after: Callable[[], None] | None = None

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        restarts = "restartedAt" in json.dumps(list(operations), default=str)
        if restarts and not dry_run and self.before:
            await self.before()
        await super().patch(ref, operations, dry_run=dry_run)
        if restarts and not dry_run:
            self.changes.append(str(ref))
            if self.after:
                self.after()


class ProcessDied(BaseException):
    """Nothing after this line happens."""


OpenCluster = Callable[..., Awaitable[tuple[Workshop, Watched]]]


@pytest.fixture
async def open_cluster(
    open_with: OpenWorkshop, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> AsyncIterator[OpenCluster]:
    config = tmp_path / "config"
    config.mkdir()
    for path in (ROOT / "config").glob("*.yaml"):
        (config / path.name).write_text(path.read_text().replace("namespace: hdr-empire", f"namespace: {namespace}"))
    control_plane.api.create_deployment(namespace, NAME, replicas=2)
    control_plane.api.wait_available(namespace, NAME)
    opened: list[Watched] = []

    async def open_one(beside: Workshop | None = None) -> tuple[Workshop, Watched]:
        cluster = Watched.connect("prod-eu", control_plane.admin_kubeconfig, namespaces={namespace})
        assert isinstance(cluster, Watched)
        cluster.watch()
        opened.append(cluster)
        systems = Systems(kubernetes={"prod-eu": cluster})
        if beside is not None:
            return beside.peer(systems=systems), cluster
        return await open_with(systems=systems, config=config), cluster

    yield open_one
    for cluster in opened:
        await cluster.close()


async def until_ended(workshop: Workshop) -> dict[str, Any]:
    """Let time pass, the cluster's and the test's, until the run has ended."""

    async def ended() -> dict[str, Any]:
        await workshop.pass_time(2)
        run = await workshop.run()
        return run if run["ended_at"] else {}

    return await eventually(ended, seconds=60)


def replicas(control_plane: ControlPlane, namespace: str) -> int:
    return int(control_plane.api.wait_available(namespace, NAME)["spec"]["replicas"])


async def test_a_restart_is_done_once_and_verified(open_cluster: OpenCluster) -> None:
    workshop, cluster = await open_cluster()
    await workshop.fire("a", name="HdrServiceDown")
    await workshop.intake()
    run = await until_ended(workshop)
    assert (run["status"], run["verification"]) == ("completed", "verified"), run["reason"]
    assert len(cluster.changes) == 1


async def test_a_worker_that_dies_after_the_restart_leaves_one_restart(open_cluster: OpenCluster) -> None:
    workshop, cluster = await open_cluster()
    await workshop.fire("a", name="HdrServiceDown")
    await workshop.intake()

    def die() -> None:
        raise ProcessDied

    cluster.after = die
    with pytest.raises(ProcessDied):
        await workshop.settle()
    await workshop.lose_leases()
    other, second = await open_cluster(beside=workshop)
    await other.sweep()
    run = await until_ended(other)
    assert (run["status"], run["verification"]) == ("completed", "verified"), run["reason"]
    assert len(cluster.changes) + len(second.changes) == 1


async def test_a_worker_frozen_before_the_restart_is_fenced_off_by_the_target(open_cluster: OpenCluster) -> None:
    """It wakes up after another worker has finished: its request is refused by Kubernetes itself."""
    workshop, cluster = await open_cluster()
    await workshop.fire("a", name="HdrServiceDown")
    await workshop.intake()
    await workshop.settle(without=[Job.RUN])
    arrived, thaw = asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        arrived.set()
        await thaw.wait()

    cluster.before = freeze
    frozen = asyncio.create_task(workshop.settle())
    async with asyncio.timeout(20):
        await arrived.wait()
    await workshop.lose_leases()
    other, second = await open_cluster(beside=workshop)
    await other.sweep()
    await until_ended(other)
    thaw.set()
    await frozen
    assert (len(cluster.changes), len(second.changes)) == (0, 1)
    assert (await workshop.run())["verification"] == "verified"


async def test_more_replicas_for_two_hours_are_taken_back(
    open_cluster: OpenCluster, control_plane: ControlPlane, namespace: str
) -> None:
    workshop, _ = await open_cluster()
    await workshop.fire("a", name="HdrCpuHigh")
    await workshop.intake()
    run = await until_ended(workshop)
    assert run["verification"] == "verified", run["reason"]
    assert replicas(control_plane, namespace) == 4
    workshop.clock.advance(2 * 3600)
    await workshop.settle()
    assert "undone" in (await workshop.told("undone"))[0]
    assert replicas(control_plane, namespace) == 2


async def test_replicas_that_somebody_changed_since_are_left_to_a_person(
    open_cluster: OpenCluster, control_plane: ControlPlane, namespace: str
) -> None:
    workshop, _ = await open_cluster()
    await workshop.fire("a", name="HdrCpuHigh")
    await workshop.intake()
    await until_ended(workshop)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}"
    deployment = control_plane.api.request("GET", path)
    deployment["spec"]["replicas"] = 5
    control_plane.api.request("PUT", path, deployment)
    workshop.clock.advance(2 * 3600)
    await workshop.settle()
    assert replicas(control_plane, namespace) == 5
    assert any("somebody changed it since" in t for t in await workshop.told("escalated"))


async def test_a_deployment_that_does_not_exist_is_said(
    open_cluster: OpenCluster, control_plane: ControlPlane, namespace: str
) -> None:
    workshop, _ = await open_cluster()
    control_plane.api.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments/{NAME}")
    await workshop.fire("a", name="HdrCpuHigh")
    await workshop.intake()
    run = await until_ended(workshop)
    assert run["status"] == "failed"
    assert f"no deployment/{NAME} in namespace {namespace}" in run["reason"]
    assert len(await workshop.told("escalated")) == 1
