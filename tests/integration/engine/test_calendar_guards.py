"""What the calendar's guards let pass, and how long a run waits for a window (that they block is in `test_guards`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.domain.alerts import Presence
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

NIGHT = {"name": "night", "schedule": "0 5 * * *", "lasts": "3h", "maintenance": True}
FREEZE = {"name": "year-end", "reason": "holidays", "from": "2026-11-20T00:00", "until": "2027-01-02T00:00"}
LOOK = [{"id": "look", "action": "cell.look", "with": {"cell": "a"}}]


async def fired(open_cells: OpenWorkshop, *documents: dict[str, Any], **options: Any) -> Workshop:
    workshop = await open_cells(*documents, **options)
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    return workshop


@pytest.mark.parametrize("calendar", [{"windows": [NIGHT]}, {"freezes": [FREEZE | {"allows": "nothing"}]}])
async def test_what_only_reads_goes_on(open_cells: OpenWorkshop, calendar: dict[str, Any]) -> None:
    workshop = await fired(open_cells, playbook(steps=LOOK, params={}, verify=None), calendar=calendar)
    assert (await workshop.run())["status"] == "completed"


async def test_a_person_may_start_a_run_in_a_maintenance_window(open_cells: OpenWorkshop) -> None:
    workshop = await fired(open_cells, calendar={"windows": [NIGHT]})
    assert await workshop.cells.effects() == []
    await workshop.engine.operations.run_playbook(1, playbook()["metadata"]["name"], by="ann")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_a_freeze_binds_a_person_too_until_it_is_approved(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(calendar={"freezes": [FREEZE]})
    await workshop.fire("a")
    await workshop.intake()
    run = await workshop.engine.operations.run_playbook(1, playbook()["metadata"]["name"], by="ann")
    await workshop.settle()
    assert await workshop.cells.effects() == []
    await workshop.engine.operations.approve(run.id, by="bob")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


@pytest.mark.parametrize(
    "freeze", [{"services": ["redis"]}, {"environments": ["production"]}, {"until": "2026-11-24T06:00"}]
)
async def test_a_freeze_elsewhere_or_over_is_none(open_cells: OpenWorkshop, freeze: dict[str, Any]) -> None:
    workshop = await fired(open_cells, calendar={"freezes": [FREEZE | freeze]})
    assert await workshop.cells.effects() == ["a"]


async def test_maintenance_of_another_service_is_none(open_cells: OpenWorkshop) -> None:
    workshop = await fired(open_cells, calendar={"windows": [NIGHT | {"services": ["redis"]}]})
    assert await workshop.cells.effects() == ["a"]


def weekly(**more: Any) -> dict[str, Any]:
    return {"windows": [{"name": "weekly", "schedule": "0 3 * * SUN", "lasts": "2h"} | more]}


async def test_a_run_waits_for_its_window_longer_than_for_anything_else(open_cells: OpenWorkshop) -> None:
    """The window opens in five days: nobody is asked before, and it starts by itself when it opens."""
    workshop = await fired(open_cells, playbook(guards={"window": "weekly", "mode": "auto"}), calendar=weekly())
    workshop.answers.presence = Presence.FIRING
    for _ in range(4):
        workshop.clock.advance(86_400)
        await workshop.sweep()
        await workshop.settle()
    assert (await workshop.run())["status"] == "held"
    assert not [t for t in await workshop.told("escalated") if "set-cell" in t]
    workshop.clock.advance(21 * 3600)
    await workshop.sweep()
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_an_hour_after_the_opening_it_goes_to_a_person(open_cells: OpenWorkshop) -> None:
    workshop = await fired(open_cells, playbook(guards={"window": "weekly", "mode": "auto"}), calendar=weekly())
    opening = workshop.clock.now() + timedelta(days=4, hours=21)
    assert (await workshop.run())["expires_at"] == opening + timedelta(hours=1)
    await workshop.engine.operations.pause(by="ann")
    workshop.clock.advance(4 * 86_400 + 21 * 3600)
    await workshop.sweep()
    await workshop.settle()
    assert (await workshop.run())["status"] == "held"
    workshop.clock.advance(3600)
    await workshop.sweep()
    await workshop.settle()
    assert (await workshop.run())["status"] == "expired"
    assert len([t for t in await workshop.told("escalated") if "set-cell was not started in time" in t]) == 1


async def test_a_window_that_the_calendar_lost_refuses(open_cells: OpenWorkshop) -> None:
    """The run was planned with the document that named it."""
    workshop = await fired(open_cells, playbook(guards={"window": "weekly", "mode": "auto"}), calendar=weekly())
    (row,) = await workshop.rows("select id from runs")
    calendar = workshop.options["config"] / "calendar.yaml"
    calendar.write_text(calendar.read_text().replace("weekly", "other"))
    for document in workshop.options["playbooks"].iterdir():
        document.write_text(document.read_text().replace("weekly", "other"))
    restarted = workshop.peer()
    await restarted.engine.starter.start_run(row["id"])
    assert "the calendar has no window weekly any more" in (await workshop.run())["reason"]
