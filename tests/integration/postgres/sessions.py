"""Sessions that really block each other, and how the tests call the actions on them.

A blocker is safe from a limit of zero on, so that no test has to wait for a session to have blocked for long.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg

from hdr_responder.actions.contract import Evidence, Fence, State, StepContext
from hdr_responder.actions.postgres.blocking import BlockingChain, BlockingChainParameters, BlockingChainResult
from hdr_responder.actions.postgres.termination import (
    TerminateBlocker,
    TerminateBlockerParameters,
    TerminateBlockerResult,
)
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.postgres import Blocker
from hdr_responder.domain.ports.systems import Systems
from tests.services.postgres import PostgresServer
from tests.services.waiting import eventually

NOW = timedelta()
LONG = timedelta(hours=1)
DEADLINE = 15.0
ROLES = """
DO $$ BEGIN
    CREATE ROLE app LOGIN;
    CREATE ROLE responder LOGIN;
    CREATE ROLE blind LOGIN;
    CREATE ROLE reader LOGIN;
    CREATE ROLE streamer LOGIN REPLICATION;
    GRANT pg_signal_backend, pg_read_all_stats TO responder;
    GRANT pg_read_all_stats TO reader;
END $$
"""
TABLES = """
CREATE TABLE jobs (id int PRIMARY KEY, note text);
INSERT INTO jobs SELECT n, '' FROM generate_series(1, 5) AS n;
GRANT ALL ON jobs TO app;
"""


@dataclass(slots=True)
class Kept(Evidence):
    """Evidence in memory."""

    artifacts: dict[str, bytes] = field(default_factory=dict)

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        assert media_type == "application/json"
        self.artifacts[name] = content
        return f"artifact-{name}"


class Database:
    """An empty database with a table of jobs, and sessions that block each other in it."""

    def __init__(self, server: PostgresServer, dsn: str) -> None:
        self.server = server
        self.dsn = dsn
        self._connections: list[asyncpg.Connection[asyncpg.Record]] = []
        self._waits: list[asyncio.Task[object]] = []

    def as_role(self, role: str) -> str:
        return self.dsn.replace("postgres@", f"{role}@")

    async def connect(
        self, role: str = "app", application: str = "jobs-api", **settings: str
    ) -> asyncpg.Connection[asyncpg.Record]:
        connection = await asyncpg.connect(
            self.as_role(role), server_settings={"application_name": application, **settings}
        )
        self._connections.append(connection)
        return connection

    async def holder(
        self, job: int = 1, role: str = "app", application: str = "jobs-api"
    ) -> asyncpg.Connection[asyncpg.Record]:
        """A session idle in a transaction that has locked a row."""
        connection = await self.connect(role, application)
        await connection.execute("BEGIN")
        await connection.execute(f"UPDATE jobs SET note = 'held' WHERE id = {job}")
        return connection

    async def waiter(
        self, job: int = 1, connection: asyncpg.Connection[asyncpg.Record] | None = None
    ) -> asyncio.Task[object]:
        """A session that waits for that row; returns once the server says so."""
        connection = connection or await self.connect()
        return await self.blocked(connection, f"UPDATE jobs SET note = 'wanted' WHERE id = {job}")

    async def blocked(self, connection: asyncpg.Connection[asyncpg.Record], sql: str) -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.create_task(connection.execute(sql))
        self._waits.append(task)
        await self.until(f"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = {pid(connection)})")
        return task

    async def running(self, connection: asyncpg.Connection[asyncpg.Record], sql: str) -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.create_task(connection.execute(sql))
        self._waits.append(task)
        await self.until(
            f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid(connection)} AND wait_event = 'PgSleep')"
        )
        return task

    async def until(self, question: str) -> None:
        """Ask as superuser until the answer is true."""
        observer = await asyncpg.connect(self.dsn)
        try:
            await eventually(lambda: observer.fetchval(question), seconds=DEADLINE)
        finally:
            await observer.close()

    async def close(self) -> None:
        for connection in self._connections:
            connection.terminate()
        await asyncio.gather(*self._waits, return_exceptions=True)


def pid(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    return connection.get_server_pid()


def context(database: Database, role: str = "responder", *, evidence: Kept | None = None) -> StepContext:
    target = PostgresTarget("empire", database.as_role(role), 5.0)
    return StepContext(
        fence=Fence(run_id=uuid.UUID(int=1), token=1),
        step_id="unblock",
        incident_ref="INC-1",
        cluster=None,
        systems=Systems(postgres={"empire": target}),
        evidence=evidence or Kept(),
        clock=SystemClock(),
    )


async def find(database: Database, **more: object) -> BlockingChainResult:
    parameters = BlockingChainParameters.model_validate({"target": "empire", "blocking_for": NOW, **more})
    return await BlockingChain().execute(context(database), parameters)


def ending(blockers: tuple[Blocker, ...], **more: object) -> TerminateBlockerParameters:
    """The parameters as a later step gets them: out of a stored result."""
    stored = json.loads(json.dumps([blocker.model_dump(mode="json") for blocker in blockers]))
    values = {"target": "empire", "blocking_for": NOW, "grace": "5s", "blockers": stored, **more}
    return TerminateBlockerParameters.model_validate(values)


async def end(database: Database, blockers: tuple[Blocker, ...], **more: object) -> TerminateBlockerResult:
    """The engine's order of calls, with the captured state passed through JSON as the store does."""
    action, ctx, params = TerminateBlocker(), context(database), ending(blockers, **more)
    await action.dry_run(ctx, params)
    state: State = json.loads(json.dumps(await action.capture(ctx, params)))
    return await action.execute(ctx, params, state)
