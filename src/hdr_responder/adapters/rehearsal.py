"""A real blocked database and a real sender, for the demo: nothing in it is pretended.

`BlockedDatabase` opens sessions as an application would: one updates a row and then sits idle in its transaction, and
others wait behind it, one of them behind another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg

from hdr_responder.errors import TemporaryError

CONNECT_SECONDS = 10.0
POST_SECONDS = 10.0
LOOK_SECONDS = 0.05
DATABASE = "hdr_empire"

_SCHEMA = """
create table if not exists consciousness_states (id int primary key, layer text not null, updated_at timestamptz);
insert into consciousness_states values (1, 'sensory', now()), (2, 'memory', now()) on conflict do nothing;
"""
_UPDATE = "update consciousness_states set updated_at = now() where id = $1"
_WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def with_database(url: str, name: str) -> str:
    """Return the same server's address with another database."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))


@dataclass(slots=True)
class BlockedDatabase:
    """Sessions that block each other. ``root_pid`` is the backend that all others wait for."""

    url: str
    root_pid: int
    waiters: tuple[asyncio.Task[None], ...]
    watcher: asyncpg.Connection[asyncpg.Record]

    async def blocked(self) -> int:
        """Return how many sessions wait for a lock now."""
        count: int = await self.watcher.fetchval(_WAITING)
        return count

    async def root_is_gone(self) -> bool:
        """Tell whether the root's backend has ended."""
        found = await self.watcher.fetchval("select count(*) from pg_stat_activity where pid = $1", self.root_pid)
        return found == 0

    async def wait_until_blocked(self, count: int, within: timedelta) -> None:
        """Wait until ``count`` sessions wait; raises TimeoutError."""
        for _ in range(round(within.total_seconds() / LOOK_SECONDS)):
            if await self.blocked() >= count:
                return
            await asyncio.sleep(LOOK_SECONDS)
        raise TimeoutError(f"fewer than {count} sessions wait after {within}")

    async def finished(self) -> int:
        """Return how many of the waiting sessions have done their work; raises what one of them raised."""
        done = [w for w in self.waiters if w.done()]
        for waiter in done:
            waiter.result()
        return len(done)


@contextlib.asynccontextmanager
async def blocked_database(server_url: str) -> AsyncIterator[BlockedDatabase]:
    """Create the database on the server and block it; everything is closed at the end."""
    await _create(server_url)
    url = with_database(server_url, DATABASE)
    async with contextlib.AsyncExitStack() as stack:
        watcher = await _connect(stack, url, "watcher")
        await watcher.execute(_SCHEMA)
        root = await _connect(stack, url, "report-job")
        transaction = root.transaction()
        await transaction.start()
        await root.execute(_UPDATE, 1)
        second = await _connect(stack, url, "capture-worker")
        third = await _connect(stack, url, "capture-worker")
        fourth = await _connect(stack, url, "dashboard")
        waiters = (
            asyncio.create_task(_work(second, (2, 1))),
            asyncio.create_task(_work(third, (1,))),
            asyncio.create_task(_work(fourth, (2,))),
        )
        stack.push_async_callback(_end, waiters)
        yield BlockedDatabase(url=url, root_pid=root.get_server_pid(), waiters=waiters, watcher=watcher)


async def post_delivery(url: str, token: str, body: bytes) -> int:
    """Send a delivery as Alertmanager does and return the status of the answer; raises TemporaryError without one."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=POST_SECONDS)) as session,
            session.post(url, data=body, headers=headers) as response,
        ):
            return response.status
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TemporaryError(f"the service did not answer: {type(error).__name__}") from error


async def _create(server_url: str) -> None:
    connection = await asyncpg.connect(server_url, timeout=CONNECT_SECONDS)
    try:
        exists = await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE)
        if not exists:
            await connection.execute(f"create database {DATABASE}")
    finally:
        await connection.close()


async def _connect(stack: contextlib.AsyncExitStack, url: str, application: str) -> asyncpg.Connection[asyncpg.Record]:
    connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, server_settings={"application_name": application})
    stack.callback(connection.terminate)
    return connection


async def _work(connection: asyncpg.Connection[asyncpg.Record], rows: tuple[int, ...]) -> None:
    async with connection.transaction():
        for row in rows:
            await connection.execute(_UPDATE, row)


async def _end(waiters: tuple[asyncio.Task[None], ...]) -> None:
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
