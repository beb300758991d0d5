"""Whether it helped: three answers, held evidence, and what follows from each (flow 6; promise: undo touches only what
still holds what we wrote)."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.actions.contract import StepContext
from hdr_responder.errors import PermanentError, UnavailableError
from tests.integration.engine.cells import WorkerDied, playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

WATCHED = {"within": "1m", "hold": "20s", "all": [{"cell.is": {"cell": "c"}}]}
"""Cell c stands for the service's health: 2 is well."""


async def begin(workshop: Workshop) -> None:
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()


async def verification(workshop: Workshop) -> tuple[str, str]:
    run = await workshop.run()
    return run["status"], run["verification"]


async def test_verified_only_after_it_held(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify=WATCHED))
    await workshop.cells.set("c", 2)
    await begin(workshop)
    await workshop.pass_time(19)
    assert await verification(workshop) == ("verifying", "pending")
    await workshop.pass_time(2)
    assert await verification(workshop) == ("completed", "verified")
    assert "held for 20s" in (await workshop.run())["reason"]
    assert (await workshop.incident())["status"] == "mitigated"
    assert await workshop.told("escalated") == []


async def test_flapping_begins_the_hold_anew(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify=WATCHED))
    await workshop.cells.set("c", 2)
    await begin(workshop)
    await workshop.pass_time(15)
    await workshop.cells.set("c", 1)
    await workshop.pass_time(6)
    await workshop.cells.set("c", 2)
    await workshop.pass_time(15)
    assert await verification(workshop) == ("verifying", "pending")
    await workshop.pass_time(12)
    assert await verification(workshop) == ("completed", "verified")


async def test_contrary_evidence_fails_when_time_is_up_and_is_undone_in_reverse(open_cells: OpenWorkshop) -> None:
    steps = [
        {"id": "first", "action": "cell.set", "with": {"cell": "a"}},
        {"id": "second", "action": "cell.set", "with": {"cell": "b"}},
    ]
    workshop = await open_cells(playbook(steps=steps, verify=WATCHED))
    await begin(workshop)
    await workshop.pass_time(59)
    assert await verification(workshop) == ("verifying", "pending"), "not yet failed"
    await workshop.pass_time(7)
    assert await verification(workshop) == ("failed", "failed")
    assert "it did not help (cell.is: cell c is 1)" in (await workshop.run())["reason"]
    assert await workshop.cells.effects("undo") == ["b", "a"]
    assert (await workshop.cells.value("a"), await workshop.cells.value("b")) == (1, 1)
    assert await workshop.rows("select 1 from target_locks") == []
    assert len([t for t in await workshop.told() if "On failure: incident.escalate done" in t]) == 1
    assert len(await workshop.told("escalated")) == 1
    assert await workshop.pages() == 1
    assert (await workshop.incident())["status"] == "triggered", "never reported as one that helped"


async def test_it_keeps_the_targets_until_all_is_undone(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify=WATCHED))
    await begin(workshop)

    def out_of_reach(_: StepContext) -> None:
        raise UnavailableError("no route")

    workshop.cells.at["before_undo"] = out_of_reach
    await workshop.pass_time(70)
    assert (await workshop.run())["status"] == "failed"
    assert len(await workshop.rows("select 1 from target_locks")) == 1
    assert len(await workshop.told("problem")) == 1, "told once, not at every try"
    del workshop.cells.at["before_undo"]
    await workshop.pass_time(31)
    assert await workshop.cells.value("a") == 1
    assert await workshop.rows("select 1 from target_locks") == []


async def test_an_undo_that_never_succeeds_goes_to_a_person(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify=WATCHED))
    await begin(workshop)

    def out_of_reach(_: StepContext) -> None:
        raise UnavailableError("no route")

    workshop.cells.at["before_undo"] = out_of_reach
    await workshop.pass_time(70)
    await workshop.pass_time(3700, step=15)
    (undone,) = await workshop.told("undone")
    assert "not possible for 1h" in undone
    assert any("could not be taken back" in t for t in await workshop.told("escalated"))
    assert await workshop.rows("select 1 from target_locks") == []


@pytest.mark.parametrize("error", [PermanentError("forbidden"), RuntimeError("a defect")])
async def test_an_undo_that_is_refused_goes_to_a_person(open_cells: OpenWorkshop, error: Exception) -> None:
    workshop = await open_cells(playbook(verify=WATCHED))
    await begin(workshop)

    def refuse(_: StepContext) -> None:
        raise error

    workshop.cells.at["before_undo"] = refuse
    await workshop.pass_time(70)
    assert "failed: " in (await workshop.told("undone"))[0]
    assert any("could not be taken back" in t for t in await workshop.told("escalated"))


async def test_what_somebody_changed_since_is_left_alone(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify=WATCHED))
    await begin(workshop)
    await workshop.cells.set("a", 7)
    await workshop.pass_time(70)
    assert await workshop.cells.value("a") == 7
    assert any("drifted: somebody changed it since" in t for t in await workshop.told("escalated"))


async def test_a_playbook_may_keep_its_changes(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify=WATCHED, undo="never"))
    await begin(workshop)
    await workshop.pass_time(70)
    assert (await workshop.run())["status"] == "failed"
    assert await workshop.cells.value("a") == 2


async def test_a_failed_step_undoes_the_steps_before_it(open_cells: OpenWorkshop) -> None:
    steps = [
        {"id": "first", "action": "cell.set", "with": {"cell": "a"}},
        {"id": "second", "action": "cell.set", "with": {"cell": "nowhere"}},
    ]
    workshop = await open_cells(playbook(steps=steps))
    await begin(workshop)
    assert "cell nowhere does not exist" in (await workshop.run())["reason"]
    assert await workshop.cells.effects("undo") == ["a"]
    assert len(await workshop.told("escalated")) == 1


async def test_no_evidence_is_inconclusive_and_goes_to_a_person_with_its_changes_kept(
    open_cells: OpenWorkshop,
) -> None:
    workshop = await open_cells(playbook(verify=WATCHED))
    await workshop.cells.set("c", None)
    await begin(workshop)
    await workshop.pass_time(70)
    assert await verification(workshop) == ("completed", "inconclusive")
    assert len(await workshop.told("escalated")) == 1
    assert await workshop.cells.effects("undo") == []
    assert (await workshop.incident())["status"] == "triggered"


@pytest.mark.parametrize(
    "error", [UnavailableError("no route"), PermanentError("forbidden"), TimeoutError(), RuntimeError("a defect")]
)
async def test_errors_are_not_answers(open_cells: OpenWorkshop, error: Exception) -> None:
    workshop = await open_cells(playbook(verify=WATCHED))
    await workshop.cells.set("c", 2)

    def fail(_: StepContext) -> None:
        raise error

    workshop.cells.at["check"] = fail
    await begin(workshop)
    await workshop.pass_time(70)
    assert await verification(workshop) == ("completed", "inconclusive")


async def test_any_needs_one_and_an_error_beside_it_does_no_harm(open_cells: OpenWorkshop) -> None:
    checks: list[dict[str, Any]] = [{"cell.is": {"cell": "b"}}, {"cell.is": {"cell": "c"}}]
    workshop = await open_cells(playbook(verify={"within": "1m", "any": checks}))
    await workshop.cells.set("c", 2)
    await workshop.cells.set("b", None)
    await begin(workshop)
    assert await verification(workshop) == ("completed", "verified")


async def test_doubled_looks_react_once(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify=WATCHED))
    await begin(workshop)
    run_id = (await workshop.run())["id"]
    other = workshop.peer()
    workshop.clock.advance(61)
    for engine in (workshop.engine, other.engine, workshop.engine):
        await engine.verifier.verify(run_id)
    await workshop.settle()
    assert len(await workshop.told("run_ended")) == 1
    assert len(await workshop.told("escalated")) == 1


async def test_a_look_while_another_reacts_does_not_react_too(open_cells: OpenWorkshop) -> None:
    reactions = [{"action": "cell.look", "with": {"cell": "a"}}, {"action": "incident.escalate"}]
    workshop = await open_cells(playbook(verify=WATCHED, on_failure=reactions))
    await begin(workshop)
    run_id = (await workshop.run())["id"]
    other = workshop.peer()

    async def look_too(_: StepContext) -> None:
        await other.engine.verifier.verify(run_id)

    workshop.cells.at["look"] = look_too
    workshop.clock.advance(61)
    await workshop.settle()
    assert workshop.cells.reached.count("look") == 1
    assert await verification(workshop) == ("failed", "failed")


async def test_a_look_that_comes_due_while_another_reacts_for_long_does_not_react_too(
    open_cells: OpenWorkshop,
) -> None:
    reactions = [{"action": "cell.look", "with": {"cell": "a"}}, {"action": "incident.escalate"}]
    workshop = await open_cells(playbook(verify=WATCHED, on_failure=reactions))
    await begin(workshop)
    run_id = (await workshop.run())["id"]
    other = workshop.peer()

    async def look_later(_: StepContext) -> None:
        workshop.clock.advance(30)
        await other.engine.verifier.verify(run_id)

    workshop.cells.at["look"] = look_later
    workshop.clock.advance(61)
    await workshop.settle()
    assert workshop.cells.reached.count("look") == 1
    assert await verification(workshop) == ("failed", "failed")


async def test_a_worker_that_dies_while_it_reacts_is_soon_replaced(open_cells: OpenWorkshop) -> None:
    reactions = [{"action": "cell.look", "with": {"cell": "a"}}, {"action": "incident.escalate"}]
    workshop = await open_cells(playbook(verify=WATCHED, on_failure=reactions))
    await begin(workshop)

    def die(_: StepContext) -> None:
        del workshop.cells.at["look"]
        raise WorkerDied

    workshop.cells.at["look"] = die
    workshop.clock.advance(61)
    with pytest.raises(WorkerDied):
        await workshop.settle()
    await workshop.lose_leases()
    workshop.clock.advance(10)
    other = workshop.peer()
    await other.sweep()
    await other.settle()
    assert await verification(workshop) == ("failed", "failed")
    assert len(await workshop.told("escalated")) == 1


async def test_a_reaction_that_fails_does_not_keep_the_others_from_happening(open_cells: OpenWorkshop) -> None:
    reactions = [{"action": "cell.look", "with": {"cell": "a"}}, {"action": "incident.escalate"}]
    workshop = await open_cells(playbook(verify=WATCHED, on_failure=reactions))

    def fail(_: StepContext) -> None:
        raise RuntimeError("a defect")

    workshop.cells.at["look"] = fail
    await begin(workshop)
    await workshop.pass_time(70)
    said = [t for t in await workshop.told() if t.startswith("On failure")]
    assert said == ["On failure: cell.look failed: unexpected RuntimeError", "On failure: incident.escalate done"]
    assert (await workshop.run())["status"] == "failed"


TEMPORARY = playbook(
    steps=[{"id": "more", "action": "cell.set", "with": {"cell": "a"}, "for": "2h"}],
    verify={"within": "1m", "all": [{"cell.is": {"cell": "a"}}]},
)


async def test_a_temporary_change_is_undone_after_its_time(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(TEMPORARY)
    await begin(workshop)
    assert (await workshop.run())["verification"] == "verified"
    assert await workshop.rows("select 1 from target_locks") == [], "nobody waits for two hours"
    workshop.clock.advance(7199)
    await workshop.settle()
    assert await workshop.cells.value("a") == 2
    workshop.clock.advance(1)
    await workshop.settle()
    assert await workshop.cells.value("a") == 1
    assert await workshop.rows("select 1 from target_locks") == []


async def test_an_undo_job_that_comes_too_early_asks_again(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(TEMPORARY)
    await begin(workshop)
    await workshop.pool.execute("delete from pgqueuer where entrypoint = 'undo'")
    await workshop.engine.undoer.undo((await workshop.run())["id"])
    await workshop.settle()
    workshop.clock.advance(7200)
    await workshop.settle()
    assert await workshop.cells.value("a") == 1


async def test_undo_waits_while_paused_and_while_held_and_goes_on_after(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(TEMPORARY)
    operations = workshop.engine.operations
    await begin(workshop)
    await operations.pause(by="ann")
    workshop.clock.advance(7300)
    await workshop.sweep()
    await workshop.settle()
    assert await workshop.cells.value("a") == 2
    assert await workshop.rows("select 1 from target_locks") == []
    await operations.resume(by="ann")
    await workshop.settle()
    assert await workshop.cells.value("a") == 1


async def test_a_pause_between_two_undos_stops_the_second(open_cells: OpenWorkshop) -> None:
    steps = [
        {"id": "first", "action": "cell.set", "with": {"cell": "a"}},
        {"id": "second", "action": "cell.set", "with": {"cell": "b"}},
    ]
    workshop = await open_cells(playbook(steps=steps, verify=WATCHED))

    async def pause(_: StepContext) -> None:
        await workshop.engine.operations.pause(by="ann")

    workshop.cells.at["before_undo"] = pause
    await begin(workshop)
    await workshop.pass_time(70)
    assert await workshop.cells.effects("undo") == ["b"]
    assert len(await workshop.rows("select 1 from target_locks")) == 2
    await workshop.engine.operations.resume(by="ann")
    await workshop.settle()
    assert await workshop.cells.effects("undo") == ["b", "a"]
    assert await workshop.rows("select 1 from target_locks") == []


async def test_a_worker_that_dies_while_undoing_leaves_it_to_another(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(TEMPORARY)
    await begin(workshop)

    def die(_: StepContext) -> None:
        raise WorkerDied

    workshop.cells.at["before_undo"] = die
    workshop.clock.advance(7200)
    with pytest.raises(WorkerDied):
        await workshop.settle()
    del workshop.cells.at["before_undo"]
    await workshop.lose_leases()
    other = workshop.peer()
    await other.sweep()
    await other.settle()
    assert await workshop.cells.effects("undo") == ["a"]
    assert await workshop.rows("select 1 from target_locks") == []
