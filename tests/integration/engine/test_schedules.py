"""The clock as a trigger: every occurrence once, with an incident as its record, whatever replicas and downtime."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.adapters.slack.card import card
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.domain.ports.records import PageRequest
from hdr_responder.errors import ConflictError
from hdr_responder.records.postmortem import render
from hdr_responder.records.views import incident_view
from hdr_responder.settings import Settings
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

LOOK = [{"id": "look", "action": "cell.look", "with": {"cell": "a"}}]
SET = [{"id": "change", "action": "cell.set", "with": {"cell": "a"}}]
HOUR = 3600


def duty(name: str = "look-at-seven", *, cron: str = "0 7 * * *", **changes: Any) -> dict[str, Any]:
    """A playbook that reads a cell at 07:00 UTC; the workshop's clock begins at 06:00."""
    written = playbook(
        metadata={"name": name, "summary": "Look at the cell."}, schedule={"cron": cron}, params={}, steps=LOOK
    )
    for key in ("match", "priorities", "verify"):
        del written[key]
    return written | changes


def mutating(**changes: Any) -> dict[str, Any]:
    return duty(steps=SET, verify={"within": "1m", "all": [{"cell.is": {"cell": "a"}}]}, **changes)


async def tick(workshop: Workshop, seconds: float = 0) -> None:
    """Let the time pass and the clock's work be done: what is due starts, runs and is settled."""
    workshop.clock.advance(seconds)
    for _ in range(2):
        await workshop.engine.schedules.tick()
        await workshop.settle()


async def runs(workshop: Workshop) -> list[dict[str, Any]]:
    return await workshop.rows("select * from runs order by created_at, id")


async def opened(open_cells: OpenWorkshop, *documents: dict[str, Any], **options: Any) -> Workshop:
    """A workshop that has seen its schedules at 06:00."""
    workshop = await open_cells(*documents, **options)
    await tick(workshop)
    assert await runs(workshop) == []
    return workshop


async def test_it_looks_after_a_service_in_a_cluster(open_cells: OpenWorkshop) -> None:
    about = {"cron": "0 7 * * *", "service": "redis", "cluster": "test"}
    reads = [{"id": "look", "action": "cell.look", "with": {"cell": "${service.name}"}}]
    workshop = await opened(open_cells, duty(schedule=about, steps=reads))
    await tick(workshop, HOUR)
    (run,) = await runs(workshop)
    (step,) = await workshop.rows("select parameters from steps")
    assert (run["status"], json.loads(step["parameters"])["cell"]) == ("completed", "redis")
    incident = await workshop.incident()
    assert (incident["service"], incident["cluster"]) == ("redis", "test")


async def test_it_runs_at_its_time_and_the_incident_is_its_record(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty())
    await tick(workshop, HOUR - 1)
    assert await runs(workshop) == []
    await tick(workshop, 1)
    (run,) = await runs(workshop)
    assert (run["status"], run["trigger"], run["requested_by"]) == ("completed", "schedule", None)
    incident = await workshop.incident()
    assert (incident["title"], incident["problem"], incident["service"]) == ("Look at the cell.", "look-at-seven", "")
    assert (incident["priority"], incident["status"], incident["resolved_by"]) == ("P4", "resolved", None)
    assert incident["resolved_at"] == workshop.clock.now()
    told = await workshop.timeline()
    assert [told[0], told[-1]] == ["opened", "resolved"]
    assert await workshop.pages() == 0


async def test_each_occurrence_is_an_incident_of_its_own(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty())
    for hours in (1, 24, 24):
        await tick(workshop, hours * HOUR)
    assert [r["incident_id"] for r in await runs(workshop)] == [1, 2, 3]
    assert [r["status"] for r in await workshop.rows("select status from incidents")] == ["resolved"] * 3


async def test_many_replicas_start_it_once(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty("one"), duty("two"), duty("three"))
    replicas = [workshop, *(workshop.peer() for _ in range(4))]
    for day in range(1, 4):
        workshop.clock.advance(HOUR if day == 1 else 24 * HOUR)
        await asyncio.gather(*(r.engine.schedules.tick() for r in replicas for _ in range(2)))
        await workshop.settle()
        await asyncio.gather(*(r.engine.schedules.tick() for r in replicas))
        assert sorted(r["playbook"] for r in await runs(workshop)) == sorted(["one", "two", "three"] * day)
    assert {r["status"] for r in await workshop.rows("select status from incidents")} == {"resolved"}


async def test_replicas_with_different_documents_do_not_start_it_twice(open_cells: OpenWorkshop) -> None:
    """A rolling upgrade changes the time zone, and 07:00 UTC is 08:00 in Berlin: both versions are due at once."""
    workshop = await opened(open_cells, duty())
    newer = workshop.options["playbooks"] / "0.yaml"
    newer.write_text(newer.read_text().replace('"0 7 * * *"', '"0 8 * * *", "time_zone": "Europe/Berlin"'))
    peer = workshop.peer()
    await peer.engine.schedules.tick()
    workshop.clock.advance(HOUR)
    await asyncio.gather(workshop.engine.schedules.tick(), peer.engine.schedules.tick())
    assert len(await runs(workshop)) == 1


async def test_what_was_missed_for_minutes_is_started_once(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty(cron="*/20 * * * *"))
    workshop.clock.advance(59 * 60)
    await tick(workshop.peer())
    assert len(await runs(workshop)) == 1
    await tick(workshop, 60)
    assert len(await runs(workshop)) == 2


async def test_what_was_missed_for_hours_is_told_and_left_out(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty())
    workshop.clock.advance(3 * HOUR)
    await tick(workshop.peer())
    assert await runs(workshop) == []
    (told,) = await workshop.told("not_planned")
    assert "was due at 2026-11-24 07:00 UTC and nobody was there for 2h" in told
    assert (await workshop.incident())["status"] == "resolved"
    await tick(workshop, 22 * HOUR)
    (run,) = await runs(workshop)
    assert run["incident_id"] == 2


async def test_of_many_that_were_missed_one_that_is_recent_is_started(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty(cron="*/20 * * * *"))
    workshop.clock.advance(24 * HOUR + 60)
    await tick(workshop.peer())
    assert len(await runs(workshop)) == 1
    assert len(await workshop.told("not_planned")) == 1
    assert (await workshop.incident())["status"] == "resolved"


async def test_one_that_does_not_end_well_stays_open_and_goes_to_a_person(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty(steps=[SET[0] | {"with": {"cell": "missing"}}], verify=_is_two("a")))
    await tick(workshop, HOUR)
    (run,) = await runs(workshop)
    assert run["status"] == "failed"
    assert (await workshop.incident())["status"] == "triggered"
    assert len(await workshop.told("escalated")) == 1


def _is_two(cell: str) -> dict[str, Any]:
    return {"within": "1m", "all": [{"cell.is": {"cell": cell}}]}


async def test_one_that_finds_something_for_people_stays_open_until_the_next_finds_nothing(
    open_cells: OpenWorkshop,
) -> None:
    call = {"id": "tell", "when": "steps.look.value == 1", "action": "incident.escalate", "with": {"reason": "it is 1"}}
    workshop = await opened(open_cells, duty(steps=[*LOOK, call]))
    await tick(workshop, HOUR)
    (run,) = await runs(workshop)
    assert (run["status"], (await workshop.incident())["status"]) == ("completed", "triggered")
    assert await workshop.told("escalated") == ["Escalated: it is 1"]
    await workshop.cells.set("a", 2)
    await tick(workshop, 24 * HOUR)
    assert [r["status"] for r in await workshop.rows("select status from incidents")] == ["resolved"]


async def test_the_next_one_that_ends_well_resolves_what_the_last_one_left_open(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty(steps=[SET[0] | {"with": {"cell": "later"}}], verify=_is_two("later")))
    await tick(workshop, HOUR)
    await workshop.engine.operations.acknowledge(1, by="ann")
    await workshop.cells.prepare("later")
    await tick(workshop, 24 * HOUR)
    assert [r["status"] for r in await runs(workshop)] == ["failed", "completed"]
    (incident,) = await workshop.rows("select status, episode, acknowledged_by from incidents")
    assert incident == {"status": "resolved", "episode": 1, "acknowledged_by": "ann"}


async def test_it_is_not_started_while_the_one_before_goes_on(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, mutating(guards={"mode": "approve", "approval": {"expires": "3d"}}))
    await tick(workshop, HOUR)
    await tick(workshop, 24 * HOUR)
    (run,) = await runs(workshop)
    assert run["status"] == "awaiting_approval"
    (told,) = await workshop.told("not_planned")
    assert told == "Not started at 2026-11-25 07:00 UTC: the run before it has not ended"
    await workshop.engine.operations.approve(run["id"], by="ann")
    await tick(workshop)
    await tick(workshop, 24 * HOUR)
    assert [r["status"] for r in await runs(workshop)] == ["completed", "awaiting_approval"]


async def test_what_is_denied_is_settled(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, mutating(guards={"mode": "approve"}))
    await tick(workshop, HOUR)
    (run,) = await runs(workshop)
    await workshop.engine.operations.deny(run["id"], by="ann")
    await tick(workshop, 10)
    assert (await workshop.incident())["status"] == "resolved"


async def test_guards_are_asked_as_ever(open_cells: OpenWorkshop) -> None:
    """Paused, the run waits; an hour later it expires and goes to a person."""
    workshop = await opened(open_cells, mutating())
    await workshop.engine.operations.pause(by="ann", reason="database work")
    await tick(workshop, HOUR)
    (run,) = await runs(workshop)
    assert (run["status"], run["reason"]) == ("held", "pause: automation is paused by ann: database work")
    await workshop.engine.operations.resume(by="ann")
    await tick(workshop)
    (run,) = await runs(workshop)
    assert run["status"] == "completed"
    assert await workshop.cells.effects() == ["a"]


async def test_a_freeze_holds_it_and_maintenance_does_not(open_cells: OpenWorkshop) -> None:
    maintenance = {"name": "night", "schedule": "0 6 * * *", "lasts": "4h", "maintenance": True}
    freeze = {"name": "f", "reason": "r", "from": "2026-11-25T00:00", "until": "2026-12-01T00:00", "allows": "nothing"}
    workshop = await opened(open_cells, mutating(), calendar={"windows": [maintenance], "freezes": [freeze]})
    await tick(workshop, HOUR)
    assert await workshop.cells.effects() == ["a"]
    await tick(workshop, 24 * HOUR)
    assert [r["status"] for r in await runs(workshop)] == ["completed", "held"]


async def test_only_observing_is_settled_too(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, mutating(guards={"mode": "observe"}))
    await tick(workshop, HOUR)
    (run,) = await runs(workshop)
    assert run["status"] == "observed"
    assert (await workshop.incident())["status"] == "resolved"
    assert await workshop.cells.effects() == []


async def test_what_cannot_be_planned_is_told(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty(steps=[LOOK[0] | {"with": {"cell": "${incident.service}"}}]), duty("two"))
    await tick(workshop, HOUR)
    (told,) = await workshop.told("not_planned")
    assert "Cannot be planned" in told
    assert [r["playbook"] for r in await runs(workshop)] == ["two"]
    statuses = await workshop.rows("select problem, status from incidents order by problem")
    assert statuses == [{"problem": "look-at-seven", "status": "triggered"}, {"problem": "two", "status": "resolved"}]


async def test_a_defect_in_one_keeps_no_other_from_starting(
    open_cells: OpenWorkshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = await opened(open_cells, duty("one"), duty("two"))
    starter = workshop.engine.starter
    begin = starter.begin

    async def broken(told: Any, playbook: Any) -> Any:
        if playbook.name == "one":
            raise KeyError("a defect")
        return await begin(told, playbook)

    monkeypatch.setattr(starter, "begin", broken)
    await tick(workshop, HOUR)
    assert [r["playbook"] for r in await runs(workshop)] == ["two"]
    monkeypatch.undo()
    await tick(workshop, 10)
    assert [r["playbook"] for r in await runs(workshop)] == ["two", "one"]


async def test_other_environments_do_not_start_it(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty(environments=["production"]), settings=Settings(environment="staging"))
    await tick(workshop, 24 * HOUR)
    assert await runs(workshop) == []


async def test_the_calendars_zone_and_summer_time_count(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty(cron="0 9 * * *"), calendar={"time_zone": "Europe/Berlin"})
    (row,) = await workshop.rows("select time_zone, next_at from schedules")
    assert row["time_zone"] == "Europe/Berlin"
    assert row["next_at"] - workshop.clock.now() == timedelta(hours=2)


async def test_due_times_that_no_document_names_are_forgotten(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty())
    document = workshop.options["playbooks"] / "0.yaml"
    document.write_text(document.read_text().replace("0 7 * * *", "0 8 * * *"))
    renewed = workshop.peer()
    await renewed.engine.schedules.tick()
    assert [r["cron"] for r in await workshop.rows("select cron from schedules order by cron")] == [
        "0 7 * * *",
        "0 8 * * *",
    ]
    for _ in range(32):
        workshop.clock.advance(24 * HOUR)
        await renewed.engine.schedules.tick()
    assert [r["cron"] for r in await workshop.rows("select cron from schedules")] == ["0 8 * * *"]


async def test_its_record_can_be_shown(open_cells: OpenWorkshop) -> None:
    """An incident without alerts: the card, the record and the post-mortem are complete."""
    workshop = await opened(open_cells, duty())
    await tick(workshop, HOUR)
    record = await PostgresRecords(workshop.pool).incident(1)
    assert record.alerts == ()
    timeline = await PostgresRecords(workshop.pool).timeline(1, PageRequest(limit=100))
    assert "look-at-seven" in render(record, timeline.items)
    assert incident_view(record).alerts == ()
    shown = json.dumps(card(record).blocks)
    assert "P4 INC-1: Look at the cell." in shown
    assert "none in particular" in shown
    assert any("P4 INC-1: Look at the cell." in line for line in workshop.console)


async def test_people_start_only_what_is_for_them(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, duty("by-the-clock"), duty("by-hand", manual=True), playbook())
    await workshop.fire("a")
    await workshop.intake()
    with pytest.raises(
        ConflictError, match="people cannot start by-the-clock: it has no match and does not say manual"
    ):
        await workshop.engine.operations.run_playbook(1, "by-the-clock", by="ann")
    run = await workshop.engine.operations.run_playbook(1, "by-hand", by="ann")
    assert run.requested_by == "ann"
