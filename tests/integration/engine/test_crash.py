"""A worker that dies, freezes or loses the database at any point: whoever takes over observes, and repeats nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hdr_responder.actions.contract import StepContext
from hdr_responder.domain.ports.store import Job
from hdr_responder.errors import AdapterError, AmbiguousError, PermanentError, TemporaryError, UnavailableError
from tests.integration.engine.cells import Cells, Point, WorkerDied, playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

BLIND = playbook(
    steps=[{"id": "change", "action": "cell.set_blind", "with": {"cell": "${params.cell}"}, "undo": "none"}]
)
POINTS: list[Point] = ["dry_run", "claim", "capture", "before_effect", "after_effect"]


def dies(_: StepContext) -> None:
    raise WorkerDied


def fails(error: Exception, cells: Cells, point: Point, *, times: int = 1) -> None:
    """Let a point fail so many times."""
    left = [times]

    def happen(_: StepContext) -> None:
        if left[0]:
            left[0] -= 1
            raise error

    cells.at[point] = happen


async def start(workshop: Workshop) -> None:
    """Up to the job that runs the steps."""
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle(without=[Job.RUN])


async def die_at(workshop: Workshop, point: Point) -> None:
    await start(workshop)
    workshop.cells.at[point] = dies
    with pytest.raises(WorkerDied):
        await workshop.settle()
    del workshop.cells.at[point]


async def take_over(workshop: Workshop) -> Workshop:
    """Another worker finds the run when the dead one's lease is over."""
    other = workshop.peer()
    await other.sweep()
    await other.settle()
    assert await workshop.rows("select 1 from steps where status in ('succeeded', 'ambiguous')") == []
    await workshop.lose_leases()
    await other.sweep()
    await other.settle()
    return other


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_that_dies_leaves_one_change_and_a_verified_run(open_cells: OpenWorkshop, point: Point) -> None:
    workshop = await open_cells()
    await die_at(workshop, point)
    await take_over(workshop)
    run = await workshop.run()
    assert (run["status"], run["verification"]) == ("completed", "verified")
    assert await workshop.cells.effects() == ["a"]
    assert await workshop.rows("select 1 from target_locks") == []
    begun = point != "dry_run"
    assert bool(await workshop.told("taken_over")) is begun


async def test_what_took_effect_before_the_crash_is_observed_and_not_executed_again(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await die_at(workshop, "after_effect")
    await take_over(workshop)
    assert workshop.cells.reached.count("before_effect") == 1
    (ended,) = await workshop.told("step_ended")
    assert "observed that it took effect" in ended


async def test_a_worker_that_dies_between_claim_and_lock_release_blocks_nobody_for_ever(
    open_cells: OpenWorkshop,
) -> None:
    """Dies twice in a row at different points; the third worker finishes it."""
    workshop = await open_cells()
    await die_at(workshop, "capture")
    second = workshop.peer()
    workshop.cells.at["before_effect"] = dies
    await workshop.lose_leases()
    await second.sweep()
    with pytest.raises(WorkerDied):
        await second.settle()
    del workshop.cells.at["before_effect"]
    await take_over(second)
    assert await workshop.cells.effects() == ["a"]
    assert (await workshop.run())["verification"] == "verified"


@pytest.mark.parametrize("point", ["before_effect", "after_effect"])
async def test_what_cannot_be_observed_is_ambiguous_escalated_and_not_repeated(
    open_cells: OpenWorkshop, point: Point
) -> None:
    workshop = await open_cells(BLIND)
    await die_at(workshop, point)
    await take_over(workshop)
    run = await workshop.run()
    assert run["status"] == "ambiguous"
    assert workshop.cells.reached.count("before_effect") == 1
    assert "may or may not" in run["reason"]
    assert len(await workshop.told("escalated")) == 1
    assert await workshop.pages() == 1
    assert await workshop.rows("select 1 from target_locks") == []


async def test_a_target_that_does_not_answer_the_new_worker_is_asked_again_then_ambiguous(
    open_cells: OpenWorkshop,
) -> None:
    workshop = await open_cells()
    await die_at(workshop, "after_effect")
    fails(UnavailableError("no route"), workshop.cells, "observe", times=99)
    other = await take_over(workshop)
    assert workshop.cells.reached.count("observe") == 3
    assert len(other.slept) == 2
    assert (await workshop.run())["status"] == "ambiguous"
    assert workshop.cells.reached.count("before_effect") == 1


async def test_a_target_that_answers_the_new_worker_at_last_is_believed(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await die_at(workshop, "after_effect")
    fails(UnavailableError("no route"), workshop.cells, "claim", times=2)
    await take_over(workshop)
    assert (await workshop.run())["verification"] == "verified"
    assert await workshop.cells.effects() == ["a"]


async def frozen(workshop: Workshop, point: Point) -> tuple[asyncio.Task[list[Job]], asyncio.Event]:
    """A worker that stands still at a point and may go on when the event is set."""
    arrived, thaw = asyncio.Event(), asyncio.Event()

    async def freeze(ctx: StepContext) -> None:
        if ctx.fence.token == 1:
            arrived.set()
            await thaw.wait()

    workshop.cells.at[point] = freeze
    task = asyncio.create_task(workshop.settle())
    async with asyncio.timeout(10):
        await arrived.wait()
    return task, thaw


@pytest.mark.parametrize("point", ["claim", "capture", "before_effect", "after_effect"])
async def test_a_frozen_worker_can_neither_change_the_target_nor_the_record(
    open_cells: OpenWorkshop, point: Point
) -> None:
    workshop = await open_cells()
    await start(workshop)
    old, thaw = await frozen(workshop, point)
    await take_over(workshop)
    recorded = (
        "select s.status, s.result, s.error, r.status as run, r.fence from steps s join runs r on r.id = s.run_id"
    )
    before = await workshop.rows(recorded)
    thaw.set()
    await old
    assert await workshop.rows(recorded) == before
    assert await workshop.cells.effects() == ["a"]
    assert (await workshop.run())["verification"] == "verified"


async def test_a_frozen_worker_that_wakes_up_just_after_it_was_observed_cannot_act(open_cells: OpenWorkshop) -> None:
    """The fence is raised before the target is looked at, so that the answer stays true."""
    workshop = await open_cells()
    await start(workshop)
    old, thaw = await frozen(workshop, "before_effect")

    async def wake_up(ctx: StepContext) -> None:
        if ctx.fence.token == 2:
            thaw.set()
            await old

    workshop.cells.at["observed"] = wake_up
    await take_over(workshop)
    assert await workshop.cells.effects() == ["a"]
    assert (await workshop.run())["verification"] == "verified"


OUTAGES: dict[str, Callable[[], Exception]] = {
    "lost answer": lambda: AmbiguousError("the connection broke"),
    "unknown answer": lambda: AdapterError("an answer of an unknown form"),
    "defect": lambda: RuntimeError("a defect"),
    "time is up": TimeoutError,
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_answer_lost_after_the_change_is_observed(open_cells: OpenWorkshop, name: str) -> None:
    workshop = await open_cells()
    fails(OUTAGES[name](), workshop.cells, "after_effect")
    await start(workshop)
    await workshop.settle()
    assert (await workshop.run())["verification"] == "verified"
    assert await workshop.cells.effects() == ["a"]


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_answer_lost_from_a_target_that_cannot_tell_is_ambiguous(open_cells: OpenWorkshop, name: str) -> None:
    workshop = await open_cells(BLIND)
    fails(OUTAGES[name](), workshop.cells, "after_effect")
    await start(workshop)
    await workshop.settle()
    assert (await workshop.run())["status"] == "ambiguous"
    assert await workshop.cells.effects() == ["a"]


async def test_an_answer_lost_before_the_change_is_tried_again_where_the_author_allows(
    open_cells: OpenWorkshop,
) -> None:
    retried = {"id": "change", "action": "cell.set", "with": {"cell": "a"}, "retry": {"attempts": 3, "delay": "7s"}}
    workshop = await open_cells(playbook(steps=[retried]))
    fails(AmbiguousError("the connection broke"), workshop.cells, "before_effect", times=2)
    await start(workshop)
    await workshop.settle()
    assert (await workshop.run())["verification"] == "verified"
    assert await workshop.cells.effects() == ["a"]
    assert workshop.slept == [7.0, 7.0]
    assert len(await workshop.told("step_started")) == 1


@pytest.mark.parametrize("seen", ["", "one of two parts is changed"])
async def test_an_answer_lost_says_what_was_seen_of_the_target(open_cells: OpenWorkshop, seen: str) -> None:
    workshop = await open_cells()
    workshop.cells.no_effect = seen
    fails(AmbiguousError("the connection broke"), workshop.cells, "before_effect")
    await start(workshop)
    await workshop.settle()
    (step,) = await workshop.rows("select status, error from steps")
    assert step["status"] == "failed"
    assert step["error"] == f"the connection broke; {seen or 'nothing was changed'}"


@pytest.mark.parametrize("error", [TemporaryError("not now"), PermanentError("never")])
async def test_a_refused_change_fails_without_a_second_try(open_cells: OpenWorkshop, error: Exception) -> None:
    workshop = await open_cells()
    fails(error, workshop.cells, "before_effect", times=99)
    await start(workshop)
    await workshop.settle()
    run = await workshop.run()
    assert run["status"] == "failed"
    assert str(error) in run["reason"]
    assert workshop.cells.reached.count("before_effect") == 1
    assert await workshop.cells.effects() == []


async def test_a_read_whose_time_is_up_is_tried_again_where_the_author_allows(open_cells: OpenWorkshop) -> None:
    step = {"id": "look", "action": "cell.look", "with": {"cell": "a"}, "retry": {"attempts": 2, "delay": "1s"}}
    workshop = await open_cells(playbook(steps=[step], verify=None))
    fails(TimeoutError(), workshop.cells, "look")
    await start(workshop)
    await workshop.settle()
    assert (await workshop.run())["status"] == "completed"
    assert workshop.cells.reached == ["look", "look"]


async def test_an_outcome_that_the_store_does_not_take_is_not_a_failed_step(open_cells: OpenWorkshop) -> None:
    """The change is done, then its record is refused: the run is left as it is, and the next worker observes."""
    workshop = await open_cells()
    refusal = """
        create function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'disk full' using errcode = '53100'; end $$;
        create trigger refuse before update on steps for each row when (new.status = 'succeeded')
            execute function refuse();
        """

    async def break_store(_: StepContext) -> None:
        await workshop.pool.execute(refusal)

    workshop.cells.at["after_effect"] = break_store
    await start(workshop)
    await workshop.settle()
    assert await workshop.rows("select status, error from steps") == [{"status": "started", "error": None}]
    assert (await workshop.run())["status"] == "running"
    await workshop.pool.execute("drop trigger refuse on steps")
    await take_over(workshop)
    assert (await workshop.run())["verification"] == "verified"
    assert await workshop.cells.effects() == ["a"]


async def test_a_worker_without_the_database_gives_up_before_its_lease_ends(open_cells: OpenWorkshop) -> None:
    """Renewal that fails cancels the work while nobody else can have begun."""
    workshop = await open_cells()
    await start(workshop)
    old, thaw = await frozen(workshop, "before_effect")
    await workshop.pool.execute("update runs set lease_owner = 'somebody else'")
    async with asyncio.timeout(20):
        await old
    thaw.set()
    assert await workshop.cells.effects() == []
    assert await workshop.rows("select status from steps") == [{"status": "started"}]


async def test_draining_hands_the_run_over_between_steps(open_cells: OpenWorkshop) -> None:
    steps = [
        {"id": "first", "action": "cell.set", "with": {"cell": "a"}},
        {"id": "second", "action": "cell.set", "with": {"cell": "b"}},
    ]
    workshop = await open_cells(playbook(steps=steps))
    workshop.cells.at["after_effect"] = lambda _: workshop.engine.executor.draining.set()
    await start(workshop)
    (job,) = await workshop.rows("select payload from pgqueuer where entrypoint = 'run'")
    await workshop.pool.execute("delete from pgqueuer where entrypoint = 'run'")
    await workshop.engine.handlers()[Job.RUN](job["payload"].decode())
    assert await workshop.cells.effects() == ["a"]
    other = workshop.peer()
    await other.settle()
    assert await workshop.cells.effects() == ["a", "b"]
    assert (await workshop.run())["verification"] == "verified"


async def test_a_run_that_kills_every_worker_ends_with_a_person(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await die_at(workshop, "before_effect")
    await workshop.pool.execute("update runs set fence = 31, lease_until = clock_timestamp() - interval '1 s'")
    other = workshop.peer()
    await other.sweep()
    await other.settle()
    run = await workshop.run()
    assert run["status"] == "ambiguous"
    assert "no worker could finish it" in run["reason"]
    assert await workshop.cells.effects() == []
    assert len(await workshop.told("escalated")) == 1
