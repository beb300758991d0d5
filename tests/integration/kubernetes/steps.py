"""Drives Kubernetes actions in the engine's order, as a user who holds exactly the rights that they declare."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hdr_responder.actions.contract import AnyAction, Evidence, Fence, Mutation, Permission, Result, State, StepContext
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.workloads import Workload, WorkloadKind
from tests.fakes.clock import ManualClock
from tests.fakes.everywhere import EVERYWHERE
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.processes import poll

CLUSTER = "test"
R = TypeVar("R", bound=Result)


@dataclass
class KeptEvidence(Evidence):
    """Keeps artifacts in memory, by the id that it gives them."""

    artifacts: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        artifact = f"artifact-{len(self.artifacts) + 1}"
        self.artifacts[artifact] = (name, content)
        return artifact


def workload(namespace: str, name: str = "neural-hdr", kind: WorkloadKind = "deployment") -> Workload:
    return Workload(cluster=CLUSTER, namespace=namespace, kind=kind, name=name)


def step(
    cluster: KubernetesAdapter,
    *,
    run_id: uuid.UUID | None = None,
    token: int = 1,
    step_id: str = "repair",
    evidence: KeptEvidence | None = None,
    clock: ManualClock | None = None,
) -> StepContext:
    """The context of one step; the same ``run_id`` and ``step_id`` mean the same step."""
    return StepContext(
        fence=Fence(run_id=run_id or uuid.uuid4(), token=token),
        step_id=step_id,
        incident_ref="INC-1",
        cluster=CLUSTER,
        systems=Systems(kubernetes={CLUSTER: cluster}),
        evidence=evidence or KeptEvidence(),
        clock=clock or ManualClock(),
    )


async def prepare(action: Mutation[Any, Any], ctx: StepContext, params: Any) -> State:
    """All that comes before the change; what it captured."""
    await action.dry_run(ctx, params)
    await action.claim(ctx, params)
    return await action.capture(ctx, params)


async def perform(action: Mutation[Any, R], ctx: StepContext, params: Any) -> tuple[State, R]:
    """A whole step: what it captured and its result."""
    state = await prepare(action, ctx, params)
    return state, await action.execute(ctx, params, state)


def grant(control_plane: ControlPlane, permissions: Iterable[Permission], *, role: str = "responder") -> None:
    """Give the responder these rights and no others in their namespace."""
    held = list(dict.fromkeys(permissions))
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": [permission.verb]}
        for permission in held
        for group, resource in [_group_and_resource(permission.resource)]
    ]
    control_plane.api.grant(held[0].namespace, role, rules, {"kind": "User", "name": RESPONDER})


def grant_for(control_plane: ControlPlane, action: AnyAction, params: Any) -> None:
    """Give the responder what the action declares."""
    grant(control_plane, action.permissions(params), role=action.name)


def responder(control_plane: ControlPlane, timeout: float = 10.0) -> KubernetesAdapter:
    """The cluster as the responder sees it."""
    return KubernetesAdapter.connect(
        CLUSTER, control_plane.responder_kubeconfig, timeout=timeout, namespaces=EVERYWHERE
    )


def create_autoscaler(control_plane: ControlPlane, namespace: str, *, low: int = 1, high: int = 4) -> None:
    """An autoscaler of the deployment ``neural-hdr``."""
    control_plane.api.request(
        "POST",
        f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
        {
            "metadata": {"name": "neural-hdr"},
            "spec": {
                "minReplicas": low,
                "maxReplicas": high,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "neural-hdr"},
            },
        },
    )


def create_statefulset(control_plane: ControlPlane, namespace: str, *, replicas: int = 1) -> None:
    """The StatefulSet ``neural-hdr`` with its pods ready."""
    labels = {"app": "neural-hdr"}
    control_plane.api.request(
        "POST",
        f"/apis/apps/v1/namespaces/{namespace}/statefulsets",
        {
            "metadata": {"name": "neural-hdr"},
            "spec": {
                "replicas": replicas,
                "serviceName": "neural-hdr",
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "app", "image": "registry.example/app:1.0"}]},
                },
            },
        },
    )
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/neural-hdr"

    def ready() -> bool:
        return int(control_plane.api.request("GET", path)["status"].get("availableReplicas", 0)) == replicas

    assert poll(ready, seconds=30), "the statefulset's pods did not become ready"


def _group_and_resource(text: str) -> tuple[str, str]:
    if text.startswith(("pods", "events", "services")):
        return "", text
    group, _, resource = text.partition("/")
    return group, resource
