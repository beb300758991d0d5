"""Reads the API server's audit log, so that a test counts the calls that were really made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_OWN_USERS = ("system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "kwok")

MUTATING_VERBS = ("create", "update", "patch", "delete", "deletecollection")

AUDIT_POLICY = json.dumps(
    {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "None",
                "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "kwok"],
            },
            {"level": "None", "userGroups": ["system:nodes"]},
            {"level": "Request", "verbs": list(MUTATING_VERBS)},
        ],
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One answered mutating call.

    ``at`` is when it was received, ``code`` the HTTP status, ``body`` what was sent, ``uri`` path and query.
    """

    at: datetime
    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    dry_run: bool
    field_manager: str
    uri: str
    body: Any


def read_audit_log(path: Path) -> Iterator[AuditEvent]:
    """Every mutating call of people and programs other than the control plane's own parts, in order."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield _event(json.loads(line))


def _event(entry: Mapping[str, Any]) -> AuditEvent:
    target = entry.get("objectRef", {})
    query = parse_qs(urlsplit(entry["requestURI"]).query)
    return AuditEvent(
        at=datetime.fromisoformat(entry["requestReceivedTimestamp"]),
        user=entry["user"].get("username", ""),
        verb=entry["verb"],
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=entry.get("responseStatus", {}).get("code", 0),
        dry_run="All" in query.get("dryRun", []),
        field_manager=query.get("fieldManager", [""])[0],
        uri=entry["requestURI"],
        body=entry.get("requestObject"),
    )
