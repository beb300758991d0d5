"""Once per episode and once per target, however often and wherever it is asked for (promises: no guard passed by
concurrency, no repeated mutation; Alertmanager contract rule 3)."""

from __future__ import annotations

import asyncio
import uuid

from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop


async def test_the_main_line(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    run = await workshop.run()
    assert (run["status"], run["verification"]) == ("completed", "verified")
    assert await workshop.cells.effects() == ["a"]
    assert workshop.cells.reached == [
        "dry_run",
        "claim",
        "capture",
        "before_effect",
        "after_effect",
        "announce",
        "check",
    ]
    assert (await workshop.incident())["status"] == "mitigated"


async def test_repeated_deliveries_of_both_peers_make_one_run_and_one_change(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    for _ in range(4):
        await workshop.fire("a", starts_at=workshop.clock.now())
        await workshop.intake()
    await workshop.settle()
    await workshop.fire("a", starts_at=workshop.clock.now())
    await workshop.intake()
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]
    assert len(await workshop.rows("select 1 from runs")) == 1


async def test_doubled_jobs_on_two_engines_make_one_run_and_one_change(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    other = workshop.peer()
    await workshop.fire("a")
    await workshop.intake()
    engines = [workshop.engine, other.engine] * 6
    await asyncio.gather(*(e.starter.plan_incident(1) for e in engines))
    run_id = (await workshop.run())["id"]
    await asyncio.gather(*(e.starter.start_run(run_id) for e in engines))
    await asyncio.gather(*(e.executor.run(run_id) for e in engines))
    await asyncio.gather(*(e.verifier.verify(run_id) for e in engines))
    assert await workshop.cells.effects() == ["a"]
    assert len(await workshop.told("run_started")) == 1
    assert len(await workshop.told("run_ended")) == 1
    assert (await workshop.run())["verification"] == "verified"


async def test_a_reopened_incident_is_a_new_episode_with_a_run_of_its_own(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    workshop.clock.advance(60)
    await workshop.fire("a", ends_at=workshop.clock.now(), starts_at=workshop.clock.now())
    await workshop.intake()
    workshop.clock.advance(60)
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    assert await workshop.cells.effects() == ["a", "a"]
    assert [r["episode"] for r in await workshop.rows("select episode from runs order by created_at")] == [1, 2]


async def test_a_run_that_waits_does_not_start_for_a_later_episode(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await workshop.engine.operations.pause(by="ann")
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    workshop.clock.advance(60)
    await workshop.fire("a", ends_at=workshop.clock.now(), starts_at=workshop.clock.now())
    workshop.clock.advance(1)
    await workshop.fire("a")
    await workshop.intake()
    await workshop.engine.operations.resume(by="ann")
    await workshop.settle()
    runs = await workshop.rows("select episode, status from runs order by created_at")
    assert runs == [{"episode": 1, "status": "cancelled"}, {"episode": 2, "status": "completed"}]
    assert await workshop.cells.effects() == ["a"]


async def test_one_run_per_target_with_ten_incidents_at_once(open_cells: OpenWorkshop) -> None:
    """Ten incidents of ten services about one target, started at the same time on two engines."""
    workshop = await open_cells(playbook(guards={"budget": {"runs": 3, "per": "1h"}}))
    other = workshop.peer()
    services = [f"unknown-{n}" for n in range(10)]
    for service in services:
        await workshop.fire("a", service=service)
    await workshop.intake()
    engines = [workshop.engine, other.engine]
    await asyncio.gather(*(engines[n % 2].starter.plan_incident(n + 1) for n in range(10)))
    ids: list[uuid.UUID] = [r["id"] for r in await workshop.rows("select id from runs order by id")]
    assert len(ids) == 10
    await asyncio.gather(*(engine.starter.start_run(i) for i in ids for engine in engines))
    assert len(await workshop.rows("select 1 from runs where status = 'running'")) == 1
    assert len(await workshop.rows("select 1 from target_locks")) == 1
    await workshop.settle()
    assert len(await workshop.cells.effects()) == 3, "the others follow one by one until the budget is used up"
    held = await workshop.rows("select reason from runs where status = 'held'")
    assert len(held) == 7
    assert all("budget" in r["reason"] for r in held)


async def test_an_incident_whose_planning_was_lost_is_found_and_planned_for(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await workshop.fire("a")
    await workshop.intake()
    await workshop.rows("delete from pgqueuer where entrypoint = 'plan'")
    await workshop.settle()
    assert await workshop.rows("select 1 from runs") == []
    workshop.clock.advance(5)
    await workshop.sweep()
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]
    assert await workshop.rows("select 1 from incidents where plan_at is not null") == []
