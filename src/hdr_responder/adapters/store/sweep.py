"""Finds what is due although no job says so: jobs only wake, the rows are the truth.

A job can be missing because its handler failed for good, because a due time was moved after the job was enqueued, or
because someone emptied the queue.
"""

from __future__ import annotations

from datetime import timedelta

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.domain.types import JobId

from hdr_responder.adapters.store.failures import translated
from hdr_responder.adapters.store.jobs import enqueue, queries
from hdr_responder.adapters.store.pool import Connection, Pool
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.adapters.store.transact import transact
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.ports.store import Job

SQL = load("sweep")

SWEEP_LOCK = 0x6864_7202
"""Key of the advisory lock that lets one replica sweep at a time; any constant of our own does."""
GRACE = timedelta(seconds=5)
"""How long a row that was given a job may wait for it."""
RETRY_AFTER = timedelta(minutes=5)
"""How long a failed job rests before it is tried again."""
LIMIT = 500
"""Rows of one kind a sweep."""


class Sweep:
    """Enqueues jobs for due rows that have none, and failed jobs again; cheap enough to be called every few seconds."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def __call__(self) -> list[tuple[Job, str]]:
        """Return what was enqueued; nothing when another replica sweeps just now."""
        async with transact(self._pool) as connection:
            session = Session(connection)
            if not await session.value(SQL["only_one"], SWEEP_LOCK):
                return []
            now = self._clock.now()
            found = [(Job(row["job"]), row["key"]) for row in await session.fetch(SQL["due"], now, now - GRACE, LIMIT)]
            await enqueue(session, found)
            await self._retry_failed(session, connection)
        return found

    async def _retry_failed(self, session: Session, connection: Connection) -> None:
        rows = await session.fetch(SQL["failed_jobs"], RETRY_AFTER, LIMIT)
        if rows:
            with translated():
                await queries(AsyncpgDriver(connection)).requeue_jobs([JobId(row["id"]) for row in rows])  # type: ignore[arg-type]
