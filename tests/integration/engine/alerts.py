"""Alertmanager's bodies as a test wants them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

OVER = "0001-01-01T00:00:00Z"


def alert(
    name: str = "HdrCell",
    *,
    starts_at: datetime,
    ends_at: datetime | None = None,
    service: str | None = "neural-hdr",
    severity: str = "critical",
    **labels: str,
) -> dict[str, Any]:
    """One alert; resolved when it has an end."""
    named = {"alertname": name, "cluster": "prod-eu", "severity": severity} | labels
    if service is not None:
        named["service"] = service
    return {
        "status": "resolved" if ends_at else "firing",
        "labels": named,
        "annotations": {"summary": f"{name} fires"},
        "startsAt": starts_at.isoformat(),
        "endsAt": ends_at.isoformat() if ends_at else OVER,
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": fingerprint(named),
    }


def fingerprint(labels: Mapping[str, str]) -> str:
    """As Alertmanager's: it changes with any label."""
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]


def delivery(alerts: Sequence[Any], *, truncated: int = 0) -> bytes:
    """One webhook body."""
    firing = any(isinstance(a, dict) and a.get("status") == "firing" for a in alerts)
    return json.dumps(
        {
            "version": "4",
            "groupKey": '{}:{alertname="HdrCell"}',
            "truncatedAlerts": truncated,
            "status": "firing" if firing else "resolved",
            "receiver": "responder",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager:9093",
            "alerts": list(alerts),
        }
    ).encode()
