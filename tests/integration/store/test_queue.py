"""Jobs from the transaction that enqueues them to the handler that runs, through failures, outages and stops."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hdr_responder.adapters.store import queue
from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.queue import Handler, Periodic, Worker
from hdr_responder.domain.ports.store import Job
from hdr_responder.errors import AdapterError, PermanentError, TemporaryError, UnavailableError
from tests.services.postgres import PostgresServer
from tests.services.waiting import eventually

pytestmark = pytest.mark.service

DEADLINE_SECONDS = 30.0

ROOT = Path(__file__).parents[3]

ENDLESS_WORKER = """
import asyncio, sys
from hdr_responder.adapters.store.queue import Worker
from hdr_responder.domain.ports.store import Job
async def endless(key):
    print("picked", key, flush=True)
    await asyncio.Event().wait()
async def main():
    await Worker(sys.argv[1], {Job.RUN: endless}, {Job.RUN: 1}).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""

Start = Callable[..., AbstractAsyncContextManager[Worker]]


class Recorder:
    """A handler that notes its keys and lets a test wait for them."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._news = asyncio.Condition()

    async def __call__(self, key: str) -> None:
        async with self._news:
            self.seen.append(key)
            self._news.notify_all()

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(DEADLINE_SECONDS), self._news:
            await self._news.wait_for(lambda: len(self.seen) >= count)
        return self.seen


@pytest.fixture
def start(store_url: str) -> Start:
    @contextlib.asynccontextmanager
    async def run(
        handlers: dict[Job, Handler], *, limit: int = 5, periodic: tuple[Periodic, ...] = ()
    ) -> AsyncIterator[Worker]:
        worker = Worker(store_url, handlers, dict.fromkeys(handlers, limit), periodic)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.stop(5)

    return run


async def _wake(store: PostgresStore, job: Job, *keys: str, after: timedelta | None = None) -> None:
    async with store.transaction() as tx:
        await tx.wake(job, keys, after)


async def _queued(pool: Pool) -> Counter[str]:
    return Counter(row["status"] for row in await pool.fetch("select status::text from pgqueuer"))


async def _until_queued(pool: Pool, expected: dict[str, int]) -> None:
    async def as_expected() -> bool:
        return await _queued(pool) == expected

    await eventually(as_expected, seconds=DEADLINE_SECONDS)


async def test_jobs_run_once_committed_with_their_keys(store: PostgresStore, pool: Pool, start: Start) -> None:
    plans, wakes = Recorder(), Recorder()
    async with start({Job.PLAN: plans, Job.INTAKE: wakes}):
        with contextlib.suppress(RuntimeError):
            async with store.transaction() as tx:
                await tx.wake(Job.PLAN, ["rolled back"])
                raise RuntimeError
        await _wake(store, Job.PLAN, "1", "2", "ö")
        async with store.transaction() as tx:
            await tx.wake(Job.INTAKE)
        assert sorted(await plans.until(3)) == ["1", "2", "ö"]
        assert await wakes.until(1) == [""]
        await _until_queued(pool, {})


async def test_a_delayed_job_waits(store: PostgresStore, start: Start) -> None:
    seen = Recorder()
    loop = asyncio.get_running_loop()
    async with start({Job.VERIFY: seen}):
        began = loop.time()
        await _wake(store, Job.VERIFY, "later", after=timedelta(seconds=1))
        await _wake(store, Job.VERIFY, "now")
        assert await seen.until(2) == ["now", "later"]
        assert loop.time() - began >= 1


async def test_two_workers_share_the_jobs(store: PostgresStore, start: Start) -> None:
    seen = Recorder()
    async with start({Job.PLAN: seen}), start({Job.PLAN: seen}):
        await _wake(store, Job.PLAN, *(str(n) for n in range(40)))
        keys = await seen.until(40)
    assert sorted(keys) == sorted(str(n) for n in range(40))


async def test_a_limit_holds_over_all_workers_and_starves_no_other_job(store: PostgresStore, start: Start) -> None:
    inside, most = 0, 0
    release = asyncio.Event()
    others = Recorder()
    started = Recorder()

    async def slow(key: str) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await started(key)
        await release.wait()
        inside -= 1

    handlers: dict[Job, Handler] = {Job.RUN: slow, Job.NOTIFY_PAGERDUTY: others}
    async with start(handlers, limit=2), start(handlers, limit=2):
        await _wake(store, Job.RUN, *(str(n) for n in range(30)))
        await started.until(2)
        await _wake(store, Job.NOTIFY_PAGERDUTY, "page")
        await others.until(1)
        release.set()
        await started.until(30)
    assert most == 2


async def test_a_temporary_failure_is_tried_again_a_few_times(
    store: PostgresStore, pool: Pool, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "FIRST_RETRY", timedelta(milliseconds=20))
    monkeypatch.setattr(queue, "MAX_ATTEMPTS", 3)
    seen = Recorder()

    async def fail(key: str) -> None:
        await seen(key)
        if key == "always" or seen.seen.count(key) == 1:
            raise TemporaryError("not now")

    async with start({Job.PLAN: fail}):
        await _wake(store, Job.PLAN, "once", "always")
        await seen.until(5)
        await _until_queued(pool, {"failed": 1})
    assert Counter(seen.seen) == {"once": 2, "always": 3}
    assert await pool.fetchval("select payload from pgqueuer") == b"always"


async def test_a_failed_job_is_held_and_harms_no_other(store: PostgresStore, pool: Pool, start: Start) -> None:
    seen = Recorder()

    async def fail(key: str) -> None:
        await seen(key)
        if key == "bad":
            raise PermanentError("never")

    async with start({Job.PLAN: fail}):
        await _wake(store, Job.PLAN, "bad")
        await _until_queued(pool, {"failed": 1})
        await _wake(store, Job.PLAN, "good")
        assert await seen.until(2) == ["bad", "good"]


async def test_the_wish_of_the_other_side_bounds_the_delay_from_below() -> None:
    assert queue._delay(0, TemporaryError("")) == timedelta(seconds=1)
    assert queue._delay(3, TemporaryError("")) == timedelta(seconds=8)
    assert queue._delay(30, TemporaryError("")) == timedelta(minutes=1)
    assert queue._delay(0, TemporaryError("", retry_after=90)) == timedelta(seconds=90)


async def test_stopping_waits_for_handlers_and_picks_nothing_new(
    store: PostgresStore, pool: Pool, store_url: str
) -> None:
    started, ended = Recorder(), Recorder()
    release = asyncio.Event()

    async def slow(key: str) -> None:
        await started(key)
        await release.wait()
        await ended(key)

    worker = Worker(store_url, {Job.RUN: slow}, {Job.RUN: 5})
    await worker.start()
    await _wake(store, Job.RUN, "1")
    await started.until(1)
    stopping = asyncio.create_task(worker.stop(20))
    await asyncio.sleep(0)
    await _wake(store, Job.RUN, "2")
    release.set()
    await stopping
    assert ended.seen == ["1"]
    assert not worker.alive
    assert await _queued(pool) == {"queued": 1}


async def test_a_handler_that_outlives_the_stop_gives_its_job_back(
    store: PostgresStore, pool: Pool, store_url: str, start: Start
) -> None:
    started, again = Recorder(), Recorder()

    async def endless(key: str) -> None:
        await started(key)
        await asyncio.Event().wait()

    worker = Worker(store_url, {Job.RUN: endless}, {Job.RUN: 5})
    await worker.start()
    await _wake(store, Job.RUN, "1")
    await started.until(1)
    await worker.stop(0.1)
    assert await _queued(pool) == {"queued": 1}
    async with start({Job.RUN: again}):
        assert await again.until(1) == ["1"]


async def test_the_worker_survives_a_restart_of_the_database(
    store: PostgresStore, start: Start, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that runs through the outage neither ends nor keeps the worker from picking other jobs."""
    monkeypatch.setattr(queue, "POLL", timedelta(milliseconds=200))
    seen, started = Recorder(), Recorder()
    release = asyncio.Event()

    async def slow(key: str) -> None:
        await started(key)
        await release.wait()

    async with start({Job.PLAN: seen, Job.RUN: slow}) as worker:
        await _wake(store, Job.RUN, "through")
        await started.until(1)
        assert worker.connected
        with capture_logs() as logs:
            await asyncio.to_thread(postgres_server.stop)

            async def told() -> bool:
                return any("waits for the database" in entry["event"] for entry in logs)

            await eventually(told, seconds=DEADLINE_SECONDS)
        await asyncio.to_thread(postgres_server.start)
        assert worker.alive
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                with contextlib.suppress(UnavailableError):
                    await _wake(store, Job.PLAN, "after")
                    break
        await seen.until(1)
        assert "after" in seen.seen
        assert started.seen == ["through"]
        release.set()


async def test_a_job_of_a_killed_worker_is_taken_over_within_twenty_seconds(
    store: PostgresStore, store_url: str, start: Start
) -> None:
    seen = Recorder()
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENDLESS_WORKER, store_url, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert killed.stdout is not None
    await _wake(store, Job.RUN, "1")
    assert await killed.stdout.readline() == b"picked 1\n"
    killed.kill()
    await killed.wait()
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with start({Job.RUN: seen}):
        assert await seen.until(1) == ["1"]
    assert loop.time() - began < 20


async def test_periodic_work_goes_on_after_failures(start: Start) -> None:
    calls = Recorder()

    async def work() -> None:
        await calls(str(len(calls.seen)))
        if len(calls.seen) == 1:
            raise TemporaryError("not now")
        if len(calls.seen) == 2:
            raise RuntimeError("a defect")

    async with start({}, periodic=(Periodic(name="work", call=work, seconds=0.01),)):
        await calls.until(3)


async def test_every_job_needs_a_limit(store_url: str) -> None:
    with pytest.raises(AdapterError, match="plan"):
        Worker(store_url, {Job.PLAN: Recorder()}, {})
