"""PgQueuer's connection to the database, which waits an outage out instead of ending the worker.

Left alone, PgQueuer's loop dies with the first lost connection and does not return before every running handler has
ended. Here a statement that meets an outage is tried again until the database is back or the worker gives up. Each of
PgQueuer's statements may be repeated: jobs that were picked by one whose answer was lost are picked again once they
miss their heartbeats.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

import asyncpg
import structlog
from pgqueuer.adapters.drivers.asyncpg import Relay
from pgqueuer.core.tm import TaskManager
from pgqueuer.ports.driver import NotifyCallback

from hdr_responder.adapters.store.failures import CAUGHT, is_outage
from hdr_responder.adapters.store.pool import Pool, connect
from hdr_responder.errors import HdrError

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_DELAY = 0.1
LONGEST_DELAY = 2.0
PROBE_SECONDS = 10.0
"""How often the listening connection is tried, which otherwise waits in silence."""
PROBE_TIMEOUT = 5.0


class PatientDriver:
    """PgQueuer's ``Driver`` on a pool, with a connection of its own that listens. The pool stays its owner's."""

    def __init__(self, url: str, pool: Pool) -> None:
        self._url = url
        self._pool = pool
        self._listeners: list[tuple[str, NotifyCallback]] = []
        self._listening: asyncpg.Connection[asyncpg.Record] | None = None
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._given_up = asyncio.Event()
        self.shutdown = asyncio.Event()
        self.last_answer: float | None = None
        """The loop's time at which the database last answered."""

    @property
    def tm(self) -> TaskManager:
        """PgQueuer asks for it; this driver keeps its task itself."""
        return TaskManager()

    def give_up(self) -> None:
        """Stop waiting for the database: from now on, an outage is raised."""
        self._given_up.set()

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Return the rows."""
        rows = await self._patiently(lambda: self._pool.fetch(query, *args))
        return [dict(row) for row in rows]

    async def execute(self, query: str, *args: object) -> str:
        """Return the command's tag."""
        return await self._patiently(lambda: self._pool.execute(query, *args))

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notification."""
        await self.execute("select pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Listen on ``channel``, over reconnections too."""
        self._listeners.append((channel, callback))
        if self._keeper is not None:
            self._lost.set()
            return
        with contextlib.suppress(*CAUGHT, HdrError):
            await self._listen()
        self._keeper = asyncio.create_task(self._keep_listening())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        self._hang_up()
        self._listeners.clear()

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        delay = FIRST_DELAY
        while True:
            try:
                answer = await call()
            except CAUGHT as error:
                if not is_outage(error) or self._given_up.is_set():
                    raise
                log.warning("the job queue waits for the database", kind=type(error).__name__)
                await self._pause(delay)
                delay = min(delay * 2, LONGEST_DELAY)
            else:
                self.last_answer = asyncio.get_running_loop().time()
                return answer

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._given_up.wait(), seconds)

    async def _keep_listening(self) -> None:
        delay = FIRST_DELAY
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), PROBE_SECONDS)
            try:
                await self._listen()
                delay = FIRST_DELAY
            except (*CAUGHT, HdrError):
                self._hang_up()
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)

    async def _listen(self) -> None:
        """Listen again after a loss; otherwise make sure that the connection still answers."""
        if self._listening is not None and not self._lost.is_set():
            await self._listening.execute("select 1", timeout=PROBE_TIMEOUT)
            return
        self._hang_up()
        connection = await connect(self._url)
        self._listening = connection
        self._lost.clear()
        connection.add_termination_listener(self._note_loss)
        for channel, callback in self._listeners:
            await connection.add_listener(channel, Relay(callback))

    def _note_loss(self, closed: object) -> None:
        if closed is self._listening:
            self._lost.set()

    def _hang_up(self) -> None:
        connection, self._listening = self._listening, None
        self._lost.set()
        if connection is not None:
            connection.terminate()
