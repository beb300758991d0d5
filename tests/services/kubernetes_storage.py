"""What the API server has stored, read past it in etcd: no cache or conversion stands between a test and the truth."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.services.kubernetes import ControlPlane
from tests.services.processes import ServiceError, poll

_ANSWER_SECONDS = 10.0
_SETTLE_SECONDS = 20.0
_OURS = "hdr-responder.io/"
_CONTROLLERS_OWN = ("deployment.kubernetes.io/",)
_KEPT_BY_CONTROLLERS = (
    "endpoints",
    "endpointslices",
    "leases",
    "pods",
    "replicasets",
    "controllerrevisions",
    "services/endpoints",
)

Storage = Mapping[str, Any]
"""Stored objects by their key, ``/registry/deployments/<namespace>/<name>``."""


def stored(control_plane: ControlPlane, namespace: str) -> Storage:
    """Everything of a namespace without the status that controllers write, and without their Events."""
    found = {}
    for key, value in _all(control_plane).items():
        if f"/{namespace}/" not in f"{key}/":
            continue
        item = json.loads(value)
        if item["kind"] == "Event" and item.get("source", {}).get("component") != "hdr-responder":
            continue
        item.pop("status", None)
        for bookkeeping in ("managedFields", "generation"):
            item["metadata"].pop(bookkeeping, None)
        found[key] = item
    return found


def settled(control_plane: ControlPlane, namespace: str) -> Storage:
    """What is stored once the controllers have nothing more to do there."""
    looks: list[Storage] = []

    def calm() -> bool:
        looks.append(stored(control_plane, namespace))
        return len(looks) > 2 and looks[-1] == looks[-2] == looks[-3]

    if not poll(calm, seconds=_SETTLE_SECONDS):
        raise ServiceError(f"namespace {namespace} did not come to rest")
    return looks[-1]


def asked_for(storage: Storage) -> Storage:
    """Of what is stored, what people and programs asked for: no marks of ours, nothing that controllers derive."""
    kept = {}
    for key, item in storage.items():
        if any(f"/{kind}/" in key for kind in (*_KEPT_BY_CONTROLLERS, "events")):
            continue
        kept[key] = _unmarked(item)
    return kept


def _unmarked(value: Any) -> Any:
    """Leave out annotations that we and the controllers write; a mark of ours anywhere else is a change like any."""
    if isinstance(value, list):
        return [_unmarked(each) for each in value]
    if not isinstance(value, dict):
        return value
    cleaned = {}
    for key, each in value.items():
        if key == "annotations" and isinstance(each, dict):
            others = {name: text for name, text in each.items() if not name.startswith((_OURS, *_CONTROLLERS_OWN))}
            if others:
                cleaned[key] = others
        else:
            cleaned[key] = _unmarked(each)
    return cleaned


def _all(control_plane: ControlPlane) -> dict[str, str]:
    body = {"key": _encoded("/registry/"), "range_end": _encoded("/registry0")}
    request = urllib.request.Request(
        f"{control_plane.etcd_url}/v3/kv/range", method="POST", data=json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as response:
        answer = json.loads(response.read())
    return {_decoded(each["key"]): _decoded(each["value"]) for each in answer.get("kvs", [])}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")
