"""The sweep finds what is due without a job; retention deletes what is old and done."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hdr_responder.adapters.store import prune
from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.prune import Prune, Retention
from hdr_responder.adapters.store.sweep import Sweep
from hdr_responder.domain.notifications import Lane, NotificationKind
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import RunStatus
from tests.fakes.clock import ManualClock
from tests.integration.store.samples import MINUTE, NOW, incident, notification, step, stored_incident, stored_run

pytestmark = pytest.mark.service

SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def sweep(pool: Pool, clock: ManualClock) -> Sweep:
    return Sweep(pool, clock)


async def _deliver(pool: Pool, status: str = "received") -> None:
    await pool.execute(
        "insert into deliveries (source, received_at, body, status) values ('am', $1, '', $2)", NOW, status
    )


async def test_nothing_due_enqueues_nothing(sweep: Sweep, store: PostgresStore) -> None:
    await stored_run(store)
    await stored_run(store, status=RunStatus.COMPLETED, next_check_at=NOW, ask_again_at=NOW, expires_at=NOW)
    assert await sweep() == []


@pytest.mark.parametrize("status", ["received", "rejected"])
async def test_a_delivery_that_waits_too_long_wakes_intake(
    sweep: Sweep, clock: ManualClock, pool: Pool, status: str
) -> None:
    await _deliver(pool, status)
    assert await sweep() == []
    clock.advance(5)
    assert await sweep() == [(Job.INTAKE, "")]


@pytest.mark.parametrize(
    ("status", "times", "job"),
    [
        (RunStatus.VERIFYING, {"next_check_at": NOW, "started_at": NOW}, Job.VERIFY),
        (RunStatus.HELD, {"ask_again_at": NOW}, Job.START),
        (RunStatus.AWAITING_APPROVAL, {"expires_at": NOW}, Job.START),
        (RunStatus.RUNNING, {"started_at": NOW - 5 * SECOND}, Job.RUN),
    ],
)
async def test_a_due_run_is_woken(
    sweep: Sweep, store: PostgresStore, status: RunStatus, times: dict[str, object], job: Job
) -> None:
    due = await stored_run(store, status=status, **times)
    later = dict.fromkeys(times, NOW + SECOND)
    await stored_run(store, status=status, **later)
    assert await sweep() == [(job, str(due.id))]


async def test_an_incident_that_was_not_planned_for_is(sweep: Sweep, clock: ManualClock, store: PostgresStore) -> None:
    waiting, planned = incident("waiting", plan_at=NOW), incident("planned")
    async with store.transaction() as tx:
        await tx.incidents.insert([waiting, planned])
    assert await sweep() == []
    clock.advance(5)
    assert await sweep() == [(Job.PLAN, str(waiting.id))]


async def test_a_run_is_woken_when_its_lease_runs_out(sweep: Sweep, store: PostgresStore, pool: Pool) -> None:
    saved = await stored_run(store, status=RunStatus.RUNNING, started_at=NOW - MINUTE)
    async with store.transaction() as tx:
        await tx.runs.lease(saved.id, "w", timedelta(seconds=30))
    assert await sweep() == []
    await pool.execute("update runs set lease_until = clock_timestamp()")
    assert await sweep() == [(Job.RUN, str(saved.id))]


async def test_temporary_changes_deadlines_and_lanes_are_woken(
    sweep: Sweep, clock: ManualClock, store: PostgresStore
) -> None:
    saved = await stored_run(store, "a", "b", status=RunStatus.COMPLETED, started_at=NOW, ended_at=NOW)
    async with store.transaction() as tx:
        for position in (0, 1):
            await tx.runs.save_step(saved, step(saved, position, undo_at=NOW))
        paging, escalating = incident("page", page_at=NOW), incident("escalate", escalate_at=NOW)
        await tx.incidents.insert([paging, escalating, incident("paged", page_at=NOW, paged_at=NOW)])
        await tx.notifications.add([notification(None, NotificationKind.TEST, lane=lane) for lane in Lane])
    clock.advance(5)
    assert sorted(await sweep()) == sorted(
        [
            (Job.UNDO, str(saved.id)),
            (Job.DEADLINE, str(paging.id)),
            (Job.DEADLINE, str(escalating.id)),
            *((Job.notify(lane), "") for lane in Lane),
        ]
    )


async def test_what_has_a_job_is_left_to_it_and_the_sweep_does_not_repeat_itself(
    sweep: Sweep, store: PostgresStore, pool: Pool
) -> None:
    due = [await stored_run(store, ask_again_at=NOW) for _ in range(3)]
    async with store.transaction() as tx:
        await tx.wake(Job.START, [str(due[0].id)], MINUTE)
        await tx.wake(Job.VERIFY, [str(due[1].id)])
    assert sorted(await sweep()) == sorted((Job.START, str(d.id)) for d in due[1:])
    assert await sweep() == []
    assert await pool.fetchval("select count(*) from pgqueuer") == 4


async def test_a_failed_job_rests_before_it_is_tried_again(sweep: Sweep, store: PostgresStore, pool: Pool) -> None:
    async with store.transaction() as tx:
        await tx.wake(Job.PLAN, ["fresh", "rested"])
    await pool.execute("update pgqueuer set status = 'failed', attempts = 8")
    await pool.execute("update pgqueuer set updated = now() - interval '6 minutes' where payload = 'rested'")
    assert await sweep() == []
    rows = await pool.fetch("select payload, status::text, attempts from pgqueuer order by 1")
    assert [tuple(row) for row in rows] == [(b"fresh", "failed", 8), (b"rested", "queued", 0)]


async def test_one_replica_sweeps_at_a_time(store: PostgresStore, pool: Pool, clock: ManualClock) -> None:
    await stored_run(store, ask_again_at=NOW)
    found = await asyncio.gather(*(Sweep(pool, clock)() for _ in range(8)))
    assert sum(len(each) for each in found) == 1


async def test_retention_deletes_what_is_old_and_done(
    store: PostgresStore, pool: Pool, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", 2)
    for _ in range(5):
        await _deliver(pool)
    await pool.execute("update deliveries set status = 'processed', processed_at = received_at where id <= 4")
    async with store.transaction() as tx:
        opened = await stored_incident(tx)
        await tx.notifications.add([notification(opened.id, NotificationKind.THREAD) for _ in range(2)])
        claimed = await tx.notifications.claim_due(Lane.SLACK, NOW, MINUTE)
        assert claimed is not None
        await tx.notifications.mark_sent(claimed, NOW)
        await tx.controls.first_time("old", NOW)
        await tx.controls.first_time("new", NOW + timedelta(days=30))
        await tx.wake(Job.PLAN, ["failed", "waits"])
    await pool.execute("update pgqueuer set created = $1", NOW)
    await pool.execute("update pgqueuer_log set created = $1", NOW)
    await pool.execute("update pgqueuer set status = 'failed' where payload = 'failed'")
    clock.advance(timedelta(days=30).total_seconds())
    once = Prune(pool, clock, Retention())
    kept = {"deliveries": 0, "notifications": 0}
    assert await once() == kept | {"inbound_events": 1, "job_log": 2, "failed_jobs": 1}
    clock.advance(1)
    assert await once() == {"deliveries": 4, "notifications": 1, "inbound_events": 0, "job_log": 0, "failed_jobs": 0}
    assert [row["key"] for row in await pool.fetch("select key from inbound_events")] == ["new"]
    assert await pool.fetchval("select payload from pgqueuer") == b"waits"
    assert await pool.fetchval("select count(*) from deliveries") == 1
    assert await pool.fetchval("select status from notifications") == "pending"
