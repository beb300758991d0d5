"""A target is told of its change once the outcome is known, and a target that cannot be told changes no outcome."""

from __future__ import annotations

import asyncio

import pytest

from hdr_responder.actions.contract import StepContext
from hdr_responder.engine import changing
from hdr_responder.errors import ForbiddenError
from tests.integration.engine.cells import WorkerDied, playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop


async def fired(workshop: Workshop) -> None:
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()


async def test_a_change_and_its_undo_are_told(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify={"within": "1m", "all": [{"cell.is": {"cell": "a", "value": 3}}]}))
    await fired(workshop)
    await workshop.pass_time(90, step=10)
    assert await workshop.cells.effects("undo") == ["a"]
    assert workshop.cells.announced == ["change done", "change undone"]


async def test_a_change_that_was_only_observed_is_told(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()

    def dies(_: StepContext) -> None:
        raise WorkerDied

    workshop.cells.at["after_effect"] = dies
    with pytest.raises(WorkerDied):
        await fired(workshop)
    del workshop.cells.at["after_effect"]
    await workshop.lose_leases()
    other = workshop.peer()
    await other.sweep()
    await other.settle()
    assert await workshop.cells.effects() == ["a"]
    assert workshop.cells.announced == ["change done"]


async def test_a_change_that_failed_is_not_told(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()

    def refused(_: StepContext) -> None:
        raise ForbiddenError("not allowed")

    workshop.cells.at["before_effect"] = refused
    await fired(workshop)
    assert (await workshop.run())["status"] == "failed"
    assert workshop.cells.announced == []


@pytest.mark.parametrize("how", ["refused", "silent", "broken"])
async def test_what_could_not_be_told_is_said_and_changes_nothing(
    open_cells: OpenWorkshop, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    workshop = await open_cells()
    monkeypatch.setattr(changing, "ANNOUNCE_SECONDS", 0.05)

    async def happens(_: StepContext) -> None:
        if how == "silent":
            await asyncio.Event().wait()
        raise ForbiddenError("not allowed to create events") if how == "refused" else ValueError("a defect")

    workshop.cells.at["announce"] = happens
    await fired(workshop)
    run = await workshop.run()
    assert (run["status"], run["verification"]) == ("completed", "verified")
    (ended,) = [t for t in await workshop.told("step_ended") if "change" in t]
    why = {"refused": "not allowed to create events", "silent": "no answer within", "broken": "unexpected ValueError"}
    assert f"not told on the target: {why[how]}" in ended
