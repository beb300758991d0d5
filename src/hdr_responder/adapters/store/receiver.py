"""Commits deliveries before they are answered, many in one commit.

A commit costs a wait for the disk, whatever it holds. So requests that arrive while a commit is under way wait for it
and share the next one, with those that can be read from their sockets by then: never later, by a timer, and never one
commit a request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import structlog

from hdr_responder.adapters.store.deliveries import SQL
from hdr_responder.adapters.store.failures import translated
from hdr_responder.adapters.store.jobs import enqueue_one
from hdr_responder.adapters.store.pool import connect
from hdr_responder.adapters.store.rows import text
from hdr_responder.adapters.store.session import Session
from hdr_responder.domain.ports.store import Job
from hdr_responder.errors import HdrError, UnavailableError

log = structlog.get_logger(__name__)

BATCH_DELIVERIES = 256
BUSY_DELIVERIES = 8
BATCH_BYTES = 32 * 1024 * 1024
WAITING_BYTES = 128 * 1024 * 1024
"""Turns of the event loop without a new delivery after which a commit starts: a request that can be read needs up to
three from its socket to here."""
COMMIT_SECONDS = 10.0
RETRY_SECONDS = 1.0
"""What senders are asked to wait when they are turned away; Alertmanager repeats by itself."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    source: str
    body: bytes
    received_at: datetime
    done: asyncio.Future[None]


class DeliveryWriter:
    """Stores deliveries over one connection of its own; ``waiting_bytes`` bounds what may wait for a commit."""

    def __init__(self, url: str, *, waiting_bytes: int = WAITING_BYTES) -> None:
        self._url = url
        self._room = waiting_bytes
        self._queue: deque[_Waiting] = deque()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None
        self._closed = False
        self._committing = 0

    async def open(self) -> None:
        """Connect; raises ConfigError or UnavailableError. A later loss is repaired by the next commit."""
        async with self._lock:
            await self._connected()

    async def close(self) -> None:
        """Commit what waits, then disconnect; further deliveries are turned away."""
        self._closed = True
        if self._writing is not None:
            await asyncio.wait({self._writing})
        async with self._lock:
            self._hang_up()

    @property
    def busy(self) -> bool:
        """Whether so many deliveries wait for a commit that other work had better let them pass."""
        return len(self._queue) + self._committing >= BUSY_DELIVERIES

    async def commit(self, source: str, body: bytes, received_at: datetime) -> None:
        """Return when the delivery and the job that wakes intake are committed.

        Raises UnavailableError (with ``retry_after``) when too much waits already or the database is lost: the delivery
        may then be stored or not, and its sender must repeat it.
        """
        if self._closed or len(body) > self._room:
            raise UnavailableError("too many deliveries wait to be stored", retry_after=RETRY_SECONDS)
        waiting = _Waiting(text(source), body, received_at, asyncio.get_running_loop().create_future())
        self._room -= len(body)
        self._queue.append(waiting)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        await waiting.done

    async def reject(self, source: str, body: bytes, received_at: datetime, *, error: str, field: str) -> None:
        """Keep a body that breaks the contract, once however often it is sent, and wake intake to report it.

        Raises UnavailableError as `commit` does.
        """
        async with self._lock, self._transaction() as session:
            if await session.execute(SQL["reject"], text(source), received_at, body, text(error), text(field)):
                await enqueue_one(session, Job.INTAKE)

    async def _write_all(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._queue:
                batch = self._next_batch()
                self._committing = len(batch)
                async with self._lock:
                    await self._write(batch)
                self._room += sum(len(waiting.body) for waiting in batch)
                batch = []
        finally:
            self._writing = None
            self._committing = 0
            self._turn_away(batch, UnavailableError("the delivery writer ended", retry_after=RETRY_SECONDS))

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < BATCH_DELIVERIES:
            size += len(self._queue[0].body)
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        """Commit a batch; one that the database refuses is halved until the bad delivery is alone."""
        try:
            await self._store(batch)
        except UnavailableError as error:
            self._turn_away(batch, error)
        except HdrError as error:
            if len(batch) == 1:
                log.exception("a delivery cannot be stored", source=batch[0].source)
                _settle(batch, error)
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
        else:
            _settle(batch, None)

    def _turn_away(self, batch: Sequence[_Waiting], cause: UnavailableError) -> None:
        """Fail the batch and everything behind it: nobody should wait for one attempt to reconnect after another."""
        error = UnavailableError(str(cause), retry_after=RETRY_SECONDS)
        error.__cause__ = cause.__cause__
        _settle(batch, error)
        _settle(self._queue, error)
        self._room += sum(len(waiting.body) for waiting in self._queue)
        self._queue.clear()

    async def _store(self, batch: Sequence[_Waiting]) -> None:
        sources, times, bodies = zip(*((w.source, w.received_at, w.body) for w in batch), strict=True)
        async with self._transaction() as session:
            await session.execute(SQL["store"], sources, times, bodies)
            await enqueue_one(session, Job.INTAKE)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Session]:
        connection = await self._connected()
        try:
            with translated():
                async with asyncio.timeout(COMMIT_SECONDS), connection.transaction():
                    yield Session(connection)
        except UnavailableError:
            self._hang_up()
            raise

    async def _connected(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url)
        return self._connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _settle(waiting: Iterable[_Waiting], error: HdrError | None) -> None:
    for each in waiting:
        if each.done.done():
            continue
        if error is None:
            each.done.set_result(None)
        else:
            each.done.set_exception(error)
