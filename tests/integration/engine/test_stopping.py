"""A stop is a stop: pause, hold and cancel in the middle of a run, and what races with them."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

from hdr_responder.actions.contract import StepContext
from hdr_responder.app.engine import Engine
from hdr_responder.domain.ports.store import Job
from tests.integration.engine.cells import Point, playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

TWO = playbook(
    steps=[
        {"id": "first", "action": "cell.set", "with": {"cell": "a"}},
        {"id": "second", "action": "cell.set", "with": {"cell": "b"}},
    ]
)


def once(workshop: Workshop, point: Point, step: str, act: Any) -> None:
    """Do something the first time a step reaches a point."""

    async def happen(ctx: StepContext) -> None:
        if ctx.step_id == step:
            del workshop.cells.at[point]
            await act()

    workshop.cells.at[point] = happen


async def begin(workshop: Workshop) -> None:
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()


async def test_a_pause_in_the_middle_stops_before_the_next_step_and_resume_goes_on(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(TWO)
    operations = workshop.engine.operations
    flying: list[Any] = []

    async def pause() -> None:
        flying.extend(await operations.pause(by="ann", reason="look first"))

    once(workshop, "after_effect", "first", pause)
    await begin(workshop)
    assert [r.playbook for r in flying] == ["set-cell"], "runs in flight are listed"
    assert await workshop.cells.effects() == ["a"]
    run = await workshop.run()
    assert run["status"] == "held"
    assert "paused by ann" in run["reason"]
    assert run["expires_at"] is not None
    held = await workshop.rows("select target_key from target_locks order by target_key")
    assert [h["target_key"] for h in held] == ["cell:a", "cell:b"], "it keeps its targets"
    assert len(await workshop.told("guard_refused")) == 1
    assert workshop.refusals("pause") == 1
    assert any("paused by ann" in line for line in workshop.console)
    await operations.resume(by="ann")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a", "b"]
    assert (await workshop.run())["verification"] == "verified"
    assert "set-cell goes on" in (await workshop.told("run_started"))[-1]


async def test_nobody_else_gets_the_targets_of_a_run_that_a_pause_holds(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(TWO)
    once(workshop, "after_effect", "first", lambda: workshop.engine.operations.pause(by="ann"))
    await begin(workshop)
    await workshop.fire("b", service="redis")
    await workshop.intake()
    await workshop.settle()
    (other,) = await workshop.rows("select reason from runs where incident_id = 2")
    assert "is working on" in other["reason"]
    await workshop.engine.operations.resume(by="ann")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a", "b", "a", "b"]


async def test_a_run_that_a_pause_holds_too_long_goes_to_a_person(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(TWO)
    once(workshop, "after_effect", "first", lambda: workshop.engine.operations.pause(by="ann"))
    await begin(workshop)
    workshop.clock.advance(3601)
    await workshop.sweep()
    await workshop.settle()
    assert (await workshop.run())["status"] == "expired"
    assert any("could not go on in time" in t for t in await workshop.told("escalated"))
    assert len(await workshop.rows("select 1 from target_locks")) == 2, "what it changed is still to be taken back"
    await workshop.engine.operations.resume(by="ann")
    await workshop.settle()
    assert await workshop.cells.effects("undo") == ["a"]
    assert await workshop.rows("select 1 from target_locks") == []


async def test_a_takeover_under_pause_changes_nothing(open_cells: OpenWorkshop) -> None:
    """Started, then the worker dies, then pause: the new worker may look, but not act until the resume."""
    workshop = await open_cells()
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle(without=[Job.RUN])
    stuck = asyncio.Event()

    async def freeze(_: StepContext) -> None:
        stuck.set()
        await asyncio.Event().wait()

    workshop.cells.at["before_effect"] = freeze
    dead = asyncio.create_task(workshop.settle())
    await stuck.wait()
    dead.cancel()
    await asyncio.gather(dead, return_exceptions=True)
    del workshop.cells.at["before_effect"]
    other = workshop.peer()
    await other.engine.operations.pause(by="ann")
    await workshop.lose_leases()
    await other.sweep()
    await other.settle()
    assert await workshop.cells.effects() == []
    assert (await workshop.run())["status"] == "held"
    await other.engine.operations.resume(by="ann")
    await other.settle()
    assert await workshop.cells.effects() == ["a"]
    assert (await workshop.run())["verification"] == "verified"


async def test_a_retry_under_pause_waits(open_cells: OpenWorkshop) -> None:
    step = {"id": "change", "action": "cell.set", "with": {"cell": "a"}, "retry": {"attempts": 3, "delay": "1s"}}
    workshop = await open_cells(playbook(steps=[step]))

    async def fail() -> None:
        await workshop.engine.operations.pause(by="ann")
        raise TimeoutError

    once(workshop, "before_effect", "change", fail)
    await begin(workshop)
    assert await workshop.cells.effects() == []
    assert (await workshop.run())["status"] == "held"
    await workshop.engine.operations.resume(by="ann")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_once_pause_has_returned_nothing_starts_in_any_replica(open_cells: OpenWorkshop) -> None:
    """A pause at every point of starts in two replicas: no start is later than the pause's return."""
    workshop = await open_cells(playbook(params={"cell": "a"}))
    other = workshop.peer()
    starts = "select r.id, r.started_at, s.started_at as step from runs r join steps s on s.run_id = r.id order by r.id"
    seen = set()
    points: list[Point | None] = [None, "dry_run", "claim", "capture", "before_effect", "after_effect", "announce"]
    for round_, point in enumerate(points):
        reached = asyncio.Event()
        if point is None:
            reached.set()
        workshop.cells.at = {} if point is None else {point: lambda _, event=reached: event.set()}  # type: ignore[misc]
        await workshop.fire("a", service=f"unknown-{round_}")
        await workshop.intake()
        await workshop.engine.starter.plan_incident(round_ + 1)
        (run,) = await workshop.rows("select id from runs where incident_id = $1", round_ + 1)

        async def start(engine: Engine, run_id: uuid.UUID) -> None:
            await engine.starter.start_run(run_id)
            await engine.executor.run(run_id)
            await engine.verifier.verify(run_id)

        starting = [asyncio.create_task(start(e, run["id"])) for e in (workshop.engine, other.engine)]
        await asyncio.wait_for(reached.wait(), 20)
        await other.engine.operations.pause(by="ann")
        at_return = await workshop.rows(starts)
        seen.add(sum(r["step"] is not None for r in at_return))
        await asyncio.gather(*starting)
        assert await workshop.rows(starts) == at_return
        await other.engine.operations.resume(by="ann")
        await workshop.settle()
    assert len(seen) > 1, "both outcomes of the race were seen"


async def test_cancel_takes_effect_between_steps_and_survives_what_the_worker_saves(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(TWO)

    async def cancel() -> None:
        await workshop.engine.operations.cancel((await workshop.run())["id"], by="ann")

    once(workshop, "after_effect", "first", cancel)
    await begin(workshop)
    run = await workshop.run()
    assert (run["status"], run["reason"]) == ("cancelled", "cancelled by ann")
    assert await workshop.cells.effects() == ["a"]
    assert await workshop.rows("select 1 from target_locks") == []


async def test_cancel_while_verifying_ends_the_run(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(verify={"within": "10m", "all": [{"cell.is": {"cell": "b"}}]}))
    await begin(workshop)
    assert (await workshop.run())["status"] == "verifying"
    await workshop.engine.operations.cancel((await workshop.run())["id"], by="ann")
    workshop.clock.advance(5)
    await workshop.settle()
    assert (await workshop.run())["status"] == "cancelled"
    assert await workshop.rows("select 1 from target_locks") == []


async def test_cancel_during_the_last_step_is_not_lost(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()

    async def cancel() -> None:
        await workshop.engine.operations.cancel((await workshop.run())["id"], by="ann")

    once(workshop, "after_effect", "change", cancel)
    await begin(workshop)
    assert (await workshop.run())["status"] == "cancelled"


async def test_a_cancelled_run_gives_way_to_the_one_that_waits_for_its_target(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(TWO)
    once(workshop, "after_effect", "first", lambda: workshop.engine.operations.pause(by="ann"))
    await begin(workshop)
    await workshop.fire("b", service="redis")
    await workshop.intake()
    await workshop.settle()
    runs = {r["incident_id"]: r["id"] for r in await workshop.rows("select id, incident_id from runs")}
    await workshop.engine.operations.resume(by="ann")
    await workshop.engine.operations.cancel(runs[1], by="ann")
    await workshop.settle()
    rows = await workshop.rows("select incident_id, status from runs order by incident_id")
    assert rows == [{"incident_id": 1, "status": "cancelled"}, {"incident_id": 2, "status": "completed"}]


async def test_a_hold_lets_what_runs_end(open_cells: OpenWorkshop) -> None:
    """A hold keeps new runs away; it does not leave one half done."""
    workshop = await open_cells(TWO)
    hold = workshop.engine.operations.hold
    once(workshop, "after_effect", "first", lambda: hold("neural-hdr", timedelta(minutes=5), by="ann"))
    await begin(workshop)
    assert await workshop.cells.effects() == ["a", "b"]
