"""A simulation says what the engine then does: the same deliveries through both, the engine on a real database.

Time moves in steps of half a minute in the engine, so everything in these documents is due at such a time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from hdr_responder.domain.alerts import AlertEvent, Occurrence, Presence
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.engine.simulation import SETTLES, Assumption, Simulated, World, simulate
from hdr_responder.settings import Settings
from tests.integration.engine.alerts import alert, delivery
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import NOW, Answers, Workshop

STEP = timedelta(seconds=30)
STEPS = 120
SERVICES = {"a": "neural-hdr", "b": "reality-hdr"}
GUARDS = {
    "cooldown": "5m",
    "budget": {"runs": 3, "per": "30m"},
    "breaker": {"after": 2, "pause": "10m", "person_after": 3},
    "autonomy": {"floor": "0%"},
}
RUNS = """
select incident_id, playbook, mode, status, verification, created_at, started_at, ended_at
from runs order by incident_id, created_at, id
"""
REFUSALS = """
select incident_id, at, jsonb_object_keys(detail -> 'guards') as guard
from timeline where kind in ('guard_refused', 'approval_asked')
"""
INCIDENTS = """
select title, priority, status, episode, opened_at, resolved_at, alerts_total from incidents order by id
"""


class AsRecorded(Answers):
    """What a simulation takes Alertmanager to say."""

    async def ask(self, alert: AlertEvent | Occurrence) -> Presence:
        return Presence.UNKNOWN if isinstance(alert, AlertEvent) else Presence(alert.status)


@dataclass
class _Firing:
    since: datetime
    severity: str


def recording(seed: int) -> list[Delivery]:
    """An hour in which alerts of two services come, repeat, get worse and go, one change at a time."""
    chance = random.Random(seed)
    firing: dict[tuple[str, str], _Firing] = {}
    found: list[Delivery] = []
    for number in range(1, STEPS):
        if chance.random() < 0.5:
            continue
        at = NOW + number * STEP
        key = (chance.choice(["HdrCell", "HdrCell", "HdrServiceDown", "HdrOther"]), chance.choice("ab"))
        was = firing.get(key)
        is_over = was is not None and chance.random() < 0.4
        now = firing.setdefault(key, _Firing(at, chance.choice(["critical", "warning"])))
        name, cell = key
        told = alert(
            name,
            starts_at=now.since,
            ends_at=at if is_over else None,
            service=SERVICES[cell],
            severity=now.severity,
            cell=cell,
        )
        if is_over:
            del firing[key]
        found.append(Delivery(id=len(found) + 1, source="default", received_at=at, body=delivery([told])))
    return found


async def replayed(workshop: Workshop, deliveries: Sequence[Delivery]) -> None:
    """Let the engine live through the deliveries and the hour after them."""
    waiting = list(deliveries)
    end = waiting[-1].received_at + SETTLES
    while workshop.clock.now() < end:
        workshop.clock.advance(STEP.total_seconds())
        await workshop.settle()
        await workshop.sweep()
        await workshop.settle()
        while waiting and waiting[0].received_at <= workshop.clock.now():
            await workshop.receive_body(waiting.pop(0).body)
            await workshop.intake()
            await workshop.settle()


async def lived(workshop: Workshop) -> dict[str, list[Any]]:
    """What the engine's records tell."""
    runs = [tuple(r.values()) for r in await workshop.rows(RUNS)]
    pages = await workshop.rows("select incident_id, created_at from notifications where kind = 'page' order by id")
    return {
        "incidents": [tuple(r.values()) for r in await workshop.rows(INCIDENTS)],
        "pages": sorted((p["incident_id"], p["created_at"]) for p in pages),
        "runs": runs,
        "refusals": sorted((r["incident_id"], r["at"], r["guard"]) for r in await workshop.rows(REFUSALS)),
    }


def foretold(found: Simulated) -> dict[str, list[Any]]:
    """The same of a simulation."""
    numbered = list(enumerate(found.incidents, start=1))
    return {
        "incidents": [
            (i.title, i.priority, i.status, i.episodes, i.opened_at, i.resolved_at, i.alerts_total)
            for i in found.incidents
        ],
        "pages": sorted((n, p.at) for n, i in numbered for p in i.pages),
        "runs": list(_runs(found)),
        "refusals": sorted((n, v.at, v.guard) for n, i in numbered for r in i.runs for v in r.refusals),
    }


def _runs(found: Simulated) -> Iterator[tuple[Any, ...]]:
    for number, incident in enumerate(found.incidents, start=1):
        for r in incident.runs:
            times = (r.planned_at, r.started_at, r.ended_at)
            yield (number, r.playbook, r.mode, r.status, r.verification, *times)


@pytest.mark.parametrize("assume", ["verified", "failed"])
@pytest.mark.parametrize("seed", range(3))
async def test_the_engine_does_what_the_simulation_says(
    open_cells: OpenWorkshop, assume: Assumption, seed: int
) -> None:
    watched = {"within": "2m", "hold": "30s", "all": [{"cell.is": {"cell": "c", "value": 2}}]}
    workshop = await open_cells(playbook(verify=watched, guards=GUARDS, undo="never"), answers=AsRecorded())
    await workshop.cells.set("c", 2 if assume == "verified" else 1)
    deliveries = recording(seed)
    await replayed(workshop, deliveries)
    world = World(settings=Settings(), documents=workshop.documents, assume=assume)
    found = foretold(await simulate(world, deliveries))
    happened = await lived(workshop)
    for what in ("incidents", "runs", "refusals", "pages"):
        assert found[what] == happened[what], what
    assert happened["runs"], "a recording without runs proves nothing"
