"""How much a playbook may do by itself: its own mode, the environment's cap, and approval by priority (flow 4)."""

from __future__ import annotations

import pytest

from hdr_responder.domain.runs import Mode
from hdr_responder.settings import Settings
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop


async def outcome(workshop: Workshop) -> str:
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    status: str = (await workshop.run())["status"]
    changed = status == "completed"
    assert await workshop.cells.effects() == (["a"] if changed else [])
    assert ("before_effect" in workshop.cells.reached) is changed
    return status


OUTCOMES = {Mode.OBSERVE: "observed", Mode.APPROVE: "awaiting_approval", Mode.AUTO: "completed"}


def capped(cap: Mode, environment: str = "staging") -> Settings:
    return Settings.model_validate({"environment": environment, "automation": {"modes": {environment: cap}}})


@pytest.mark.parametrize("own", Mode)
@pytest.mark.parametrize("cap", Mode)
async def test_the_stricter_of_playbook_and_environment_holds(open_cells: OpenWorkshop, own: Mode, cap: Mode) -> None:
    workshop = await open_cells(playbook(guards={"mode": own}), settings=capped(cap))
    assert await outcome(workshop) == OUTCOMES[own.stricter(cap)]


@pytest.mark.parametrize(("priority", "mode"), [("P2", Mode.APPROVE), ("P1", Mode.AUTO)])
async def test_a_priority_may_have_a_cap_of_its_own(open_cells: OpenWorkshop, priority: str, mode: Mode) -> None:
    settings = Settings.model_validate({"automation": {"priorities": {priority: "approve"}}})
    workshop = await open_cells(settings=settings)
    assert await outcome(workshop) == OUTCOMES[mode]
    run = await workshop.run()
    if mode is Mode.APPROVE:
        assert "for P2 no more than approve is allowed" in run["reason"]
        await workshop.peer(settings=settings).settle()
        assert (await workshop.run())["status"] == "awaiting_approval", "also after a restart"


@pytest.mark.parametrize(
    ("environment", "mode"), [("development", Mode.AUTO), ("staging", Mode.APPROVE), ("production", Mode.OBSERVE)]
)
async def test_environments_differ_by_default(open_cells: OpenWorkshop, environment: str, mode: Mode) -> None:
    workshop = await open_cells(settings=Settings.model_validate({"environment": environment}))
    assert await outcome(workshop) == OUTCOMES[mode]


async def test_a_playbook_of_another_environment_is_not_chosen(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(environments=["production"]))
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    assert await workshop.rows("select 1 from runs") == []
    assert any("no playbook matches" in t for t in await workshop.told("not_planned"))


async def test_observe_writes_the_plan_with_its_targets_and_what_would_have_stopped_it(
    open_cells: OpenWorkshop,
) -> None:
    workshop = await open_cells(playbook(guards={"mode": "observe"}))
    await workshop.engine.operations.pause(by="ann")
    assert await outcome(workshop) == "observed"
    (text,) = await workshop.told("observed")
    assert "cell.set(cell a)" in text
    assert "but pause" in text
    (row,) = await workshop.rows("select plan #> '{steps,0}' ->> 'parameters' as parameters from runs")
    assert '"cell": "a", "value": 2' in row["parameters"]


@pytest.mark.parametrize(("cap", "status"), [(Mode.APPROVE, "awaiting_approval"), (Mode.OBSERVE, "observed")])
async def test_a_cap_that_became_stricter_holds_for_what_already_waits(
    open_cells: OpenWorkshop, cap: Mode, status: str
) -> None:
    workshop = await open_cells(settings=capped(Mode.AUTO))
    await workshop.engine.operations.pause(by="ann")
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    restarted = workshop.peer(settings=capped(cap))
    await restarted.engine.operations.resume(by="ann")
    await restarted.settle()
    assert (await workshop.run())["status"] == status
    assert await workshop.cells.effects() == []


@pytest.mark.parametrize(("priorities", "status"), [(["P2"], "awaiting_approval"), (["P1"], "completed")])
async def test_approval_is_asked_for_the_named_priorities(
    open_cells: OpenWorkshop, priorities: list[str], status: str
) -> None:
    workshop = await open_cells(playbook(guards={"approval": {"required_for": priorities}}))
    assert await outcome(workshop) == status


async def test_a_person_may_ask_for_a_run_more_than_once_and_is_named(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await outcome(workshop)
    run = await workshop.engine.operations.run_playbook(1, "set-cell", by="ann")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a", "a"]
    assert run.requested_by == "ann"
    assert any("asked for by ann" in t for t in await workshop.told("planned"))


async def test_a_run_that_a_person_asks_for_obeys_the_other_guards(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(guards={"cooldown": "10m", "budget": {"runs": 6, "per": "1h"}}))
    await outcome(workshop)
    run = await workshop.engine.operations.run_playbook(1, "set-cell", by="ann")
    await workshop.settle()
    assert "cooldown" in run.reason
    assert await workshop.cells.effects() == ["a"]
