"""A real blocked database and a real sender, for the demo: nothing in it is pretended.

`BlockedDatabase` opens sessions as an application would: one updates a row and then sits idle in its transaction, and
three wait behind it, one of them behind another.
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
BLOCK_WITHIN = timedelta(seconds=10)
DATABASE = "hdr_empire"

_ROLES = """
do $$ begin
    create role empire_app login;
    create role responder login in role pg_signal_backend, pg_read_all_stats;
exception when duplicate_object then null;
end $$
"""
_SCHEMA = """
create table if not exists consciousness_states (id int primary key, layer text not null, updated_at timestamptz);
insert into consciousness_states values (1, 'sensory', now()), (2, 'memory', now()) on conflict do nothing;
grant select, update on consciousness_states to empire_app;
"""
_UPDATE = "update consciousness_states set updated_at = now() where id = $1"
_GONE = "select not exists (select from pg_stat_activity where pid = $1)"
_WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def address(server_url: str, *, role: str, database: str) -> str:
    """Return the server's address with another role and database."""
    parts = urlsplit(server_url)
    where = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, f"{role}@{where}", f"/{database}", parts.query, ""))


@dataclass(slots=True)
class BlockedDatabase:
    """Sessions that block each other. ``root_pid`` is the backend that all others wait for.

    ``url`` is the address for the responder: a role that may see and signal sessions, and nothing else.
    """

    url: str
    root_pid: int
    waiters: list[asyncio.Task[None]]
    watcher: asyncpg.Connection[asyncpg.Record]

    async def blocked(self) -> int:
        """Return how many sessions wait for a lock now."""
        count: int = await self.watcher.fetchval(_WAITING)
        return count

    async def root_is_gone(self) -> bool:
        """Tell whether the root's backend has ended."""
        gone: bool = await self.watcher.fetchval(_GONE, self.root_pid)
        return gone

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
    owner_url = address(server_url, role=_owner(server_url), database=DATABASE)
    app_url = address(server_url, role="empire_app", database=DATABASE)
    url = address(server_url, role="responder", database=DATABASE)
    async with contextlib.AsyncExitStack() as stack:
        watcher = await _connect(stack, owner_url, "watcher")
        await watcher.execute(_SCHEMA)
        root = await _connect(stack, app_url, "report-job")
        transaction = root.transaction()
        await transaction.start()
        await root.execute(_UPDATE, 1)
        second = await _connect(stack, app_url, "capture-worker")
        third = await _connect(stack, app_url, "capture-worker")
        fourth = await _connect(stack, app_url, "dashboard")
        blocked = BlockedDatabase(url=url, root_pid=root.get_server_pid(), waiters=[], watcher=watcher)
        stack.push_async_callback(_end, blocked.waiters)
        for connection, rows in ((second, (2, 1)), (third, (1,)), (fourth, (2,))):
            blocked.waiters.append(asyncio.create_task(_work(connection, rows)))
            await blocked.wait_until_blocked(len(blocked.waiters), BLOCK_WITHIN)
        yield blocked


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
        await connection.execute(_ROLES)
    finally:
        await connection.close()


def _owner(server_url: str) -> str:
    return urlsplit(server_url).username or "postgres"


async def _connect(stack: contextlib.AsyncExitStack, url: str, application: str) -> asyncpg.Connection[asyncpg.Record]:
    connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, server_settings={"application_name": application})
    stack.callback(connection.terminate)
    return connection


async def _work(connection: asyncpg.Connection[asyncpg.Record], rows: tuple[int, ...]) -> None:
    async with connection.transaction():
        for row in rows:
            await connection.execute(_UPDATE, row)


async def _end(waiters: list[asyncio.Task[None]]) -> None:
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
