"""What did not help is not repeated without end: automation rests, longer each time; then a person decides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.domain.alerts import Presence
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

WATCHED = {"within": "1m", "all": [{"cell.is": {"cell": "c"}}]}
"""Cell c decides whether a run helped."""


def breaking(**rule: Any) -> dict[str, Any]:
    breaker = {"after": 1, "pause": "10m", "person_after": 3} | rule
    return playbook(verify=WATCHED, guards={"breaker": breaker, "autonomy": {"floor": "0%"}})


async def fires(workshop: Workshop) -> None:
    """The alert fires; an incident that was over is reopened for it."""
    workshop.clock.advance(60)
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()


async def is_over(workshop: Workshop) -> None:
    workshop.clock.advance(60)
    await workshop.fire("a", ends_at=workshop.clock.now(), starts_at=workshop.clock.now())
    await workshop.intake()
    await workshop.settle()


async def comes_back(workshop: Workshop) -> None:
    await is_over(workshop)
    await fires(workshop)


async def newest(workshop: Workshop) -> dict[str, Any]:
    (row,) = await workshop.rows("select * from runs order by created_at desc limit 1")
    return row


async def does_not_help(workshop: Workshop) -> None:
    """The run under way comes to its end."""
    assert (await newest(workshop))["status"] == "verifying"
    await workshop.pass_time(65, step=5)
    assert (await newest(workshop))["verification"] == "failed"


async def test_the_rest_grows_until_a_person_decides_and_ends_with_what_helps(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(breaking())
    workshop.answers.presence = Presence.FIRING
    await fires(workshop)
    await does_not_help(workshop)
    for minutes in (10, 20):
        ended = (await newest(workshop))["ended_at"]
        await comes_back(workshop)
        run = await newest(workshop)
        assert run["status"] == "held"
        assert run["ask_again_at"] == ended + timedelta(minutes=minutes), "counted from the last run's end"
        workshop.clock.advance((run["ask_again_at"] - workshop.clock.now()).total_seconds() - 1)
        await workshop.settle()
        assert (await newest(workshop))["status"] == "held"
        workshop.clock.advance(1)
        await workshop.settle()
        await does_not_help(workshop)
    pages = await workshop.pages()
    await comes_back(workshop)
    run = await newest(workshop)
    assert run["status"] == "awaiting_approval"
    assert "the last 3 runs on cell:a failed or did not help: only a person's word starts another" in run["reason"]
    assert any("not repeated by itself any more" in t for t in await workshop.told("escalated"))
    assert await workshop.pages() > pages
    await workshop.cells.set("c", 2)
    await workshop.engine.operations.approve(run["id"], by="ann")
    await workshop.settle()
    assert (await newest(workshop))["verification"] == "verified"
    await comes_back(workshop)
    assert (await newest(workshop))["verification"] == "verified", "one that helped closes it"


@pytest.mark.parametrize("person_after", [1, 3], ids=["asks a person", "rests"])
async def test_a_person_who_asks_for_a_run_passes_it(open_cells: OpenWorkshop, person_after: int) -> None:
    workshop = await open_cells(breaking(person_after=person_after))
    await fires(workshop)
    await does_not_help(workshop)
    run = await workshop.peer().engine.operations.run_playbook(1, "set-cell", by="ann")
    assert run.status == "running", run.reason


async def test_an_approval_does_not_shorten_a_rest(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(breaking())
    await fires(workshop)
    await does_not_help(workshop)
    await comes_back(workshop)
    run = await newest(workshop)
    await workshop.engine.operations.approve(run["id"], by="ann")
    await workshop.settle()
    assert (await newest(workshop))["status"] == "held"


async def test_no_evidence_counts_and_what_people_stopped_does_not(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(breaking(after=2))
    await workshop.cells.set("c", None)
    await fires(workshop)
    await workshop.pass_time(65, step=5)
    assert (await newest(workshop))["verification"] == "inconclusive"
    await comes_back(workshop)
    await workshop.engine.operations.cancel((await newest(workshop))["id"], by="ann")
    await workshop.pass_time(65, step=5)
    assert (await newest(workshop))["status"] == "cancelled"
    await comes_back(workshop)
    assert (await newest(workshop))["status"] == "verifying", "one alone does not open it"
    await workshop.pass_time(65, step=5)
    await comes_back(workshop)
    assert "the last 2 runs" in (await newest(workshop))["reason"]


async def test_it_is_the_playbooks_own_on_its_target(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(breaking(person_after=1))
    await fires(workshop)
    await does_not_help(workshop)
    await workshop.fire("b", service="redis")
    await workshop.intake()
    await workshop.settle()
    assert (await newest(workshop))["status"] == "verifying"


async def test_it_stops_repairs_and_neither_undo_nor_news(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(breaking(person_after=1))
    await fires(workshop)
    await workshop.pass_time(50, step=5)
    await workshop.engine.operations.pause(by="ann")
    await workshop.pass_time(15, step=5)
    assert (await newest(workshop))["status"] == "failed"
    await workshop.fire("a", service="redis")
    await workshop.intake()
    await workshop.settle()
    assert "breaker: " in (await newest(workshop))["reason"], "it is open"
    assert await workshop.cells.value("a") == 2, "the undo waits for the pause"
    told = len(workshop.console)
    await workshop.engine.operations.resume(by="ann")
    await workshop.settle()
    assert await workshop.cells.effects("undo") == ["a"]
    assert "breaker: " in (await newest(workshop))["reason"], "it is still open"
    assert any("Undo of step change" in line for line in workshop.console[told:])
