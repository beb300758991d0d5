"""The API server's JSON of a pod as the domain's account of how it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.shapes import Json
from hdr_responder.domain.ports.kubernetes import ContainerState, Ended, PodState

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""The annotation that names the container of a pod that people mean (Kubernetes contract)."""


def pod_state(item: Json) -> PodState:
    """Read a Pod with its status."""
    meta: Json = item["metadata"]
    spec: Json = item["spec"]
    pod = shapes.pod(item)
    wanted = (meta.get("annotations") or {}).get(DEFAULT_CONTAINER)
    return PodState(
        pod=pod,
        meta=shapes.object_meta(shapes.PODS, item),
        created=datetime.fromisoformat(meta["creationTimestamp"]),
        node=spec.get("nodeName") or "",
        reason=_reason(item.get("status") or {}),
        deleted="deletionTimestamp" in meta,
        default_container=wanted if wanted in pod.containers else pod.containers[0],
        containers=(*_containers(item, "initContainers", initial=True), *_containers(item, "containers")),
        conditions=shapes.conditions(item),
    )


def _reason(status: Json) -> str:
    """Return the pod's own reason; that it cannot be scheduled is told by a condition alone."""
    conditions: Sequence[Json] = status.get("conditions") or ()
    unscheduled = (
        each.get("reason") or "Unscheduled"
        for each in conditions
        if each["type"] == "PodScheduled" and each["status"] == "False"
    )
    return str(status.get("reason") or next(unscheduled, ""))


def _containers(item: Json, kind: str, *, initial: bool = False) -> list[ContainerState]:
    """Read the containers in the order of the spec; one that no kubelet reported yet waits."""
    reported: Sequence[Json] = (item.get("status") or {}).get(f"{kind.removesuffix('s')}Statuses") or ()
    by_name = {each["name"]: each for each in reported}
    return [_container(each, by_name.get(each["name"]) or {}, initial) for each in item["spec"].get(kind) or ()]


def _container(spec: Json, status: Json, initial: bool) -> ContainerState:
    state: Json = status.get("state") or {}
    waiting: Json = state.get("waiting") or {}
    ended = _ended(state.get("terminated"))
    return ContainerState(
        name=spec["name"],
        state="running" if "running" in state else "terminated" if ended else "waiting",
        ready=bool(status.get("ready", False)),
        restarts=status.get("restartCount", 0),
        why=waiting.get("reason") or "",
        ended=ended,
        last_ended=_ended((status.get("lastState") or {}).get("terminated")),
        initial=initial,
        image=spec.get("image") or "",
    )


def _ended(found: Any) -> Ended | None:
    """Read a terminated state; its message may be the end of the container's log and is left alone."""
    if not found:
        return None
    at = found.get("finishedAt")
    return Ended(
        reason=found.get("reason") or "",
        exit_code=found.get("exitCode", 0),
        at=datetime.fromisoformat(at) if at else None,
    )
