"""What the proofs on the audit log share: a namespace of workloads, their catalogue, and what was done to each."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from hdr_responder.actions.contract import Permission
from hdr_responder.actions.kubernetes.marks import FENCE, STEP, UNDONE
from tests.acceptance.conftest import needed_permissions
from tests.acceptance.responder import ROOT
from tests.integration.engine.alerts import alert, delivery
from tests.integration.kubernetes.steps import grant
from tests.services.kubernetes import ControlPlane
from tests.services.kubernetes_api import ApiError
from tests.services.kubernetes_audit import AuditEvent

NAMESPACE = "proofs"
DOCUMENTS = Path(__file__).with_name("documents")
_MUTATIONS = {
    ("deployments", "patch"),
    ("networkpolicies", "create"),
    ("networkpolicies", "patch"),
    ("networkpolicies", "delete"),
}
_POLICY = re.compile(r"hdr-isolate-(.+)-[0-9a-f]{12}")
_KEY = re.compile(r"([0-9a-f]{8}-[0-9a-f-]{27})/(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One accepted call that changed a workload or its policy; ``effect`` is empty where it only raised the fence.

    ``run`` and ``step`` are what the call itself says that it is for.
    """

    at: datetime
    user: str
    workload: str
    effect: str
    run: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tale:
    """One accepted Event about a workload. ``name`` is the same for the same reason of the same step."""

    at: datetime
    user: str
    workload: str
    reason: str
    name: str


def make_workloads(control_plane: ControlPlane, names: Sequence[str]) -> None:
    """Run one pod of each, and let the responder do there what these playbooks need."""
    control_plane.ensure_running()
    api = control_plane.api
    with contextlib.suppress(ApiError):
        api.create_namespace(NAMESPACE)
        grant(control_plane, _needed())
    control_plane.set_logs(["INFO started"])
    for name in names:
        api.create_deployment(NAMESPACE, name, wait=False)
        # As services have them: a late patch is then not refused merely because the first annotations have appeared.
        annotated = {"spec": {"template": {"metadata": {"annotations": {"example.com/owner": "sre"}}}}}
        api.merge_patch(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}", annotated)
    for name in names:
        api.wait_available(NAMESPACE, name)


def _needed() -> list[Permission]:
    with tempfile.TemporaryDirectory() as folder:
        documents = [make_documents(Path(folder), each.name, ["any"]) for each in sorted(DOCUMENTS.iterdir())]
        return [right for environ in documents for right in needed_permissions(environ, NAMESPACE)]


def make_documents(folder: Path, playbooks: str, names: Sequence[str]) -> dict[str, str]:
    """Write the shipped documents with these workloads in the catalogue; the settings that lead to the documents."""
    config = folder / "config"
    shutil.copytree(ROOT / "config", config, dirs_exist_ok=True)
    catalogue = config / "services.yaml"
    document = YAML(typ="safe").load(catalogue)
    document["services"] += [
        {
            "name": name,
            "title": name,
            "tier": "application",
            "owner": "sre",
            "namespace": NAMESPACE,
            "workload": f"deployment/{name}",
        }
        for name in names
    ]
    catalogue.write_text(json.dumps(document))
    return {
        "HDR_CONFIG__DIR": str(config),
        "HDR_PLAYBOOKS__DIR": str(DOCUMENTS / playbooks),
        "HDR_AUTOMATION__BUDGETS__FLEET__RUNS": "1000",
    }


def firing(*alerts: tuple[str, str]) -> bytes:
    """One delivery with these alerts, each a name and a service."""
    return delivery([fires(name, service) for name, service in alerts])


def fires(name: str, service: str, *, ends_at: datetime | None = None) -> dict[str, Any]:
    """One alert of these proofs."""
    return alert(name, starts_at=datetime.now(UTC), ends_at=ends_at, service=service, severity="warning")


def mutations(control_plane: ControlPlane) -> list[Mutation]:
    """Every accepted mutation of the namespace's workloads so far, in the order in which they were received."""
    events = control_plane.audit_events(namespace=NAMESPACE)
    found = [_mutation(e) for e in events if e.code < 300 and (e.resource, e.verb) in _MUTATIONS]
    return sorted(found, key=lambda m: m.at)


def tales(control_plane: ControlPlane) -> list[Tale]:
    """Every accepted Event about the namespace's workloads so far, in the order in which they were received."""
    events = control_plane.audit_events(namespace=NAMESPACE, resource="events")
    return sorted((_tale(e) for e in events if e.code < 300 and e.verb == "create"), key=lambda t: t.at)


def _tale(event: AuditEvent) -> Tale:
    body = event.body
    return Tale(
        at=event.at,
        user=event.user,
        workload=body["involvedObject"]["name"],
        reason=body["reason"],
        name=body["metadata"]["name"],
    )


def _mutation(event: AuditEvent) -> Mutation:
    written = _written(event.body)
    key = _KEY.search(written.get(UNDONE) or written.get(STEP) or "")
    run, step = key.groups() if key else (written.get(FENCE, "").partition("/")[0], "")
    return Mutation(at=event.at, user=event.user, workload=_workload(event), effect=_effect(event), run=run, step=step)


def _written(body: Any) -> dict[str, str]:
    """Return the responder's annotations that a call writes or tests."""
    if isinstance(body, dict):
        return dict(body.get("metadata", {}).get("annotations", {}))
    found: dict[str, str] = {}
    for operation in body if isinstance(body, list) else []:
        if operation["path"].endswith("/annotations") and isinstance(operation["value"], dict):
            found |= operation["value"]
        elif "/annotations/" in operation["path"]:
            found[operation["path"].rpartition("/annotations/")[2].replace("~1", "/")] = operation["value"]
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _workload(event: AuditEvent) -> str:
    if event.resource == "deployments":
        return event.name
    named = event.name or event.body["metadata"]["name"]
    policy = _POLICY.fullmatch(named)
    return policy[1] if policy else named


def _effect(event: AuditEvent) -> str:
    body = str(event.body)
    if event.resource == "networkpolicies":
        wrote = "isolated" if "'/spec'" in body else ""
        return {"create": "policy made", "delete": "policy deleted"}.get(event.verb, wrote)
    if "restartedAt" in body:
        return "restarted"
    if "/spec/replicas" in body:
        return "scaled back" if UNDONE.replace("/", "~1") in body or UNDONE in body else "scaled"
    return ""
