"""The recorded deliveries always end in the same incidents: in order, twice, and in random order."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import DELIVERIES, Workshop

ALL = sorted(p.name[:2] for p in DELIVERIES.glob("*.json"))

_OUTLINE = """
select i.service, i.problem, i.priority, i.priority_rule, i.status, i.alerts_total, i.alerts_firing, i.lower_bound,
    i.started_at, i.resolved_at,
    (select array_agg((a.fingerprint, a.status, a.starts_at, a.ends_at)::text
                      order by a.fingerprint, a.starts_at) from alerts a where a.incident_id = i.id) as alerts
from incidents i order by i.service, i.problem, i.started_at
"""


async def outline(workshop: Workshop) -> list[dict[str, Any]]:
    return await workshop.rows(_OUTLINE)


async def play(workshop: Workshop, order: list[str], *, one_by_one: bool) -> list[dict[str, Any]]:
    for name in order:
        await workshop.receive(name)
        if one_by_one:
            await workshop.intake()
    await workshop.intake()
    return await outline(workshop)


EXPECTED = [
    ("neural-hdr", "HdrServiceDown", "triggered", 2, 1),
    ("nano-swarm-hdr", "HdrPodMemoryHigh", "triggered", 20, 20),
    ("omniscient-hdr", "HdrHighErrorRate", "triggered", 2, 1),
    ("postgresql", "HdrPostgresBlocked", "resolved", 1, 0),
    ("redis", "HdrRedisEvictions", "triggered", 1, 1),
]


async def test_in_order(workshop: Workshop) -> None:
    found = await play(workshop, ALL, one_by_one=True)
    seen = [(r["service"], r["problem"], r["status"], r["alerts_total"], r["alerts_firing"]) for r in found]
    assert sorted(seen) == sorted(EXPECTED)
    assert next(r for r in found if r["service"] == "nano-swarm-hdr")["lower_bound"]


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("seed", range(6))
async def test_doubled_and_shuffled(open_with: OpenWorkshop, seed: int, *, one_by_one: bool) -> None:
    expected = await play(await open_with(), ALL, one_by_one=True)
    order = ALL * (1 + seed % 2)
    random.Random(seed).shuffle(order)
    assert await play(await open_with(), order, one_by_one=one_by_one) == expected


async def test_twice_in_order(open_with: OpenWorkshop) -> None:
    expected = await play(await open_with(), ALL, one_by_one=True)
    assert await play(await open_with(), ALL + ALL, one_by_one=True) == expected
