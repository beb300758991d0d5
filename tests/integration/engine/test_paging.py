"""Who is woken when: P1 at once, P2 when it is not remedied in time, unanswered once more, and nobody twice for one
episode (flow 7; manual P01-P04, P10)."""

from __future__ import annotations

from typing import Any

from tests.integration.engine.alerts import alert, delivery
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

P1, P2, P3, P4 = (
    {"name": "HdrServiceDown"},
    {"name": "HdrX", "severity": "critical"},
    {"name": "HdrX", "severity": "warning"},
    {"name": "HdrX", "severity": "info"},
)


async def fire(workshop: Workshop, **more: Any) -> dict[str, Any]:
    fired = alert(starts_at=workshop.clock.now(), **more)
    await workshop.receive_body(delivery([fired]))
    await workshop.intake()
    await workshop.settle()
    return fired


async def after(workshop: Workshop, minutes: float) -> None:
    workshop.clock.advance(minutes * 60)
    await workshop.settle()


async def test_p1_pages_at_once_and_once_more_when_nobody_answers(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, **P1)
    assert await workshop.pages() == 1
    await after(workshop, 4.9)
    assert await workshop.pages() == 1
    await after(workshop, 0.2)
    assert await workshop.pages() == 2
    assert any("nobody has acknowledged" in t for t in await workshop.told("escalated"))
    await after(workshop, 600)
    assert await workshop.pages() == 2


async def test_an_acknowledgement_stops_the_escalation(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, **P1)
    await workshop.engine.operations.acknowledge(1, by="ann")
    await after(workshop, 60)
    assert await workshop.pages() == 1
    assert await workshop.told("escalated") == []


async def test_p2_pages_after_five_minutes(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, **P2)
    await after(workshop, 4.9)
    assert await workshop.pages() == 0
    await after(workshop, 0.2)
    assert await workshop.pages() == 1


async def test_p2_does_not_page_when_automation_has_proved_that_it_helped(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, cell="a")
    assert (await workshop.run())["verification"] == "verified"
    await after(workshop, 14)
    assert await workshop.pages() == 0


async def test_what_was_verified_and_fires_on_goes_to_a_person_after_all(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, cell="a")
    await after(workshop, 16)
    assert await workshop.pages() == 1
    assert "still fire" in await told(workshop, "escalated")
    await after(workshop, 120)
    assert await workshop.pages() == 1, "once per episode"


async def test_what_was_verified_and_ended_calls_nobody(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    fired = await fire(workshop, cell="a")
    workshop.clock.advance(60)
    over = fired | {"status": "resolved", "endsAt": workshop.clock.now().isoformat()}
    await workshop.receive_body(delivery([over]))
    await workshop.intake()
    await after(workshop, 120)
    assert await workshop.pages() == 0


async def told(workshop: Workshop, kind: str) -> str:
    rows = await workshop.rows("select summary from timeline where kind = $1 order by id", kind)
    return " / ".join(r["summary"] for r in rows)


async def test_p2_pages_at_once_when_automation_did_not_help(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify={"within": "1m", "all": [{"cell.is": {"cell": "b"}}]}))
    await fire(workshop, cell="a")
    await workshop.pass_time(70)
    assert await workshop.pages() == 1
    await after(workshop, 10)
    assert await workshop.pages() == 1, "once per episode"


async def test_p2_that_somebody_has_taken_note_of_does_not_page_later(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, **P2)
    await workshop.engine.operations.acknowledge(1, by="ann")
    await after(workshop, 120)
    assert await workshop.pages() == 0


async def test_p2_that_ended_in_time_does_not_page(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    fired = await fire(workshop, **P2)
    workshop.clock.advance(60)
    over = fired | {"status": "resolved", "endsAt": workshop.clock.now().isoformat()}
    await workshop.receive_body(delivery([over]))
    await workshop.intake()
    await after(workshop, 120)
    assert await workshop.pages() == 0


async def test_p3_and_p4_never_page(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, **P3)
    await fire(workshop, **P4, service="redis")
    await after(workshop, 60 * 24 * 3)
    assert await workshop.pages() == 0
    assert len(await workshop.told("escalated")) == 1, "P3 is told in the channel after four hours"


async def test_a_priority_that_rises_pages_by_the_new_one(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, **P3)
    await fire(workshop, **P2)
    await after(workshop, 5.1)
    assert await workshop.pages() == 1


async def test_a_new_episode_pages_again(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    for _ in range(2):
        fired = await fire(workshop, **P1)
        workshop.clock.advance(60)
        over = fired | {"status": "resolved", "endsAt": workshop.clock.now().isoformat()}
        await workshop.receive_body(delivery([over]))
        await workshop.intake()
        workshop.clock.advance(60)
    assert await workshop.pages() == 2
    rows = await workshop.rows("select payload ->> 'episode' as e from notifications where kind = 'page' order by id")
    assert [r["e"] for r in rows] == ["1", "2"]


async def test_due_times_survive_a_restart_without_jobs(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, **P2)
    await workshop.pool.execute("delete from pgqueuer")
    other = workshop.peer()
    workshop.clock.advance(301)
    await other.sweep()
    await other.settle()
    assert await workshop.pages() == 1


async def test_two_replicas_page_once(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, **P2)
    workshop.clock.advance(301)
    other = workshop.peer()
    await workshop.engine.deadlines.process()
    await other.engine.deadlines.process()
    assert await workshop.pages() == 1


async def test_a_storm_of_pages_is_replaced_by_one_that_stands_for_them(open_cells: OpenWorkshop) -> None:
    """After N pages a minute one umbrella page replaces them; each incident says so."""
    workshop = await open_cells()
    now = workshop.clock.now()
    fired = [alert("HdrX", starts_at=now, service=f"unknown-{n}", severity="critical") for n in range(299)]
    fired.append(alert("HdrServiceDown", starts_at=now, service="neural-hdr"))
    await workshop.receive_body(delivery(fired))
    await workshop.intake()
    workshop.clock.advance(305)
    other = workshop.peer()
    for engine in (workshop.engine, other.engine, workshop.engine):
        await engine.deadlines.process()
    texts = await workshop.rows("select payload ->> 'text' as t from notifications where kind = 'page' order by id")
    assert len(texts) == 1 + 10 + 1
    assert [t["t"] for t in texts if t["t"].startswith("Page storm")] == [texts[11]["t"]]
    assert "at least 89 more incidents" in texts[11]["t"]
    left_out = [t for t in await workshop.told("problem") if "Not paged by itself" in t]
    assert len(left_out) == 299 - 11 + 1
    workshop.clock.advance(60)
    await workshop.receive_body(delivery([alert("HdrServiceDown", starts_at=workshop.clock.now(), service="redis")]))
    await workshop.intake()
    assert await workshop.pages() == 13, "the next minute has pages of its own"


async def test_acknowledging_what_automation_has_mitigated_is_no_error(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, cell="a")
    incident = await workshop.engine.operations.acknowledge(1, by="ann")
    assert (incident.status, incident.acknowledged_by) == ("mitigated", "ann")
