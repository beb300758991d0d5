"""A named person may force a recovery: changes are taken back now, whatever is paused, held or not yet due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.actions.contract import StepContext
from hdr_responder.domain.runs import Run
from hdr_responder.errors import ConflictError, PermanentError
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

TEMPORARY = playbook(steps=[{"id": "more", "action": "cell.set", "with": {"cell": "${params.cell}"}, "for": "2h"}])


async def changed(open_cells: OpenWorkshop, document: dict[str, Any] = TEMPORARY) -> tuple[Workshop, Any]:
    """A run that has ended, and whose change stands."""
    workshop = await open_cells(document)
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    run = await workshop.run()
    assert run["status"] == "completed"
    assert await workshop.cells.value("a") == 2
    return workshop, run["id"]


async def paused(workshop: Workshop) -> None:
    await workshop.engine.operations.pause(by="bob")


async def held(workshop: Workshop) -> None:
    await workshop.engine.operations.hold("neural-hdr", timedelta(hours=1), by="bob")


@pytest.mark.parametrize("stop", [paused, held])
async def test_it_passes_pause_and_hold_and_is_told(open_cells: OpenWorkshop, stop: Any) -> None:
    workshop, run_id = await changed(open_cells)
    await stop(workshop)
    run = await workshop.engine.operations.undo(run_id, by="ann")
    assert run.undo_forced_by == "ann"
    await workshop.settle()
    assert await workshop.cells.value("a") == 1
    (row,) = await workshop.rows("select actor, summary from timeline where kind = 'undo_forced'")
    assert (row["actor"], row["summary"]) == ("ann", "ann has the changes of set-cell taken back now: more")
    assert any("ann has the changes of set-cell taken back" in line for line in workshop.console)
    assert await workshop.rows("select 1 from target_locks") == []


async def test_it_is_not_forgotten_by_a_restart(open_cells: OpenWorkshop) -> None:
    workshop, run_id = await changed(open_cells)
    await paused(workshop)
    await workshop.engine.operations.undo(run_id, by="ann")
    await workshop.pool.execute("delete from pgqueuer")
    restarted = workshop.peer()
    await restarted.sweep()
    await restarted.settle()
    assert await workshop.cells.value("a") == 1


async def test_while_paused_nobody_elses_change_is_taken_back_with_it(open_cells: OpenWorkshop) -> None:
    workshop, run_id = await changed(open_cells)
    await workshop.fire("b", service="redis")
    await workshop.intake()
    await workshop.settle()
    await workshop.pool.execute("update steps set undo_at = $1 where run_id <> $2", workshop.clock.now(), run_id)
    await paused(workshop)
    await workshop.engine.operations.undo(run_id, by="ann")
    await workshop.sweep()
    await workshop.settle()
    waiting = await workshop.rows("select run_id from steps where undo_at is not null and undone is null")
    assert [w["run_id"] == run_id for w in waiting] == [False]


async def test_what_somebody_changed_since_is_left_alone(open_cells: OpenWorkshop) -> None:
    workshop, run_id = await changed(open_cells)
    await workshop.cells.set("a", 9)
    await workshop.engine.operations.undo(run_id, by="ann")
    await workshop.settle()
    assert await workshop.cells.value("a") == 9
    assert any("somebody changed it since" in t for t in await workshop.told("escalated"))


async def test_what_failed_may_be_forced_again(open_cells: OpenWorkshop) -> None:
    workshop, run_id = await changed(open_cells)

    def refuse(_: StepContext) -> None:
        raise PermanentError("not allowed")

    workshop.cells.at["before_undo"] = refuse
    await workshop.engine.operations.undo(run_id, by="ann")
    await workshop.settle()
    assert "failed: not allowed" in (await workshop.told("undone"))[0]
    del workshop.cells.at["before_undo"]
    await workshop.engine.operations.undo(run_id, by="bob")
    await workshop.settle()
    assert await workshop.cells.value("a") == 1
    with pytest.raises(ConflictError, match="nothing that can be taken back"):
        await workshop.engine.operations.undo(run_id, by="bob")


async def test_a_change_that_was_to_stay_is_taken_back_too(open_cells: OpenWorkshop) -> None:
    step = {"id": "change", "action": "cell.set", "with": {"cell": "a"}, "undo": "none"}
    workshop, run_id = await changed(open_cells, playbook(steps=[step]))
    await workshop.engine.operations.undo(run_id, by="ann")
    await workshop.settle()
    assert await workshop.cells.value("a") == 1


async def test_what_cannot_be_taken_back_or_has_not_ended_is_refused(open_cells: OpenWorkshop) -> None:
    step = {"id": "change", "action": "cell.set_blind", "with": {"cell": "a"}, "undo": "none"}
    workshop, run_id = await changed(open_cells, playbook(steps=[step]))
    with pytest.raises(ConflictError, match="nothing that can be taken back"):
        await workshop.engine.operations.undo(run_id, by="ann")
    await workshop.pool.execute("update runs set status = 'running', ended_at = null")
    with pytest.raises(ConflictError, match="cancel it first"):
        await workshop.engine.operations.undo(run_id, by="ann")
    assert await workshop.told("undo_forced") == []


async def test_a_pause_lists_what_is_being_taken_back(open_cells: OpenWorkshop) -> None:
    workshop, run_id = await changed(open_cells)
    flying: list[Run] = []

    async def pause(_: StepContext) -> None:
        flying.extend(await workshop.engine.operations.pause(by="bob"))

    workshop.cells.at["before_undo"] = pause
    workshop.clock.advance(7200)
    await workshop.settle()
    assert [r.id for r in flying] == [run_id]
    assert "its changes are being taken back" in flying[0].reason
    assert await workshop.engine.operations.pause(by="bob") == []
