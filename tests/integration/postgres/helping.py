"""A database whose tables somebody else owns, and our role there as `deploy/postgres/role.sql` makes it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg

from hdr_responder.actions.contract import AnyMutation, Fence, Parameters, State, StepContext
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.systems import Systems
from tests.integration.postgres.sessions import DEADLINE, Kept
from tests.services.postgres import PostgresServer
from tests.services.waiting import eventually
from tests.unit.docs.markdown import ROOT

ROLE_SCRIPT = (ROOT / "deploy/postgres/role.sql").read_text("utf-8")
TABLES = """
CREATE TABLE jobs (id int PRIMARY KEY, note text, "timestamp" timestamptz NOT NULL DEFAULT now());
INSERT INTO jobs SELECT n, repeat('x', 100) FROM generate_series(1, 5000) AS n;
CREATE TABLE "Odd; DROP TABLE jobs--" (id int);
CREATE SCHEMA other;
CREATE TABLE other.things (id int PRIMARY KEY);
CREATE VIEW seen AS SELECT id FROM jobs;
CREATE TABLE parted (id int) PARTITION BY RANGE (id);
"""
STEP = "upkeep"
EVERYTHING = """
SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
    SELECT concat(oid, relname, pg_get_indexdef(oid), obj_description(oid, 'pg_class')) AS line
    FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace::regnamespace::text IN ('public', 'other')
    UNION ALL SELECT relname || coalesce(last_vacuum::text, '') || coalesce(last_analyze::text, '')
    FROM pg_stat_user_tables
    UNION ALL SELECT name || setting FROM pg_file_settings
) AS everything
"""


@dataclass(frozen=True, kw_only=True)
class Helped:
    """One database; ``owner`` owns its tables, ``role`` is ours."""

    server: PostgresServer
    database: str
    owner: str
    role: str

    @property
    def version(self) -> int:
        return int(self.run("SHOW server_version_num")) // 10_000

    def run(self, sql: str) -> str:
        """Run SQL as the superuser."""
        return self.server.execute(sql, database=self.database)

    def grant(self, **capabilities: str) -> None:
        """Run the script that makes our role, with these capabilities."""
        self.server.run_script(ROLE_SCRIPT, database=self.database, role=self.role, **capabilities)

    def grant_maintenance(self) -> None:
        """Run it as one must on this version to let the role maintain tables."""
        self.grant(maintenance="on", **({} if self.version >= 17 else {"owner": self.owner}))

    def dsn(self, user: str, port: int | None = None) -> str:
        address = self.server.dsn(self.database).replace("//postgres@", f"//{user}@")
        return address.replace(f":{self.server.port}/", f":{port}/") if port else address

    def target(self, port: int | None = None, **options: Any) -> PostgresTarget:
        return PostgresTarget("empire", self.dsn(self.role, port), **{"timeout": 5.0, **options})

    def context(self, target: PostgresTarget | None = None, *, evidence: Kept | None = None) -> StepContext:
        return StepContext(
            fence=Fence(run_id=uuid.UUID(int=1), token=1),
            step_id=STEP,
            incident_ref="INC-1",
            cluster=None,
            systems=Systems(postgres={"empire": target or self.target()}),
            evidence=evidence or Kept(),
            clock=SystemClock(),
        )

    @contextlib.asynccontextmanager
    async def session(
        self, user: str = "postgres", application: str = "jobs-api"
    ) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        connection = await asyncpg.connect(self.dsn(user), server_settings={"application_name": application})
        try:
            yield connection
        finally:
            connection.terminate()

    @contextlib.asynccontextmanager
    async def locked(self, lock: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """A session that holds something in a transaction until the block ends."""
        async with self.session(self.owner) as connection:
            await connection.execute("BEGIN")
            await connection.execute(lock)
            yield connection

    async def until(self, question: str) -> None:
        """Ask as superuser until the answer is true."""
        async with self.session(application="observer") as observer:
            await eventually(lambda: observer.fetchval(question), seconds=DEADLINE)

    async def waits(self, application: str) -> None:
        """Return once a session of that name waits for a lock."""
        await self.until(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) "
            f"WHERE NOT granted AND application_name = '{application}')"
        )

    async def none_left(self, application: str) -> None:
        await self.until(f"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{application}')")

    async def dump(self) -> str:
        """Everything that a change would show in: definitions, and when tables were last looked after."""
        return await asyncio.to_thread(self.run, EVERYTHING)


@contextlib.contextmanager
def help_database(server: PostgresServer) -> Iterator[Helped]:
    """A database with tables of an owner; no role of ours yet."""
    with server.fresh_database() as dsn:
        name = dsn.rsplit("/", 1)[1]
        made = Helped(server=server, database=name, owner=f"owner_{name}", role=f"responder_{name}")
        made.run(f"CREATE ROLE {made.owner} LOGIN")
        made.run(f"ALTER DATABASE {name} OWNER TO {made.owner}")
        made.run(f"GRANT ALL ON SCHEMA public TO {made.owner}")
        server.run_script(f"SET ROLE {made.owner};\n{TABLES}", database=name)
        made.run(f"ALTER DATABASE {name} OWNER TO postgres")
        try:
            yield made
        finally:
            server.ensure_running()
            for role in (made.role, made.owner):
                exists = made.run(f"SELECT count(*) FROM pg_roles WHERE rolname = '{role}'") == "1"
                if exists:
                    made.run(f"DROP OWNED BY {role} CASCADE")
                    made.run(f"DROP ROLE {role}")


async def change(action: AnyMutation, ctx: StepContext, params: Parameters) -> tuple[Any, State]:
    """The engine's order of calls; the result and what was captured."""
    await action.dry_run(ctx, params)
    await action.claim(ctx, params)
    state = await action.capture(ctx, params)
    return await action.execute(ctx, params, state), state
