"""What is found at a workload before a step changes it, on a real control plane, against what then happens there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hdr_responder.actions.contract import AnyMutation
from hdr_responder.actions.kubernetes.isolation import Isolate, IsolateParameters
from hdr_responder.actions.kubernetes.marks import HOLD
from hdr_responder.actions.kubernetes.replicas import Available, AvailableParameters
from hdr_responder.actions.kubernetes.rollouts import RestartParameters, RolloutRestart
from hdr_responder.actions.kubernetes.scaling import (
    Scale,
    ScaleParameters,
    ScaleToZero,
    ScaleToZeroParameters,
)
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import GitOpsOwner, HoldNote, Impact, TargetSurvey
from hdr_responder.errors import ForbiddenError, NotFoundError
from tests.integration.kubernetes.steps import CLUSTER, create_autoscaler, grant_for, responder, step, workload
from tests.services.kubernetes import ControlPlane
from tests.services.processes import poll

pytestmark = pytest.mark.service

RESTART, OUT, ZERO, QUARANTINE = RolloutRestart(), Scale(), ScaleToZero(), Isolate()
NAME = "neural-hdr"
TRACKED = {"argocd.argoproj.io/tracking-id": "video:apps/Deployment:x/neural-hdr"}
ARGO = "Argo CD application video"


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


def parameters(namespace: str, kind: Any = "deployment") -> dict[AnyMutation, Any]:
    where = workload(namespace, kind=kind)
    return {
        RESTART: RestartParameters(workload=where),
        OUT: ScaleParameters(workload=where, by=1, maximum=9),
        ZERO: ScaleToZeroParameters(workload=where),
        QUARANTINE: IsolateParameters(workload=where),
    }


async def survey(
    control_plane: ControlPlane, cluster: KubernetesAdapter, action: AnyMutation, params: Any
) -> TargetSurvey:
    """As a user who holds no right but those of the action."""
    grant_for(control_plane, action, params)
    return await action.survey(Systems(kubernetes={CLUSTER: cluster}), params)


def path(namespace: str, kind: str = "deployment") -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/{kind}s/{NAME}"


def rolling(unavailable: int | str, surge: int | str) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}


def stalled(deployment: dict[str, Any]) -> bool:
    return any(c.get("reason") == "ProgressDeadlineExceeded" for c in deployment["status"].get("conditions", ()))


class TestImpact:
    @pytest.mark.parametrize(
        ("replicas", "strategy", "taken"),
        [
            (3, None, 0),
            (4, None, 1),
            (5, rolling("34%", 0), 1),
            (3, rolling("10%", "0%"), 1),
            (3, rolling(2, 1), 2),
            (2, rolling("100%", 0), 2),
        ],
    )
    async def test_a_rollout_of_a_deployment_takes_as_many_as_was_said(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        replicas: int,
        strategy: dict[str, Any] | None,
        taken: int,
    ) -> None:
        """A release whose pods never become ready stops at the worst moment of a restart."""
        api = control_plane.api
        api.create_deployment(namespace, NAME, replicas=replicas, progress_deadline_seconds=2)
        if strategy:
            api.merge_patch(path(namespace), {"spec": {"strategy": strategy}})
            api.wait_available(namespace, NAME)
        found = await survey(control_plane, cluster, RESTART, RestartParameters(workload=workload(namespace)))
        assert found.impact == Impact(unavailable=taken, healthy=replicas)
        api.set_image(namespace, NAME, "registry.example/app:never-ready")
        assert poll(lambda: stalled(api.deployment(namespace, NAME)), seconds=30)
        assert api.deployment(namespace, NAME)["status"].get("availableReplicas", 0) == replicas - taken

    async def test_recreating_takes_everything(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        api = control_plane.api
        api.create_deployment(namespace, NAME, replicas=3)
        api.merge_patch(path(namespace), {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}})
        api.wait_available(namespace, NAME)
        found = await survey(control_plane, cluster, RESTART, RestartParameters(workload=workload(namespace)))
        assert found.impact == Impact(unavailable=3, healthy=3)
        api.set_image(namespace, NAME, "registry.example/app:never-ready")
        assert poll(lambda: not api.deployment(namespace, NAME)["status"].get("availableReplicas"), seconds=30)

    async def test_replicas_that_are_missing_already_count(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        api = control_plane.api
        api.create_deployment(namespace, NAME, replicas=3, progress_deadline_seconds=2)
        api.merge_patch(path(namespace), {"spec": {"strategy": rolling(1, 0)}})
        broken = api.pods(namespace, f"app={NAME}")[0]["metadata"]["name"]
        pod = f"/api/v1/namespaces/{namespace}/pods/{broken}"
        api.merge_patch(pod, {"metadata": {"annotations": {"hdr-responder.test/behaviour": "never-ready"}}})
        assert poll(lambda: api.deployment(namespace, NAME)["status"].get("availableReplicas") == 2, seconds=30)
        found = await survey(control_plane, cluster, RESTART, RestartParameters(workload=workload(namespace)))
        assert found.impact == Impact(unavailable=0, healthy=2)
        api.set_image(namespace, NAME, "registry.example/app:never-ready")
        assert poll(lambda: stalled(api.deployment(namespace, NAME)), seconds=30)
        assert api.deployment(namespace, NAME)["status"].get("availableReplicas", 0) == 2

    async def test_a_statefulset_is_restarted_one_by_one(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        template = {
            "metadata": {"labels": {"app": NAME}},
            "spec": {"containers": [{"name": "app", "image": "registry.example/app:1.0"}]},
        }
        spec = {"replicas": 3, "serviceName": NAME, "selector": {"matchLabels": {"app": NAME}}, "template": template}
        statefulset = path(namespace, "statefulset")
        api = control_plane.api
        api.request("POST", statefulset.rpartition("/")[0], {"metadata": {"name": NAME}, "spec": spec})
        assert poll(lambda: api.request("GET", statefulset)["status"].get("availableReplicas") == 3, seconds=30)
        params = RestartParameters(workload=workload(namespace, kind="statefulset"))
        assert (await survey(control_plane, cluster, RESTART, params)).impact == Impact(unavailable=1, healthy=3)
        api.merge_patch(statefulset, {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 3}}}})
        found = await RESTART.survey(Systems(kubernetes={CLUSTER: cluster}), params)
        assert found.impact == Impact(unavailable=0, healthy=3)

    @pytest.mark.parametrize(("action", "impact"), [(ZERO, 3), (QUARANTINE, 3), (OUT, None)])
    async def test_other_steps(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        action: AnyMutation,
        impact: int | None,
    ) -> None:
        control_plane.api.create_deployment(namespace, NAME, replicas=3)
        found = await survey(control_plane, cluster, action, parameters(namespace)[action])
        expected = None if impact is None else Impact(unavailable=impact, healthy=impact)
        assert found == TargetSurvey(impact=expected)


class TestOwner:
    @pytest.mark.parametrize(("action", "reverts"), [(RESTART, False), (QUARANTINE, False), (OUT, True), (ZERO, True)])
    async def test_what_argo_cd_tracks_would_be_reverted(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        action: AnyMutation,
        reverts: bool,
    ) -> None:
        control_plane.api.create_deployment(namespace, NAME, annotations=TRACKED)
        found = await survey(control_plane, cluster, action, parameters(namespace)[action])
        assert found.owner == GitOpsOwner(name=ARGO, reverts=reverts)

    async def test_flux_is_known_by_its_labels(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        labels = {
            "kustomize.toolkit.fluxcd.io/name": "apps",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        }
        control_plane.api.create_deployment(namespace, NAME, labels=labels)
        found = await survey(control_plane, cluster, ZERO, parameters(namespace)[ZERO])
        assert found.owner == GitOpsOwner(name="Flux Kustomization flux-system/apps", reverts=True)

    async def test_under_an_autoscaler_its_owner_counts(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        """The autoscaler's numbers change, and nobody tracks those; the workload's number is left to it in Git."""
        control_plane.api.create_deployment(namespace, NAME, annotations=TRACKED)
        create_autoscaler(control_plane, namespace)
        found = await survey(control_plane, cluster, OUT, parameters(namespace)[OUT])
        assert found.owner == GitOpsOwner(name=ARGO, reverts=False)
        autoscaler = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{NAME}"
        control_plane.api.merge_patch(autoscaler, {"metadata": {"annotations": TRACKED}})
        found = await OUT.survey(Systems(kubernetes={CLUSTER: cluster}), parameters(namespace)[OUT])
        assert found.owner == GitOpsOwner(name=ARGO, reverts=True)


class TestHold:
    @pytest.mark.parametrize("action", [RESTART, OUT, ZERO, QUARANTINE], ids=lambda action: action.name)
    async def test_the_annotation_is_seen_before_every_change(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, action: AnyMutation
    ) -> None:
        control_plane.api.create_deployment(namespace, NAME, annotations={HOLD: "disk is moved"})
        found = await survey(control_plane, cluster, action, parameters(namespace)[action])
        assert found.hold == HoldNote(reason="disk is moved")


class TestErrors:
    async def test_what_is_not_there_is_said(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        with pytest.raises(NotFoundError):
            await survey(control_plane, cluster, RESTART, parameters(namespace)[RESTART])

    async def test_without_the_right_it_is_no_answer(self, namespace: str, cluster: KubernetesAdapter) -> None:
        with pytest.raises(ForbiddenError):
            await RESTART.survey(Systems(kubernetes={CLUSTER: cluster}), parameters(namespace)[RESTART])


async def test_availability_is_judged_at_this_moment(
    control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
) -> None:
    api = control_plane.api
    api.create_deployment(namespace, NAME, replicas=2)
    where = workload(namespace)
    grant_for(control_plane, RESTART, RestartParameters(workload=where))
    ctx, check = step(cluster), Available()
    assert (await check.evaluate(ctx, AvailableParameters(workload=where, at_least=2))).holds is True
    assert (await check.evaluate(ctx, AvailableParameters(workload=where, at_least=3))).holds is False
    api.make_pods(namespace, f"app={NAME}", "never-ready")
    assert poll(lambda: not api.deployment(namespace, NAME)["status"].get("availableReplicas"), seconds=30)
    down = await check.evaluate(ctx, AvailableParameters(workload=where))
    assert (down.holds, down.detail) == (False, "0 of 2 replicas available, at least 1 expected")
