"""Cutting a workload off, and letting it back on."""

from __future__ import annotations

from hdr_responder.actions.kubernetes.isolation import Isolate, IsolateParameters
from hdr_responder.actions.kubernetes.release import Release, ReleaseParameters
from hdr_responder.actions.kubernetes.scaling import ScaleToZero, ScaleToZeroParameters
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from tests.integration.kubernetes.case import Case, one_deployment
from tests.integration.kubernetes.networks import (
    by_administrator,
    create_service,
    policies,
    policies_path,
    services_path,
    wait_endpoints,
)
from tests.integration.kubernetes.steps import perform, step, workload
from tests.services.kubernetes import ControlPlane

_ON_SERVICES = frozenset(f"{verb} services" for verb in ("get", "patch"))


def _served(control_plane: ControlPlane, namespace: str) -> None:
    """The deployment behind two Services, one of them headless."""
    one_deployment(control_plane, namespace)
    create_service(control_plane, namespace, "web")
    create_service(control_plane, namespace, "peers", clusterIP="None")
    for name in ("web", "peers"):
        wait_endpoints(control_plane, namespace, name, 1)


def _isolated_and_stopped(control_plane: ControlPlane, namespace: str) -> None:
    """The same, cut off and scaled to zero by a run of ours."""
    _served(control_plane, namespace)

    async def isolate(cluster: KubernetesAdapter) -> None:
        first = step(cluster, step_id="isolate")
        await perform(Isolate(), first, IsolateParameters(workload=workload(namespace)))
        stop = step(cluster, run_id=first.fence.run_id, step_id="stop")
        await perform(ScaleToZero(), stop, ScaleToZeroParameters(workload=workload(namespace)))

    by_administrator(control_plane, isolate)


def _policy_opened(control_plane: ControlPlane, namespace: str) -> None:
    (policy,) = policies(control_plane, namespace)
    name = policy["metadata"]["name"]
    control_plane.api.merge_patch(f"{policies_path(namespace)}/{name}", {"spec": {"ingress": [{}]}})


def _selector_changed(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.api.merge_patch(services_path(namespace, "web"), {"spec": {"selector": {"tier": "front"}}})


CASES = {
    "isolate": Case(
        action=Isolate(),
        params=lambda ns: IsolateParameters(workload=workload(ns)),
        unused=_ON_SERVICES,
        drift=_policy_opened,
    ),
    "isolate_served": Case(
        action=Isolate(),
        params=lambda ns: IsolateParameters(workload=workload(ns)),
        arrange=_served,
        drift=_selector_changed,
    ),
    "release": Case(
        action=Release(),
        params=lambda ns: ReleaseParameters(workload=workload(ns)),
        arrange=_isolated_and_stopped,
    ),
}
