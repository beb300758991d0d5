"""Requests and limits set and put back to the letter, against a real control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.kubernetes.resources import Amounts, SetResources, SetResourcesParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.errors import ConflictError, PermanentError
from tests.integration.kubernetes.cases.releases import change_container
from tests.integration.kubernetes.steps import grant_for, perform, responder, step, workload
from tests.integration.kubernetes.templating import container, deployment, template
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service

RESOURCES = SetResources()


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


class TestSetResources:
    @pytest.mark.parametrize(
        "before",
        [
            {},
            {"requests": {"cpu": "500m", "memory": "1Gi"}},
            {"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi", "ephemeral-storage": "1Gi"}},
        ],
        ids=["none", "requests", "both"],
    )
    async def test_sets_and_puts_back_to_the_letter(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, before: dict[str, Any]
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr")
        change_container(control_plane, namespace, {"resources": before})
        original = template(control_plane, namespace)
        params = SetResourcesParameters(
            workload=workload(namespace),
            requests=Amounts(cpu="1", memory="2048Mi"),
            limits=Amounts(cpu="2000m", memory="4Gi"),
            lower=True,
        )
        grant_for(control_plane, RESOURCES, params)
        ctx = step(cluster)
        state, result = await perform(RESOURCES, ctx, params)
        assert await RESOURCES.execute(ctx, params, state) == result
        after = container(control_plane, namespace)["resources"]
        assert after["requests"].items() >= {"cpu": "1", "memory": "2Gi"}.items()
        assert after["limits"].items() >= {"cpu": "2", "memory": "4Gi"}.items()
        assert before.get("limits", {}).get("ephemeral-storage") == after["limits"].get("ephemeral-storage")
        assert "cpu limit: none -> 2000m" in result.lowered
        assert result.summary.endswith("lowered without knowing how much it uses")
        assert (await RESOURCES.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT
        assert await RESOURCES.undo(ctx, params, state) is Undone.UNDONE
        assert template(control_plane, namespace) == original

    async def test_more_needs_no_word(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        deployment(
            control_plane, namespace, resources={"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "4Gi"}}
        )
        params = SetResourcesParameters(
            workload=workload(namespace), requests=Amounts(cpu="1000m"), limits=Amounts(cpu="2", memory="4096Mi")
        )
        grant_for(control_plane, RESOURCES, params)
        ctx = step(cluster)
        state, result = await perform(RESOURCES, ctx, params)
        assert result.changes == ["cpu limit: 1 -> 2"], "what means the same is no change"
        assert (result.lowered, result.summary) == ([], "container app: cpu limit: 1 -> 2")
        await RESOURCES.announce(ctx, params, state, undone=True)
        events = control_plane.api.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
        [told] = [each["message"] for each in events if each["reason"] == "ResourcesSetUndone"]
        assert told == "hdr-responder put back resources of container app (cpu limit: 2 -> 1) for INC-1"

    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ({"limits": {"memory": "2Gi"}}, "memory limit: 4Gi -> 2Gi"),
            ({"limits": {"cpu": "8"}}, "cpu limit: none -> 8"),
            ({"requests": {"memory": "512Mi"}}, "memory request: 1Gi -> 512Mi"),
        ],
    )
    async def test_less_is_said_or_refused(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        asked: dict[str, Any],
        told: str,
    ) -> None:
        resources = {"requests": {"memory": "1Gi"}, "limits": {"memory": "4Gi"}}
        deployment(control_plane, namespace, resources=resources)
        written = {"workload": workload(namespace), **asked}
        params = SetResourcesParameters.model_validate(written)
        grant_for(control_plane, RESOURCES, params)
        with pytest.raises(ConflictError, match=f"would get less \\({told}\\).*say lower: true"):
            await RESOURCES.dry_run(step(cluster), params)
        await RESOURCES.dry_run(step(cluster), SetResourcesParameters.model_validate(written | {"lower": True}))

    async def test_what_the_cluster_refuses_is_told(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        original = deployment(control_plane, namespace, resources={"limits": {"memory": "4Gi"}})
        params = SetResourcesParameters(workload=workload(namespace), requests=Amounts(memory="8Gi"))
        grant_for(control_plane, RESOURCES, params)
        with pytest.raises(PermanentError, match="must be less than or equal to memory limit"):
            await RESOURCES.dry_run(step(cluster), params)
        assert template(control_plane, namespace) == original

    async def test_undo_leaves_what_somebody_changed_since(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        deployment(control_plane, namespace, resources={"requests": {"memory": "1Gi"}})
        params = SetResourcesParameters(workload=workload(namespace), requests=Amounts(cpu="1", memory="2Gi"))
        grant_for(control_plane, RESOURCES, params)
        ctx = step(cluster)
        state, _ = await perform(RESOURCES, ctx, params)
        change_container(control_plane, namespace, {"resources": {"requests": {"cpu": "3"}}})
        assert await RESOURCES.undo(ctx, params, state) is Undone.DRIFTED
        assert container(control_plane, namespace)["resources"] == {"requests": {"cpu": "3", "memory": "2Gi"}}

    def test_something_is_asked_for(self) -> None:
        with pytest.raises(ValidationError, match="give an amount"):
            SetResourcesParameters(workload=workload("any"))

    @pytest.mark.parametrize(
        "amount",
        ["0", "-1", "1 Gi", "1gi", "1,5", "Inf", "NaN", "1e999", "٣", "1;", "$(x)", "\n", "1\n", "", 2, "9" * 40],
    )
    def test_amounts_are_amounts(self, amount: Any) -> None:
        with pytest.raises(ValidationError):
            Amounts(memory=amount)
