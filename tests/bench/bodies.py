"""The deliveries that are sent: recorded ones as they came, and others made from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_RECORDED = Path(__file__).parents[1] / "deliveries"


def recorded(name: str) -> bytes:
    """A recorded delivery, byte by byte."""
    return (_RECORDED / f"{name}.json").read_bytes()


def service_down(service: str) -> bytes:
    """Tells that a service is down since now."""
    return _delivery("01-service-down-firing", service, [f"down-{service}"])


def storm(services: Sequence[str], *, deliveries: int, alerts: int) -> Iterator[bytes]:
    """Deliveries of ``alerts`` alerts each, none like another, spread over the services."""
    for number in range(deliveries):
        fingerprints = [f"{number:06x}{position:04x}" for position in range(alerts)]
        yield _delivery("03-memory-storm-truncated", services[number % len(services)], fingerprints)


def _delivery(name: str, service: str, fingerprints: Sequence[str]) -> bytes:
    body: dict[str, Any] = json.loads(recorded(name))
    body["alerts"] = [_alert(body["alerts"][0], service, fingerprint) for fingerprint in fingerprints]
    body["commonLabels"] |= {"service": service, "deployment": service}
    return json.dumps(body | {"truncatedAlerts": 0}).encode()


def _alert(recorded_alert: dict[str, Any], service: str, fingerprint: str) -> dict[str, Any]:
    labels = {"service": service, "deployment": service, "pod": f"{service}-{fingerprint}"}
    changed = {"labels": recorded_alert["labels"] | labels, "fingerprint": fingerprint}
    return recorded_alert | changed | {"startsAt": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
