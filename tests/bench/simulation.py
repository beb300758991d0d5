"""How many recorded deliveries a second the simulation replays: the documents that ship, webhook bodies as they come.

A delivery tells 1 to 5 alerts of a group. Most repeat what is known, one in ten opens or reopens an incident, which is
triaged, planned, guarded and, where a playbook applies, run.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hdr_responder.actions.registry import registry
from hdr_responder.documents.catalogue import load
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.engine.simulation import World, simulate
from hdr_responder.settings import load_settings
from tests.bench.bodies import recorded
from tests.bench.figures import Figure, Sense

ROOT = Path(__file__).parents[2]
PER_SECOND = 2_000
BEGIN = datetime(2026, 11, 24, tzinfo=UTC)
APART = timedelta(seconds=40)
ENDS = 0.1
"""Share of the deliveries about a firing group that tell that it is over."""
_ALERTS = ("HdrServiceDown", "HdrHighErrorRate", "HdrCpuHigh", "HdrQueueDeep", "HdrPodMemoryHigh", "HdrDiskHigh")
_SERVICES = ("neural-hdr", "nano-swarm-hdr", "omniscient-hdr", "reality-hdr", "quantum-hdr", "dream-hdr", "dashboard")


async def measure(*, quick: bool) -> list[Figure]:
    """Replay the same deliveries a few times; the median."""
    settings = load_settings(environ={"HDR_CONFIG__DIR": str(ROOT / "config")})
    world = World(settings=settings, documents=load(ROOT / "config", ROOT / "playbooks", registry()))
    deliveries = list(made(500 if quick else 10_000))
    speeds = []
    for _ in range(1 if quick else 5):
        begun = time.perf_counter()
        found = await simulate(world, deliveries)
        speeds.append(len(deliveries) / (time.perf_counter() - begun))
    detail = {
        "deliveries": len(deliveries),
        "incidents": len(found.incidents),
        "episodes": sum(i.episodes for i in found.incidents),
        "runs": sum(found.runs.values()),
        "each": [round(speed) for speed in speeds],
    }
    speed = statistics.median(speeds)
    return [
        Figure(
            name="simulated deliveries", value=speed, limit=PER_SECOND, sense=Sense.AT_LEAST, unit="/s", detail=detail
        )
    ]


@dataclass
class _Group:
    """One group of alerts and since when it fires."""

    labels: dict[str, str]
    size: int
    since: datetime | None = None


def made(count: int) -> Iterator[Delivery]:
    """Deliveries in the order of their time, the same in every measurement."""
    chance = random.Random(7)
    sample: dict[str, Any] = json.loads(recorded("01-service-down-firing"))
    groups = [
        _Group({"alertname": name, "service": service, "deployment": service}, chance.randint(1, 5))
        for name in _ALERTS
        for service in _SERVICES
    ]
    for number in range(count):
        at, group = BEGIN + number * APART, chance.choice(groups)
        over = group.since is not None and chance.random() < ENDS
        group.since = group.since or at - timedelta(seconds=30)
        yield Delivery(id=number + 1, source="default", received_at=at, body=_body(sample, group, at if over else None))
        group.since = None if over else group.since


def _body(sample: dict[str, Any], group: _Group, end: datetime | None) -> bytes:
    assert group.since is not None
    status = "resolved" if end else "firing"
    alerts = [
        sample["alerts"][0]
        | {
            "labels": sample["alerts"][0]["labels"] | group.labels | {"pod": f"pod-{number}"},
            "status": status,
            "startsAt": group.since.isoformat(),
            "endsAt": end.isoformat() if end else "0001-01-01T00:00:00Z",
            "fingerprint": f"{group.labels['alertname']}-{group.labels['service']}-{number}"[:60],
        }
        for number in range(group.size)
    ]
    return json.dumps(sample | {"alerts": alerts, "status": status}).encode()
