"""The worker: runs a handler for every job that was enqueued, in any replica.

A handler that raises TemporaryError is tried again after a growing delay, a few times; one that raises anything else
fails. Failed jobs are held in the queue, where people can see them and the sweep retries them. A job whose worker died
or froze is picked by another after `HEARTBEAT`, so a handler may run twice: the rows say what is due, not the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job as PickedJob

from hdr_responder.adapters.store.driver import PatientDriver
from hdr_responder.adapters.store.jobs import CHANNEL, queries
from hdr_responder.adapters.store.pool import open_pool
from hdr_responder.domain.ports.store import Job
from hdr_responder.errors import AdapterError, TemporaryError

log = structlog.get_logger(__name__)

HEARTBEAT = timedelta(seconds=8)
"""A job whose worker was not heard for so long is given to another."""
POLL = timedelta(seconds=5)
"""How long a job can go unnoticed when its notification is lost."""
BATCH = 20
POOL_SIZE = 4
MAX_ATTEMPTS = 8
FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(minutes=1)
GIVE_BACK_SECONDS = 5.0
"""How long interrupted handlers have to end and their jobs to be given back."""
SILENCE_SECONDS = 30.0
RESTART_SECONDS = 1.0

Handler = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Periodic:
    """Something that every replica does again and again, ``seconds`` after it last ended."""

    name: str
    call: Callable[[], Awaitable[object]]
    seconds: float


class Worker:
    """Runs ``handlers`` for their jobs.

    ``limits`` bounds, for each job, how many run at a time in all replicas together; every handler needs one, so that a
    storm of one kind never keeps another from running.
    """

    def __init__(
        self,
        url: str,
        handlers: Mapping[Job, Handler],
        limits: Mapping[Job, int],
        periodic: Sequence[Periodic] = (),
    ) -> None:
        unlimited = sorted(job for job in handlers if limits.get(job, 0) < 1)
        if unlimited:
            raise AdapterError(f"jobs without a concurrency limit: {', '.join(unlimited)}")
        self._url = url
        self._handlers = handlers
        self._limits = limits
        self._periodic = periodic
        self._stopping = asyncio.Event()
        self._giving_back = False
        self._running: set[asyncio.Task[object]] = set()
        self._manager: QueueManager | None = None
        self._driver: PatientDriver | None = None
        self._serving: asyncio.Task[None] | None = None
        self._repeating: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> bool:
        """Whether the worker works or waits for work; also during an outage of the database, which it waits out."""
        return self._serving is not None and not self._serving.done()

    @property
    def connected(self) -> bool:
        """Whether the database answered within the last 30 s."""
        last = self._driver.last_answer if self._driver else None
        return last is not None and asyncio.get_running_loop().time() - last < SILENCE_SECONDS

    async def start(self) -> None:
        """Begin to pick jobs; raises ConfigError or UnavailableError when the database cannot be reached now."""
        pool = await open_pool(self._url, max_size=POOL_SIZE)
        self._driver = PatientDriver(self._url, pool)
        self._serving = asyncio.create_task(self._serve(self._driver))
        self._serving.add_done_callback(lambda _: pool.terminate())
        self._repeating = [asyncio.create_task(self._repeat(each)) for each in self._periodic]

    async def stop(self, seconds: float) -> None:
        """Pick no more, wait up to ``seconds`` for running handlers, then interrupt them and give their jobs back."""
        self._stopping.set()
        await _cancel(self._repeating)
        if self._serving is None or self._driver is None:
            return
        self._driver.give_up()
        if self._manager is not None:
            self._manager.shutdown.set()
        await asyncio.wait({self._serving}, timeout=seconds)
        if not self._serving.done():
            self._giving_back = True
            for task in tuple(self._running):
                task.cancel()
            await asyncio.wait({self._serving}, timeout=GIVE_BACK_SECONDS)
        await _cancel([self._serving])

    async def _serve(self, driver: PatientDriver) -> None:
        """Run PgQueuer; a defect in it ends one manager, never the worker."""
        while not self._stopping.is_set():
            self._manager = self._new_manager(driver)
            try:
                await self._manager.run(
                    dequeue_timeout=POLL,
                    batch_size=BATCH,
                    heartbeat_timeout=HEARTBEAT,
                    log_aggregation_interval=timedelta(0),
                )
            except Exception:
                log.exception("the job queue failed and is started again")
                await self._wait(RESTART_SECONDS)

    def _new_manager(self, driver: PatientDriver) -> QueueManager:
        manager = QueueManager(queries(driver), CHANNEL)
        for job, handler in self._handlers.items():
            run = functools.partial(self._handle, job, handler)
            register = manager.entrypoint(
                job.value, concurrency_limit=self._limits[job], accepts_context=False, on_failure="hold"
            )
            register(run)
        return manager

    async def _handle(self, job: Job, handler: Handler, picked: PickedJob) -> None:
        if self._stopping.is_set():
            raise RetryRequested(timedelta(0), "its worker is stopping")
        key = (picked.payload or b"").decode()
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            await handler(key)
        except TemporaryError as error:
            if picked.attempts + 1 >= MAX_ATTEMPTS:
                raise
            log.warning("job failed and will be tried again", job=job, key=key, error=str(error))
            raise RetryRequested(_delay(picked.attempts, error), str(error)) from error
        except asyncio.CancelledError:
            if not self._giving_back:
                raise
            raise RetryRequested(timedelta(0), "its worker was stopped") from None

    async def _repeat(self, each: Periodic) -> None:
        while not self._stopping.is_set():
            try:
                await each.call()
            except TemporaryError as error:
                log.warning("periodic work failed and will be tried again", work=each.name, error=str(error))
            except Exception:
                log.exception("periodic work failed and will be tried again", work=each.name)
            await self._wait(each.seconds)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def _delay(attempts: int, error: TemporaryError) -> timedelta:
    grown: timedelta = FIRST_RETRY * 2.0**attempts
    return max(timedelta(seconds=error.retry_after or 0), min(grown, LONGEST_RETRY))


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
