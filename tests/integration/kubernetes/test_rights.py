"""The rights that actions declare, tried one by one against the API server's own RBAC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hdr_responder.actions.contract import Permission, Seen
from hdr_responder.actions.kubernetes import KUBERNETES_ACTIONS
from hdr_responder.actions.kubernetes.logs import Logs, LogsParameters
from hdr_responder.actions.kubernetes.rollouts import (
    RestartParameters,
    RolloutRestart,
)
from hdr_responder.actions.kubernetes.scaling import (
    ScaleToZero,
    ScaleToZeroParameters,
)
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.errors import ForbiddenError
from tests.integration.kubernetes.case import all_cases
from tests.integration.kubernetes.steps import (
    grant,
    grant_for,
    perform,
    responder,
    step,
    workload,
)
from tests.services.kubernetes import ControlPlane

pytestmark = pytest.mark.service


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


CASES = all_cases()


def _declared(case: str) -> list[str]:
    permissions = CASES[case].action.permissions(CASES[case].params("any"))
    rights = [f"{permission.verb} {permission.resource}" for permission in permissions]
    return [right for right in rights if right not in CASES[case].unused]


class TestRights:
    def test_every_action_is_tried(self) -> None:
        assert {case.action.name for case in CASES.values()} == {action.name for action in KUBERNETES_ACTIONS}

    @pytest.mark.parametrize(("case", "missing"), [(case, right) for case in CASES for right in _declared(case)])
    async def test_each_declared_right_is_needed_and_named(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, case: str, missing: str
    ) -> None:
        CASES[case].arrange(control_plane, namespace)
        params = CASES[case].params(namespace)
        declared: list[Permission] = list(CASES[case].action.permissions(params))
        grant(
            control_plane,
            [*(each for each in declared if f"{each.verb} {each.resource}" != missing), filler(namespace)],
        )
        verb, _, resource = missing.partition(" ")
        with pytest.raises(ForbiddenError) as caught:
            await whole_life(CASES[case].action, cluster, params)
        assert f"not allowed to {verb} {resource}" in str(caught.value)

    @pytest.mark.parametrize("case", CASES)
    async def test_the_declared_rights_suffice(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, case: str
    ) -> None:
        CASES[case].arrange(control_plane, namespace)
        params = CASES[case].params(namespace)
        grant_for(control_plane, CASES[case].action, params)
        await whole_life(CASES[case].action, cluster, params)

    async def test_may_asks_beforehand(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        params = RestartParameters(workload=workload(namespace))
        logs = LogsParameters(workload=workload(namespace))
        grant(control_plane, [*RolloutRestart().permissions(params), *Logs().permissions(logs)])
        asked = [*RolloutRestart().permissions(params), *Logs().permissions(logs)]
        assert [await cluster.may(permission) for permission in asked] == [True] * len(asked)
        zero = ScaleToZero().permissions(ScaleToZeroParameters(workload=workload(namespace)))
        autoscalers = next(permission for permission in zero if "autoscalers" in permission.resource)
        assert await cluster.may(autoscalers) is False


def filler(namespace: str) -> Permission:
    """A right that no action needs, so that the role is never empty."""
    return Permission(system="kubernetes", scope="test", verb="get", resource="pods/status", namespace=namespace)


async def whole_life(action: Any, cluster: KubernetesAdapter, params: Any) -> None:
    ctx = step(cluster)
    if not action.mutates:
        await action.execute(ctx, params)
        return
    state, _ = await perform(action, ctx, params)
    assert (await action.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT
    await action.announce(ctx, params, state, undone=False)
    await action.undo(ctx, params, state)
