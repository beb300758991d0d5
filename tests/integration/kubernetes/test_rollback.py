"""Going back from a release and forth again, against a real control plane."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Literal

import pytest

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.kubernetes.marks import STEP
from hdr_responder.actions.kubernetes.ownership import WhoChanged, WhoChangedParameters
from hdr_responder.actions.kubernetes.rollback import CHANGE_CAUSE, RolloutUndo, RolloutUndoParameters
from hdr_responder.actions.kubernetes.rollouts import RestartParameters, RolloutRestart
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.kubernetes import JsonPatch, ObjectRef, TemplatedWorkload
from hdr_responder.domain.workloads import Workload, WorkloadKind
from hdr_responder.errors import (
    AmbiguousError,
    ConflictError,
    FencedError,
    NotFoundError,
    UnavailableError,
)
from tests.fakes.everywhere import EVERYWHERE
from tests.integration.kubernetes.cases.releases import two_releases
from tests.integration.kubernetes.releasing import ALL_KINDS, IMAGE, Fleet, allow
from tests.integration.kubernetes.steps import CLUSTER, perform, prepare, responder, step
from tests.integration.kubernetes.test_fencing import LosesAnswers
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.processes import poll

pytestmark = pytest.mark.service

UNDO = RolloutUndo()

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


class TestRolloutUndo:
    @pytest.mark.parametrize("kind", ALL_KINDS)
    async def test_goes_back_to_the_release_before_and_forth_again(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter, kind: WorkloadKind
    ) -> None:
        """Our own restart and a person's stand between the two releases, and after the second one."""
        target = allowed(kind)
        fleet = Fleet(control_plane, target)
        fleet.create()
        fleet.restart("2026-01-01T00:00:00Z")
        before_release = fleet.template
        fleet.release("2.0")
        await perform(RolloutRestart(), step(cluster), RestartParameters(workload=target))
        fleet.settle()
        bad = fleet.template
        params = RolloutUndoParameters(workload=target)
        ctx = step(cluster)
        state, result = await perform(UNDO, ctx, params)
        assert (result.from_revision, result.revision) == (4, 2)
        assert result.changes == [f"image app: {IMAGE}:2.0 -> {IMAGE}:1.0"]
        assert result.summary == f"rolled back from revision 4 to 2: {result.changes[0]}"
        assert fleet.template == before_release
        fleet.settle()
        assert sorted(fleet.revisions()) == [1, 3, 4, 5], "the cluster took the old revision up again"
        assert await UNDO.execute(ctx, params, state) == result
        assert (await UNDO.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT
        assert await UNDO.undo(ctx, params, state) is Undone.UNDONE
        assert fleet.template == bad
        assert await UNDO.undo(ctx, params, state) is Undone.UNDONE
        fleet.settle()
        assert sorted(fleet.revisions()) == [1, 3, 5, 6]

    async def test_its_template_carries_no_mark_that_would_make_a_revision_of_its_own(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        two_releases(control_plane, target.namespace)
        pods = {
            each["metadata"]["name"]
            for each in control_plane.api.request("GET", f"/apis/apps/v1/namespaces/{target.namespace}/replicasets")[
                "items"
            ]
        }
        ctx = step(cluster)
        await perform(UNDO, ctx, RolloutUndoParameters(workload=target))
        after = control_plane.api.wait_available(target.namespace, target.name)
        assert after["metadata"]["annotations"][STEP] == ctx.step_key
        kept = control_plane.api.request("GET", f"/apis/apps/v1/namespaces/{target.namespace}/replicasets")["items"]
        assert {each["metadata"]["name"] for each in kept} == pods
        [event] = control_plane.audit_events(user=RESPONDER, verb="patch", namespace=target.namespace)[1:]
        assert event.field_manager == "hdr-responder"
        assert [each["op"] for each in event.body[:3]] == ["test", "test", "test"]

    async def test_twice_goes_further_back_and_not_forth(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        fleet.release("2.0")
        fleet.release("3.0")
        params = RolloutUndoParameters(workload=target)
        for expected in ("2.0", "1.0"):
            await perform(UNDO, step(cluster), params)
            fleet.settle()
            assert fleet.image == expected
        with pytest.raises(ConflictError, match="revision 3 is newer and was gone back from"):
            await UNDO.dry_run(step(cluster), params)
        await perform(UNDO, step(cluster), RolloutUndoParameters(workload=target, to_revision=3))
        assert fleet.image == "3.0"

    async def test_the_change_cause_follows(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        fleet.release("2.0", **{CHANGE_CAUSE: "two"})
        fleet.release("3.0", **{CHANGE_CAUSE: "three"})
        causes = []
        ctx, params = step(cluster), RolloutUndoParameters(workload=target)
        state, _ = await perform(UNDO, ctx, params)
        causes.append(fleet.read()["metadata"]["annotations"].get(CHANGE_CAUSE))
        await UNDO.undo(ctx, params, state)
        causes.append(fleet.read()["metadata"]["annotations"].get(CHANGE_CAUSE))
        fleet.settle()
        await perform(UNDO, step(cluster), RolloutUndoParameters(workload=target, to_revision=1))
        causes.append(fleet.read()["metadata"]["annotations"].get(CHANGE_CAUSE))
        assert causes == ["two", "three", None]

    @pytest.mark.parametrize(
        ("arrange", "to_revision", "error", "match"),
        [
            ("one", None, ConflictError, "the present revision alone"),
            ("restarted", None, ConflictError, "all that the cluster keeps is restarts of it"),
            ("two", 2, ConflictError, "is that of revision 2 already"),
            ("two", 7, NotFoundError, r"has no revision 7 \(the cluster keeps 1, 2\)"),
            ("paused", None, ConflictError, "is paused"),
            ("forgotten", None, ConflictError, "no release before"),
        ],
    )
    async def test_refuses(
        self,
        control_plane: ControlPlane,
        allowed: Allowed,
        cluster: KubernetesAdapter,
        arrange: Literal["one", "restarted", "two", "paused", "forgotten"],
        to_revision: int | None,
        error: type[Exception],
        match: str,
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        if arrange == "restarted":
            fleet.restart("2026-01-01T00:00:00Z")
        if arrange == "forgotten":
            fleet.patch({"spec": {"revisionHistoryLimit": 0}})
        if arrange in ("two", "paused", "forgotten"):
            fleet.release("2.0")
        if arrange == "paused":
            fleet.patch({"spec": {"paused": True}})
        if arrange == "forgotten":
            assert poll(lambda: len(fleet.revisions()) == 1, seconds=30)
        with pytest.raises(error, match=match):
            await UNDO.dry_run(step(cluster), RolloutUndoParameters(workload=target, to_revision=to_revision))
        assert control_plane.audit_events(user=RESPONDER, verb="patch", namespace=target.namespace) == []

    async def test_refuses_where_no_pod_would_be_replaced(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed("daemonset")
        fleet = Fleet(control_plane, target)
        fleet.create()
        fleet.release("2.0")
        fleet.patch({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}})
        with pytest.raises(ConflictError, match="OnDelete"):
            await UNDO.dry_run(step(cluster), RolloutUndoParameters(workload=target))

    async def test_somebody_releases_meanwhile(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        two_releases(control_plane, target.namespace)
        ctx, params = step(cluster), RolloutUndoParameters(workload=target)
        state = await prepare(UNDO, ctx, params)
        assert (await UNDO.observe(ctx, params, state)).seen is Seen.NO_EFFECT
        assert await UNDO.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO
        fleet.release("3.0")
        with pytest.raises(ConflictError, match="was changed since"):
            await UNDO.execute(ctx, params, state)
        assert (await UNDO.observe(ctx, params, state)).seen is Seen.UNKNOWN
        assert fleet.image == "3.0"

    async def test_undo_leaves_a_later_release_alone_and_minds_no_restart(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        two_releases(control_plane, target.namespace)
        ctx, params = step(cluster), RolloutUndoParameters(workload=target)
        state, _ = await perform(UNDO, ctx, params)
        fleet.settle()
        fleet.restart("2026-01-01T00:00:00Z")
        assert await UNDO.undo(ctx, params, state) is Undone.UNDONE
        assert fleet.image == "2.0"
        fleet.settle()
        ctx = step(cluster)
        state, _ = await perform(UNDO, ctx, params)
        fleet.release("3.0")
        assert await UNDO.undo(ctx, params, state) is Undone.DRIFTED
        assert fleet.image == "3.0"

    async def test_a_worker_that_lost_the_run_changes_nothing(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        two_releases(control_plane, target.namespace)
        ctx, params = step(cluster), RolloutUndoParameters(workload=target)
        state = await prepare(UNDO, ctx, params)
        await UNDO.claim(step(cluster, run_id=ctx.fence.run_id, token=2), params)
        with pytest.raises(FencedError):
            await UNDO.execute(ctx, params, state)
        assert Fleet(control_plane, target).image == "2.0"

    async def test_what_admission_changes_is_no_success(self, control_plane: ControlPlane, allowed: Allowed) -> None:
        target = allowed()
        two_releases(control_plane, target.namespace)
        adapter = Altered.connect(CLUSTER, control_plane.responder_kubeconfig, namespaces=EVERYWHERE)
        ctx, params = step(adapter), RolloutUndoParameters(workload=target)
        state = await prepare(UNDO, ctx, params)
        with pytest.raises(AmbiguousError, match="is not that of the revision"):
            await UNDO.execute(ctx, params, state)
        assert (await UNDO.observe(ctx, params, state)).seen is Seen.UNKNOWN
        await adapter.close()

    async def test_a_lost_answer_is_met_by_looking(self, control_plane: ControlPlane, allowed: Allowed) -> None:
        target = allowed()
        two_releases(control_plane, target.namespace)
        adapter = LosesAnswers.connect(CLUSTER, control_plane.responder_kubeconfig, namespaces=EVERYWHERE)
        assert isinstance(adapter, LosesAnswers)
        ctx, params = step(adapter), RolloutUndoParameters(workload=target)
        adapter.losses = 0
        state = await prepare(UNDO, ctx, params)
        adapter.losses = 1
        assert (await UNDO.execute(ctx, params, state)).revision == 1
        adapter.losses = 1
        assert await UNDO.undo(ctx, params, state) is Undone.UNDONE
        assert Fleet(control_plane, target).image == "2.0"
        await adapter.close()

    async def test_a_change_that_cannot_be_looked_at_is_not_called_undone(
        self, control_plane: ControlPlane, allowed: Allowed
    ) -> None:
        """An error that lets the step be tried again would promise that nothing was changed."""
        target = allowed()
        two_releases(control_plane, target.namespace)
        adapter = BlindAfterwards.connect(CLUSTER, control_plane.responder_kubeconfig, namespaces=EVERYWHERE)
        ctx, params = step(adapter), RolloutUndoParameters(workload=target)
        state = await prepare(UNDO, ctx, params)
        with pytest.raises(AmbiguousError, match="whether it stands could not be seen"):
            await UNDO.execute(ctx, params, state)
        assert Fleet(control_plane, target).image == "1.0"
        await adapter.close()

    async def test_keeps_no_template_in_what_it_remembers(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        fleet = Fleet(control_plane, target)
        fleet.create()
        env = {"env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}
        containers = [{"name": "app", "image": f"{IMAGE}:2.0", **env}]
        fleet.patch({"spec": {"template": {"spec": {"containers": containers}}}})
        fleet.settle()
        state, result = await perform(UNDO, step(cluster), RolloutUndoParameters(workload=target))
        assert "hunter2" not in json.dumps(state) + result.model_dump_json()

    async def test_tells_on_the_workload(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        two_releases(control_plane, target.namespace)
        ctx, params = step(cluster), RolloutUndoParameters(workload=target)
        state, _ = await perform(UNDO, ctx, params)
        for undone in (False, False, True):
            await UNDO.announce(ctx, params, state, undone=undone)
        told = await WhoChanged().execute(step(cluster), WhoChangedParameters(workload=target, events=100))
        ours = {each.reason: each.message for each in told.events if each.source == "hdr-responder"}
        assert ours == {
            "RolledBack": "hdr-responder rolled this back to the template of revision 1 for INC-1",
            "RollbackUndone": "hdr-responder brought back the template of revision 2 for INC-1",
        }

    async def test_survey_knows_what_it_takes_away_and_who_reverts(
        self, control_plane: ControlPlane, allowed: Allowed, cluster: KubernetesAdapter
    ) -> None:
        target = allowed()
        two_releases(control_plane, target.namespace)
        tracked = {"argocd.argoproj.io/tracking-id": "video:apps/Deployment:x/y"}
        Fleet(control_plane, target).patch(
            {"metadata": {"annotations": tracked}, "spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}
        )
        found = await UNDO.survey(step(cluster).systems, RolloutUndoParameters(workload=target))
        assert found.impact is not None
        assert (found.impact.unavailable, found.impact.healthy) == (1, 1)
        assert found.owner is not None
        assert found.owner.reverts


class Altered(KubernetesAdapter):
    """A cluster whose admission writes another image than the one that was sent."""

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        text = json.dumps([dict(each) for each in operations])
        if not dry_run:
            text = text.replace(f'"{IMAGE}:1.0"', f'"{IMAGE}:admitted"')
        await super().patch(ref, json.loads(text), dry_run=dry_run)


class BlindAfterwards(KubernetesAdapter):
    """A cluster that cannot be reached once the template has been written."""

    blind = False

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        await super().patch(ref, operations, dry_run=dry_run)
        self.blind = not dry_run and any(each["path"] == "/spec/template" for each in operations)

    async def templated(self, workload: Workload) -> TemplatedWorkload:
        if self.blind:
            raise UnavailableError("cannot be reached")
        return await super().templated(workload)
