"""Whose word counts: never the requester alone for what is destructive at P1, command, and autonomy that is earned."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.errors import ConflictError, ForbiddenError
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.test_breaker import WATCHED, comes_back, does_not_help, fires, newest
from tests.integration.engine.workshop import Workshop

BLIND = [{"id": "change", "action": "cell.set_blind", "with": {"cell": "${params.cell}"}, "undo": "none"}]
"""A step that is destructive."""


async def opened(open_cells: OpenWorkshop, priority: str = "P1", **changes: Any) -> Workshop:
    """An incident of which automation has not planned anything yet."""
    workshop = await open_cells(playbook(**changes))
    await workshop.fire("a")
    await workshop.intake()
    await workshop.pool.execute("delete from pgqueuer")
    await workshop.pool.execute("update incidents set priority = $1", priority)
    return workshop


@pytest.mark.parametrize("mode", ["auto", "approve"])
async def test_destructive_at_p1_needs_another_person_in_whatever_mode(open_cells: OpenWorkshop, mode: str) -> None:
    workshop = await opened(open_cells, steps=BLIND, guards={"mode": mode})
    run = await workshop.engine.operations.run_playbook(1, "set-cell", by="ann (slack:U1)")
    assert run.status == "awaiting_approval"
    assert "approval: waits for 1 approval: it is destructive at P1, and somebody else than ann" in run.reason
    restarted = workshop.peer()
    for same in ("ann (slack:U1)", "ann", "Ann"):
        with pytest.raises(ForbiddenError, match="somebody else has to approve it"):
            await restarted.engine.operations.approve(run.id, by=same)
    await restarted.engine.starter.start_run(run.id)
    await restarted.settle()
    assert await workshop.cells.effects() == []
    await restarted.engine.operations.approve(run.id, by="bob")
    await restarted.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_the_requesters_word_from_before_it_became_p1_does_not_count(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, "P2", steps=BLIND, guards={"mode": "approve"})
    await workshop.engine.operations.pause(by="bob")
    run = await workshop.engine.operations.run_playbook(1, "set-cell", by="ann")
    await workshop.engine.operations.approve(run.id, by="ann")
    await workshop.pool.execute("update incidents set priority = 'P1'")
    await workshop.engine.operations.resume(by="bob")
    await workshop.settle()
    assert "somebody else than ann" in (await newest(workshop))["reason"]
    assert await workshop.cells.effects() == []


@pytest.mark.parametrize(
    ("priority", "changes"), [("P2", {"steps": BLIND}), ("P1", {})], ids=["not P1", "not destructive"]
)
async def test_anything_else_takes_the_requesters_word(
    open_cells: OpenWorkshop, priority: str, changes: dict[str, Any]
) -> None:
    workshop = await opened(open_cells, priority, **changes)
    await workshop.engine.operations.run_playbook(1, "set-cell", by="ann")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_an_alerts_own_run_has_no_requester(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells, steps=BLIND)
    await workshop.engine.starter.plan_incident(1)
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_who_takes_command_acknowledges_and_is_asked_from_then_on(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells)
    operations = workshop.engine.operations
    incident = await operations.lead(1, by="bob")
    assert (incident.commander, incident.status, incident.acknowledged_by) == ("bob", "acknowledged", "bob")
    await operations.lead(1, by="bob")
    assert len(await workshop.told("command")) == len(await workshop.told("acknowledged")) == 1, "once"
    await workshop.peer().engine.starter.plan_incident(1)
    await workshop.settle()
    run = await newest(workshop)
    assert "bob has command of the incident" in run["reason"]
    assert any("bob has command" in line for line in workshop.console)
    await operations.approve(run["id"], by="bob")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_command_is_given_to_somebody_without_their_word(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells)
    incident = await workshop.engine.operations.lead(1, by="ann", person="bob")
    assert (incident.commander, incident.status) == ("bob", "triggered"), "bob may not know yet"
    assert (await workshop.told("command"))[0].startswith("ann gave command to bob")


async def test_what_the_commander_asks_for_needs_no_further_word(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells)
    await workshop.engine.operations.lead(1, by="bob")
    await workshop.engine.operations.run_playbook(1, "set-cell", by="bob")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]
    run = await workshop.engine.operations.run_playbook(1, "set-cell", by="ann")
    assert "bob has command" in run.reason


async def test_nobody_commands_what_is_over(open_cells: OpenWorkshop) -> None:
    workshop = await opened(open_cells)
    await workshop.engine.operations.resolve(1, by="ann")
    with pytest.raises(ConflictError):
        await workshop.engine.operations.lead(1, by="bob")


async def test_autonomy_is_lost_and_earned_again(open_cells: OpenWorkshop) -> None:
    rules = {"autonomy": {"floor": "50%", "of_last": 2, "at_least": 1}}
    workshop = await open_cells(playbook(verify=WATCHED, guards=rules))
    await fires(workshop)
    await does_not_help(workshop)
    await comes_back(workshop)
    run = await newest(workshop)
    why = "waits for 1 approval: verified in 0 of its last 1 runs, below 50%"
    assert (run["status"], run["mode"]) == ("awaiting_approval", "auto")
    assert why in run["reason"]
    assert any(why in line for line in workshop.console), "the channel is told"
    await workshop.cells.set("c", 2)
    await workshop.engine.operations.approve(run["id"], by="ann")
    await workshop.settle()
    await comes_back(workshop)
    assert (await newest(workshop))["verification"] == "verified", "half of the last two helped: by itself again"


async def test_a_person_who_asks_does_not_need_the_playbooks_record(open_cells: OpenWorkshop) -> None:
    rules = {"autonomy": {"floor": "50%", "of_last": 2, "at_least": 1}}
    workshop = await open_cells(playbook(verify=WATCHED, guards=rules))
    await fires(workshop)
    await does_not_help(workshop)
    run = await workshop.engine.operations.run_playbook(1, "set-cell", by="ann")
    assert run.status == "running", run.reason
