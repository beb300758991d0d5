"""Recorded deliveries that tests make up, and the shipped documents, or changed ones, to replay them with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hdr_responder.actions.registry import registry
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.engine.simulation import Assumption, Simulated, SimulatedIncident, SimulatedRun, World, simulate
from hdr_responder.settings import Settings, load_settings

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
ENVIRONMENT = {"HDR_CONFIG__DIR": str(ROOT / "config"), "HDR_PLAYBOOKS__DIR": str(ROOT / "playbooks")}

DOWN = {"alertname": "HdrServiceDown", "cluster": "prod-eu", "service": "neural-hdr", "severity": "critical"}
BUSY = {"alertname": "HdrCpuHigh", "cluster": "prod-eu", "service": "neural-hdr", "severity": "critical"}
BLOCKED = {
    "alertname": "HdrPostgresBlocked",
    "cluster": "prod-eu",
    "service": "postgresql",
    "severity": "critical",
    "database": "hdr_empire",
}
SLOW = {"alertname": "HdrHighErrorRate", "cluster": "prod-eu", "service": "omniscient-hdr", "severity": "critical"}


@cache
def shipped() -> Documents:
    return load(ROOT / "config", ROOT / "playbooks", registry())


def settings(**variables: str) -> Settings:
    return load_settings(environ={**ENVIRONMENT, **variables})


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


class Recording:
    """Deliveries in the order in which they are added."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def add(self, seconds: float, *labels: Mapping[str, str], started: float | None = None, over: bool = False) -> None:
        """A delivery that comes after so many seconds, of alerts that started then or at ``started``."""
        begun = after(seconds if started is None else started)
        self.add_body(
            seconds, json.dumps(body([alert(each, begun, after(seconds) if over else None) for each in labels]))
        )

    def add_body(self, seconds: float, text: str) -> None:
        number = len(self.deliveries) + 1
        self.deliveries.append(Delivery(id=number, source="default", received_at=after(seconds), body=text.encode()))

    def simulate(
        self, assume: Assumption = "verified", *, documents: Documents | None = None, **variables: str
    ) -> Simulated:
        world = World(settings=settings(**variables), documents=documents or shipped(), assume=assume)
        return asyncio.run(simulate(world, self.deliveries))


def alert(labels: Mapping[str, str], start: datetime, end: datetime | None) -> dict[str, Any]:
    return {
        "status": "resolved" if end else "firing",
        "labels": dict(labels),
        "annotations": {},
        "startsAt": start.isoformat(),
        "endsAt": end.isoformat() if end else "0001-01-01T00:00:00Z",
        "fingerprint": "-".join(labels.values())[:60],
    }


def body(alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "hdr", "alerts": list(alerts)}


def only(found: Simulated) -> SimulatedIncident:
    (incident,) = found.incidents
    return incident


def run_of(found: Simulated) -> SimulatedRun:
    (run,) = only(found).runs
    return run


def pages(found: Simulated) -> list[float]:
    """When somebody would have been woken, in seconds after the beginning."""
    return [(p.at - NOW).total_seconds() for i in found.incidents for p in i.pages]
