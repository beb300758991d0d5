"""What counts as a release, and who changed what, against a real control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hdr_responder.actions.kubernetes.history import (
    NO_RELEASE,
    LastRelease,
    LastReleaseParameters,
    LastReleaseResult,
    RolloutHistory,
    RolloutHistoryParameters,
)
from hdr_responder.actions.kubernetes.ownership import WhoChanged, WhoChangedParameters
from hdr_responder.actions.kubernetes.rollback import CHANGE_CAUSE
from hdr_responder.actions.kubernetes.rollouts import RestartParameters, RolloutRestart
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.workloads import Workload, WorkloadKind
from hdr_responder.errors import (
    TemporaryError,
)
from tests.integration.kubernetes.cases.releases import two_releases
from tests.integration.kubernetes.releasing import ALL_KINDS, IMAGE, Fleet, allow, later
from tests.integration.kubernetes.steps import perform, responder, step
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service

MINUTES_12 = timedelta(minutes=12)

Allowed = Callable[..., Workload]


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


@pytest.fixture
def allowed(control_plane: ControlPlane, namespace: str) -> Allowed:
    """``allowed(kind)`` grants what the actions on releases declare; the workload."""
    return partial(allow, control_plane, namespace)


async def last_release(cluster: KubernetesAdapter, target: Workload) -> LastReleaseResult:
    ctx = step(cluster, clock=later(MINUTES_12 + timedelta(seconds=5)))
    return await LastRelease().execute(ctx, LastReleaseParameters(workload=target))


class TestLastRelease:
    @pytest.mark.parametrize("kind", ALL_KINDS)
    async def test_is_the_newest_change_that_is_no_restart(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter, kind: WorkloadKind
    ) -> None:
        target = allowed(kind)
        fleet = Fleet(control_plane, target)
        fleet.create()
        fleet.release("2.0")
        fleet.restart("2026-01-01T00:00:00Z")
        await perform(RolloutRestart(), step(cluster), RestartParameters(workload=target))
        fleet.settle()
        found = await last_release(cluster, target)
        assert found.found
        assert (found.revision, found.previous_revision) == (4, 1)
        assert found.changes == [f"image app: {IMAGE}:1.0 -> {IMAGE}:2.0"]
        assert MINUTES_12 <= found.age < MINUTES_12 + timedelta(minutes=1)
        assert found.summary == f"a release 12 minutes ago: {found.changes[0]}"

    async def test_one_revision_alone_is_older_than_any_line(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        Fleet(control_plane, target).create()
        found = await last_release(cluster, target)
        assert (found.found, found.age, found.at, found.previous_revision) == (False, NO_RELEASE, None, None)
        assert found.summary == "no release known: the cluster keeps the present revision alone"

    async def test_restarts_alone_are_none(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        fleet.restart("2026-01-01T00:00:00Z")
        found = await last_release(cluster, target)
        assert (found.found, found.age) == (False, NO_RELEASE)
        assert "all 2 revisions kept are restarts" in found.summary

    async def test_gone_back_is_as_old_as_it_was(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        """Or the next alert would take the way back for a fresh release, and roll forward to the bad one."""
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        fleet.release("2.0")
        fleet.release("1.0")
        found = await last_release(cluster, target)
        assert (found.found, found.age, found.revision) == (False, NO_RELEASE, 3)
        assert "gone back to from revision 2" in found.summary

    async def test_tells_names_of_variables_and_not_their_values(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        containers = [
            {
                "name": "app",
                "image": f"{IMAGE}:1.0",
                "env": [{"name": "DB_PASSWORD", "value": "hunter2"}],
                "resources": {"limits": {"memory": "4Gi"}},
                "command": ["run"],
            },
            {"name": "side", "image": f"{IMAGE}:side"},
        ]
        fleet.patch({"spec": {"template": {"spec": {"containers": containers, "hostNetwork": False}}}})
        fleet.settle()
        found = await last_release(cluster, target)
        assert found.changes == [
            "env DB_PASSWORD of app added",
            "memory limit of app: none -> 4Gi",
            "command of app added",
            f"container side added (image {IMAGE}:side)",
        ]
        assert "hunter2" not in found.model_dump_json()

    async def test_waits_for_the_cluster_to_record_the_template(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        control_plane.controller_manager.suspend()
        control_plane.api.set_image(target.namespace, target.name, f"{IMAGE}:2.0")
        with pytest.raises(TemporaryError, match="not recorded the present pod template"):
            await last_release(cluster, target)
        control_plane.controller_manager.resume()
        fleet.settle()
        assert (await last_release(cluster, target)).found

    async def test_a_paused_template_is_not_out(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        fleet.release("2.0")
        fleet.patch({"spec": {"paused": True}})
        control_plane.api.set_image(target.namespace, target.name, f"{IMAGE}:3.0")
        found = await last_release(cluster, target)
        assert found.changes == [f"image app: {IMAGE}:1.0 -> {IMAGE}:2.0"]
        assert found.summary.endswith("(paused, with a newer template that is not rolled out)")


class TestRolloutHistory:
    @pytest.mark.parametrize("kind", ALL_KINDS)
    async def test_lists_the_newest_first(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter, kind: WorkloadKind
    ) -> None:
        target = allowed(kind)
        fleet = Fleet(control_plane, target)
        fleet.create()
        fleet.release("2.0", **{CHANGE_CAUSE: "ticket 7"})
        fleet.restart("2026-01-01T00:00:00Z")
        params = RolloutHistoryParameters(workload=target)
        told = await RolloutHistory().execute(step(cluster), params)
        assert [(each.number, each.images, each.current) for each in told.revisions] == [
            (3, [f"{IMAGE}:2.0"], True),
            (2, [f"{IMAGE}:2.0"], False),
            (1, [f"{IMAGE}:1.0"], False),
        ]
        assert [each.changes for each in told.revisions] == [
            ["restarted"],
            [f"image app: {IMAGE}:1.0 -> {IMAGE}:2.0"],
            [],
        ]
        assert [each.change_cause for each in told.revisions] == ["ticket 7", "ticket 7", ""]
        assert told.summary == "3 revisions kept, revision 3 is current; it changed restarted"

    async def test_is_bounded(self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter) -> None:
        target = allowed()
        two_releases(control_plane, target.namespace)
        params = RolloutHistoryParameters(workload=target, limit=1)
        told = await RolloutHistory().execute(step(cluster), params)
        assert [each.number for each in told.revisions] == [2]
        assert (told.total, told.current) == (2, 2)

    async def test_strangers_that_the_selector_matches_are_left_out(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        Fleet(control_plane, target).create()
        stranger = {"metadata": {"name": "neural-hdr-old"}, "spec": {"replicas": 1, **_selected()}}
        control_plane.api.request("POST", f"/apis/apps/v1/namespaces/{target.namespace}/deployments", stranger)
        control_plane.api.wait_available(target.namespace, "neural-hdr-old")
        told = await RolloutHistory().execute(step(cluster), RolloutHistoryParameters(workload=target))
        assert [each.number for each in told.revisions] == [1]


def _selected() -> dict[str, Any]:
    labels = {"app": "neural-hdr", "tier": "old"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": f"{IMAGE}:9.0"}]}}
    return {"selector": {"matchLabels": labels}, "template": template}


class TestWhoChanged:
    async def test_names_writers_events_and_owner(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        patch = [{"op": "replace", "path": "/spec/replicas", "value": 2}]
        control_plane.api.request(
            "PATCH", f"{fleet.path}?fieldManager=anna", patch, content_type="application/json-patch+json"
        )
        fleet.patch({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "video:apps/Deployment:x/y"}}})
        fleet.settle()
        control_plane.api.wait_available(target.namespace, target.name)
        ctx = step(cluster, clock=later(MINUTES_12 + timedelta(seconds=5)))
        told = await WhoChanged().execute(ctx, WhoChangedParameters(workload=target, events=1))
        assert ("anna", ["spec.replicas"]) in [(each.manager, each.fields) for each in told.writers]
        assert not [each for each in told.writers if "status" in each.fields]
        [event] = told.events
        assert (event.reason, event.source) == ("ScalingReplicaSet", "deployment-controller")
        assert told.owner == "Argo CD application video"
        assert "12 minutes ago" in told.summary
        assert told.summary.endswith("; Argo CD application video owns it")

    async def test_an_event_of_another_object_of_that_name_is_none_of_its(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed("statefulset")
        control_plane.api.create_deployment(target.namespace, target.name)
        Fleet(control_plane, target).create()
        told = await WhoChanged().execute(step(cluster), WhoChangedParameters(workload=target))
        assert {each.source for each in told.events} == {"statefulset-controller"}
