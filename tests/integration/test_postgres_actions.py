"""The PostgreSQL actions on a real server with really blocked sessions.

A blocker is safe from a limit of zero on, so that no test has to wait for a session to have blocked for long.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from hdr_responder.actions.contract import Evidence, Fence, Seen, State, StepContext
from hdr_responder.actions.postgres import (
    FindBlockers,
    FindBlockersParameters,
    FindBlockersResult,
    Ping,
    PingParameters,
    TerminateBlockers,
    TerminateBlockersParameters,
    TerminateBlockersResult,
    Unblocked,
    UnblockedParameters,
)
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.kubernetes import AmbiguousError
from hdr_responder.domain.ports.postgres import Blocker
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import ConfigError, ConflictError, ForbiddenError, PermanentError, UnavailableError
from tests.services.ports import free_port
from tests.services.postgres import PostgresServer, run_postgres
from tests.services.waiting import eventually

pytestmark = pytest.mark.service

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


class AnswerLoser:
    """A relay to the server that loses the answer to the execution of one statement, after the server gave it."""

    def __init__(self, server_port: int, statement: bytes) -> None:
        self.port = free_port()
        self.cut = False
        self._server_port = server_port
        self._statement = statement

    async def __aenter__(self) -> AnswerLoser:
        self._relay = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._relay.close()
        await self._relay.wait_closed()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """PostgreSQL's clients ask and wait, so one chunk of each side at a time is a dialogue."""
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        prepared = False
        try:
            while asked := await client.read(1 << 20):
                to_server.write(asked)
                answer = await server.read(1 << 20)
                if prepared:
                    self.cut = True
                    break
                prepared = self._statement in asked
                to_client.write(answer)
        finally:
            to_server.close()
            to_client.close()


def pid(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    return connection.get_server_pid()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with run_postgres(max_connections=40) as started:
        started.execute("ALTER SYSTEM SET max_prepared_transactions = 8")
        started.execute(ROLES)
        started.restart()
        yield started


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    with server.fresh_database() as dsn:
        server.execute(TABLES, database=dsn.rsplit("/", 1)[1])
        made = Database(server, dsn)
        try:
            yield made
        finally:
            await made.close()


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


async def find(database: Database, **more: object) -> FindBlockersResult:
    parameters = FindBlockersParameters.model_validate({"target": "empire", "blocking_for": NOW, **more})
    return await FindBlockers().execute(context(database), parameters)


def ending(blockers: tuple[Blocker, ...], **more: object) -> TerminateBlockersParameters:
    values = {"target": "empire", "blocking_for": NOW, "grace": "5s", "blockers": blockers, **more}
    return TerminateBlockersParameters.model_validate(values)


async def end(database: Database, blockers: tuple[Blocker, ...], **more: object) -> TerminateBlockersResult:
    """The engine's order of calls, with the captured state passed through JSON as the store does."""
    action, ctx, params = TerminateBlockers(), context(database), ending(blockers, **more)
    await action.dry_run(ctx, params)
    state: State = json.loads(json.dumps(await action.capture(ctx, params)))
    return await action.execute(ctx, params, state)


async def test_a_chain_is_followed_to_its_root(database: Database) -> None:
    first = await database.holder(1)
    second = await database.holder(2)
    await database.waiter(1, second)
    third = await database.connect()
    await database.waiter(2, third)

    found = await find(database)

    (root,) = found.roots
    assert root.pid == pid(first)
    assert root.waiting == 2
    assert root.state == "idle in transaction"
    assert root.query.startswith("UPDATE jobs SET note = 'held'")
    assert {wait.pid: wait.blocked_by for wait in found.waiting} == {
        pid(second): (pid(first),),
        pid(third): (pid(second),),
    }
    assert found.safe == found.roots
    assert not found.refused


async def test_a_queue_for_a_table_lock_has_the_holder_as_root(database: Database) -> None:
    reader = await database.connect()
    await reader.execute("BEGIN")
    await reader.fetch("SELECT * FROM jobs")
    migration = await database.connect("postgres")
    await database.blocked(migration, "ALTER TABLE jobs ADD COLUMN extra int")
    late = await database.connect()
    await database.blocked(late, "SELECT * FROM jobs")

    found = await find(database)

    assert [(root.pid, root.waiting) for root in found.roots] == [(pid(reader), 2)]
    locks = {wait.pid: wait.lock for wait in found.waiting}
    assert locks == {pid(migration): "relation AccessExclusiveLock", pid(late): "relation AccessShareLock"}


async def test_the_evidence_outlives_the_sessions(database: Database) -> None:
    holder = await database.holder()
    await database.waiter()
    kept = Kept()
    params = FindBlockersParameters(target="empire", blocking_for=NOW)

    found = await FindBlockers().execute(context(database, evidence=kept), params)

    listing = json.loads(kept.artifacts["blockers.json"])
    assert found.artifact == "artifact-blockers.json"
    assert listing["roots"][0]["pid"] == pid(holder)
    assert len(listing["waiting"]) == 1
    assert f"pid {pid(holder)}" in found.summary


async def test_a_quiet_database_has_no_blockers(database: Database) -> None:
    found = await find(database)

    assert (found.roots, found.waiting, found.summary) == ((), (), "nobody blocks others")
    with pytest.raises(ConflictError, match="no blockers were given"):
        await end(database, found.roots)


async def test_another_database_is_no_matter_of_this_one(database: Database, server: PostgresServer) -> None:
    with server.fresh_database() as dsn:
        server.execute(TABLES, database=dsn.rsplit("/", 1)[1])
        other = Database(server, dsn)
        await other.holder()
        await other.waiter()

        assert (await find(database)).roots == ()
        (root,) = (await find(other)).roots
        with pytest.raises(ConflictError, match="another database"):
            await end(database, (root,))
        await other.close()


async def test_an_idle_transaction_is_terminated_and_the_waiting_move_on(database: Database) -> None:
    holder = await database.holder()
    waiting = await database.waiter()
    found = await find(database)
    check = UnblockedParameters(target="empire", sessions=found.waiting)
    assert (await Unblocked().evaluate(context(database), check)).holds is False

    result = await end(database, found.roots)

    assert [(s.pid, s.outcome) for s in result.sessions] == [(pid(holder), "terminated")]
    assert result.ended == 1
    await asyncio.wait_for(waiting, DEADLINE)
    assert (await Unblocked().evaluate(context(database), check)).holds is True


async def test_cancelling_is_enough_for_a_running_query(database: Database) -> None:
    holder = await database.holder()
    running = await database.running(holder, "SELECT pg_sleep(600)")
    waiting = await database.waiter()
    found = await find(database)

    result = await end(database, found.roots)

    assert [s.outcome for s in result.sessions] == ["cancelled"]
    await asyncio.wait_for(waiting, DEADLINE)
    with pytest.raises(asyncpg.QueryCanceledError):
        await running
    assert not holder.is_closed()


async def test_a_session_that_survives_its_cancellation_is_terminated(database: Database) -> None:
    holder = await database.holder()
    await holder.execute("SAVEPOINT here")
    await database.running(holder, "SELECT pg_sleep(600)")
    waiting = await database.waiter()
    found = await find(database)

    result = await end(database, found.roots, grace="250ms")

    assert [s.outcome for s in result.sessions] == ["terminated"]
    await asyncio.wait_for(waiting, DEADLINE)


async def test_terminating_at_once_on_request(database: Database) -> None:
    holder = await database.holder()
    running = await database.running(holder, "SELECT pg_sleep(600)")
    await database.waiter()
    found = await find(database)

    result = await end(database, found.roots, cancel_first=False)

    assert [s.outcome for s in result.sessions] == ["terminated"]
    with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="administrator command"):
        await running


@dataclass(frozen=True, slots=True)
class Refusal:
    """A blocker that must be left alone, and what the refusal says."""

    reason: str
    role: str = "app"
    application: str = "jobs-api"
    parameters: dict[str, object] = field(default_factory=dict)


@pytest.mark.parametrize(
    "case",
    [
        Refusal("superuser", role="postgres"),
        Refusal("protected application", application="pg_dump"),
        Refusal("protected application", application="Patroni heartbeat"),
        Refusal("protected role", parameters={"protected_roles": ["a*"]}),
        Refusal("has not blocked for long enough", parameters={"blocking_for": LONG}),
        Refusal("the responder itself", application="hdr-responder"),
    ],
    ids=lambda case: f"{case.reason}:{case.application}",
)
async def test_refused(database: Database, case: Refusal) -> None:
    holder = await database.holder(role=case.role, application=case.application)
    await database.waiter()
    found = await find(database, **case.parameters)
    assert found.safe == ()
    assert [root.refusal for root in found.refused] == [case.reason]

    with pytest.raises(ConflictError, match=case.reason):
        await end(database, found.roots, **case.parameters)

    state: State = {"server_started_at": "", "sessions": [found.roots[0].identity.model_dump(mode="json")]}
    with pytest.raises(ConflictError, match=case.reason):
        await TerminateBlockers().execute(context(database), ending(found.roots, **case.parameters), state)
    assert await holder.fetchval("SELECT 1") == 1


async def test_replication_is_left_alone(database: Database) -> None:
    await (await database.connect("postgres")).execute("GRANT ALL ON jobs TO streamer")
    stream = await database.connect("streamer", replication="database")
    await stream.execute("BEGIN; UPDATE jobs SET note = 'held' WHERE id = 1")
    await database.waiter()

    assert [root.refusal for root in (await find(database)).roots] == ["replication"]


async def test_autovacuum_is_left_alone(database: Database, server: PostgresServer) -> None:
    server.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    server.execute("SELECT pg_reload_conf()")
    owner = await database.connect("postgres", deadlock_timeout="1h")
    await owner.execute(
        "CREATE TABLE big WITH (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
        " AS SELECT n FROM generate_series(1, 50000) AS n"
    )
    await owner.execute("DELETE FROM big")
    await owner.execute("SELECT pg_stat_force_next_flush()")
    await database.until("SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = 'big'::regclass)")
    await database.blocked(owner, "LOCK TABLE big")
    try:
        found = await find(database)
    finally:
        server.execute("ALTER SYSTEM RESET autovacuum_naptime")

    assert [root.refusal for root in found.roots] == ["autovacuum worker"]


async def test_a_root_that_has_come_to_wait_itself_is_left_alone(database: Database) -> None:
    first, second = await database.holder(1), await database.holder(2)
    await database.waiter(1)
    action, ctx, params = TerminateBlockers(), context(database), ending((await find(database)).roots)
    state = await action.capture(ctx, params)
    await database.waiter(2, first)

    with pytest.raises(ConflictError, match="waits itself: not the root"):
        await action.execute(ctx, params, state)

    assert [root.pid for root in (await find(database)).roots] == [pid(second)]


async def test_a_deadlock_has_no_root(database: Database) -> None:
    patient = {"deadlock_timeout": "1h"}
    sessions = [await database.connect("postgres", **patient) for _ in range(2)]
    for job, session in enumerate(sessions, start=1):
        await session.execute(f"BEGIN; UPDATE jobs SET note = 'held' WHERE id = {job}")
    await database.waiter(2, sessions[0])
    await database.waiter(1, sessions[1])

    found = await find(database)

    assert found.roots == ()
    assert found.summary == "2 sessions wait, no root was found"


async def test_a_pattern_is_no_sql_pattern(database: Database) -> None:
    await database.holder(application="pgxdump")
    await database.waiter()

    assert len((await find(database, protected_applications=["pg_dump", "pg%"])).safe) == 1


async def test_a_running_export_is_left_alone(database: Database, tmp_path: Path) -> None:
    owner = await database.connect()
    await owner.execute("BEGIN")
    await owner.execute("LOCK TABLE jobs")
    stuck = asyncio.Event()
    started = asyncio.Event()

    async def sink(data: bytes) -> None:
        started.set()
        await stuck.wait()

    export = asyncio.create_task(
        owner.copy_from_query("SELECT repeat('x', 10000) FROM generate_series(1, 10000)", output=sink)
    )
    await started.wait()
    await database.waiter()

    found = await find(database)

    assert [root.refusal for root in found.roots] == ["backup or export (COPY ... TO)"]
    stuck.set()
    await export


async def test_a_lock_that_applications_hold_on_purpose_is_left_alone(database: Database) -> None:
    leader = await database.connect()
    await leader.execute("SELECT pg_advisory_lock(7)")
    follower = await database.connect()
    await database.blocked(follower, "SELECT pg_advisory_lock(7)")

    found = await find(database)

    assert [root.pid for root in found.refused] == [pid(leader)]
    assert "advisory" in found.refused[0].refusal
    assert found.safe == ()


async def test_a_root_blocks_as_long_as_those_directly_behind_it_wait(database: Database) -> None:
    old, young, middle = await database.holder(1), await database.holder(2), await database.holder(3)
    await database.waiter(1)
    await database.waiter(3)
    await database.until("SELECT bool_and(clock_timestamp() - waitstart > '400ms') FROM pg_locks WHERE NOT granted")
    await database.waiter(1)
    await database.waiter(2, middle)

    found = await find(database, blocking_for=timedelta(milliseconds=400))

    assert [(root.pid, root.waiting) for root in found.safe] == [(pid(old), 2)]
    assert [(root.pid, root.waiting, root.refusal) for root in found.refused] == [
        (pid(young), 2, "has not blocked for long enough")
    ]


async def test_one_safe_and_one_refused(database: Database) -> None:
    safe = await database.holder(1)
    await database.waiter(1)
    backup = await database.holder(2, application="pg_dump")
    await database.waiter(2)
    found = await find(database)
    assert ([r.pid for r in found.safe], [r.pid for r in found.refused]) == ([pid(safe)], [pid(backup)])

    result = await end(database, found.roots)

    assert [(s.pid, s.outcome) for s in result.sessions] == [(pid(safe), "terminated")]
    assert not backup.is_closed()


async def test_too_many_are_refused_as_a_whole(database: Database) -> None:
    holders = [await database.holder(job) for job in (1, 2)]
    for job in (1, 2):
        await database.waiter(job)
    found = await find(database)

    with pytest.raises(ConflictError, match="2 sessions of empire would be ended, more than max_sessions 1"):
        await end(database, found.roots, max_sessions=1)

    assert not any(holder.is_closed() for holder in holders)


@pytest.mark.parametrize("part", ["backend_start", "xact_start"])
async def test_a_reused_pid_or_a_later_transaction_is_never_signalled(database: Database, part: str) -> None:
    holder = await database.holder()
    await database.waiter()
    (root,) = (await find(database)).roots
    earlier = getattr(root, part) - timedelta(microseconds=1)
    stale = root.model_copy(update={part: earlier})
    action, ctx, params = TerminateBlockers(), context(database), ending((stale,))

    with pytest.raises(ConflictError, match="gone"):
        await action.dry_run(ctx, params)
    state: State = {"server_started_at": "", "sessions": [stale.identity.model_dump(mode="json")]}
    result = await action.execute(ctx, params, state)

    assert [(s.outcome, s.pid) for s in result.sessions] == [("gone", pid(holder))]
    assert result.ended == 0
    assert await holder.fetchval("SELECT 1") == 1


async def test_only_what_was_captured_is_ended(database: Database) -> None:
    first = await database.holder(1)
    await database.waiter(1)
    action, ctx = TerminateBlockers(), context(database)
    state = await action.capture(ctx, ending((await find(database)).roots))
    second = await database.holder(2)
    await database.waiter(2)

    result = await action.execute(ctx, ending((await find(database)).roots), state)

    assert [s.pid for s in result.sessions] == [pid(first)]
    assert await second.fetchval("SELECT 1") == 1


async def test_a_session_that_blocks_nobody_any_more_is_left_alone(database: Database) -> None:
    holder = await database.holder()
    waiting = await database.connect()
    await waiting.execute("SET lock_timeout = '300ms'")
    wait = await database.waiter(1, waiting)
    action, ctx, params = TerminateBlockers(), context(database), ending((await find(database)).roots)
    state = await action.capture(ctx, params)
    with pytest.raises(asyncpg.LockNotAvailableError):
        await wait

    with pytest.raises(ConflictError, match="blocks nobody"):
        await action.execute(ctx, params, state)

    assert await holder.fetchval("SELECT 1") == 1


async def test_a_prepared_transaction_is_a_root_that_no_signal_ends(database: Database) -> None:
    bystander = await database.holder(3)
    await bystander.execute("PREPARE TRANSACTION 'innocent'")
    holder = await database.holder()
    await holder.execute("PREPARE TRANSACTION 'forgotten'")
    await database.waiter()
    try:
        found = await find(database)

        assert [(root.pid, root.gid, root.waiting, root.usename) for root in found.refused] == [
            (0, "forgotten", 1, "app")
        ]
        assert "no signal ends it" in found.refused[0].refusal
        assert [wait.blocked_by for wait in found.waiting] == [(0,)]
        with pytest.raises(ConflictError, match="prepared transaction"):
            await end(database, found.roots)
    finally:
        await holder.execute("ROLLBACK PREPARED 'forgotten'")
        await holder.execute("ROLLBACK PREPARED 'innocent'")


async def test_a_parallel_query_that_waits_counts_once(database: Database) -> None:
    await (await database.connect("postgres")).execute(
        """
        CREATE TABLE big AS SELECT n FROM generate_series(1, 20000) AS n;
        CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS
            $$ BEGIN PERFORM 1 FROM jobs; RETURN n; END $$;
        GRANT ALL ON big TO app;
        ALTER TABLE big SET (parallel_workers = 2);
        """
    )
    parallel = await database.connect()
    await parallel.execute(
        "SET debug_parallel_query = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;"
        "SET min_parallel_table_scan_size = 0"
    )
    holder = await database.connect()
    await holder.execute("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
    task: asyncio.Task[object] = asyncio.create_task(parallel.execute("SELECT sum(slow(n)) FROM big"))
    try:
        await database.until("SELECT count(*) >= 2 FROM pg_locks WHERE NOT granted")
        found = await find(database)
    finally:
        await holder.execute("ROLLBACK")
        await task

    assert [(root.pid, root.waiting) for root in found.roots] == [(pid(holder), 1)]
    assert [(wait.pid, wait.blocked_by) for wait in found.waiting] == [(pid(parallel), (pid(holder),))]


async def test_the_two_roles_are_enough_and_needed(database: Database) -> None:
    await database.holder()
    await database.waiter()
    roots = (await find(database)).roots
    params = ending(roots)

    await TerminateBlockers().dry_run(context(database, "responder"), params)
    with pytest.raises(ForbiddenError, match="lacks pg_read_all_stats, pg_signal_backend: GRANT") as raised:
        await TerminateBlockers().dry_run(context(database, "blind"), params)
    assert "empire" in str(raised.value)
    with pytest.raises(ForbiddenError, match=r"lacks pg_signal_backend: GRANT pg_signal_backend"):
        await TerminateBlockers().dry_run(context(database, "reader"), params)
    with pytest.raises(ForbiddenError, match="pg_read_all_stats"):
        await FindBlockers().execute(context(database, "blind"), FindBlockersParameters(target="empire"))
    blind = context(database, "blind").systems.database("empire")
    assert await blind.missing_roles(["pg_signal_backend", "nonsense"]) == ("pg_signal_backend", "nonsense")
    assert {str(permission) for permission in TerminateBlockers().permissions(params)} == {
        "postgres:empire pg_read_all_stats",
        "postgres:empire pg_signal_backend",
    }


async def test_observe_tells_what_took_effect(database: Database) -> None:
    await database.holder(1)
    await database.waiter(1)
    other = await database.holder(2)
    await database.waiter(2)
    roots = (await find(database)).roots
    action, ctx, params = TerminateBlockers(), context(database), ending(roots)
    state = await action.capture(ctx, params)
    assert (await action.observe(ctx, params, state)).seen is Seen.NO_EFFECT

    await other.execute("ROLLBACK")
    assert (await action.observe(ctx, params, state)).seen is Seen.UNKNOWN

    await action.execute(ctx, params, state)
    observed = await action.observe(ctx, params, state)
    assert observed.seen is Seen.TOOK_EFFECT
    assert observed.result is not None
    assert [session.outcome for session in observed.result.sessions] == ["gone", "gone"]

    replaced = {**state, "server_started_at": "2020-01-01T00:00:00+00:00"}
    assert (await action.observe(ctx, params, replaced)).seen is Seen.UNKNOWN


async def test_a_lost_answer_is_ambiguous_and_observed(database: Database, server: PostgresServer) -> None:
    holder = await database.holder()
    await database.waiter()
    action, params = TerminateBlockers(), ending((await find(database)).roots)
    state = await action.capture(context(database), params)

    async with AnswerLoser(server.port, b"pg_terminate_backend") as proxy:
        dsn = database.as_role("responder").replace(f":{server.port}/", f":{proxy.port}/")
        cut = replace(context(database), systems=Systems(postgres={"empire": PostgresTarget("empire", dsn, 5.0)}))
        with pytest.raises(AmbiguousError, match="signals may or may not have been sent"):
            await action.execute(cut, params, state)

    assert proxy.cut
    await database.until(f"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid(holder)})")
    assert (await action.observe(context(database), params, state)).seen is Seen.TOOK_EFFECT


async def test_a_target_that_cannot_be_reached_was_not_changed(database: Database) -> None:
    await database.holder()
    await database.waiter()
    action, params = TerminateBlockers(), ending((await find(database)).roots)
    state = await action.capture(context(database), params)
    nowhere = PostgresTarget("empire", f"postgresql://app@127.0.0.1:{free_port()}/db", 1.0)

    with pytest.raises(UnavailableError):
        await action.execute(replace(context(database), systems=Systems(postgres={"empire": nowhere})), params, state)


async def test_a_later_transaction_of_the_same_session_is_another_one(database: Database) -> None:
    holder = await database.holder()
    wait = await database.waiter()
    (root,) = (await find(database)).roots
    server = context(database).systems.database("empire")
    (before,) = await server.standing([root.identity])
    await holder.execute("ROLLBACK")
    await wait
    await holder.execute("BEGIN; UPDATE jobs SET note = '' WHERE id = 1")
    await database.waiter()

    (after,) = await server.standing([root.identity])

    assert (before.connected, before.in_transaction, before.blocking) == (True, True, True)
    assert (after.connected, after.in_transaction, after.blocking) == (True, False, False)


async def test_unblocked_knows_what_it_cannot_know(database: Database) -> None:
    await database.holder()
    await database.waiter()
    waiting = (await find(database)).waiting
    check, ctx = Unblocked(), context(database)

    nobody = await check.evaluate(ctx, UnblockedParameters(target="empire", sessions=()))
    assert nobody.holds is None
    nowhere = PostgresTarget("empire", f"postgresql://app@127.0.0.1:{free_port()}/db", 1.0)
    silent = await check.evaluate(
        replace(ctx, systems=Systems(postgres={"empire": nowhere})),
        UnblockedParameters(target="empire", sessions=waiting),
    )
    assert silent.holds is None
    before = waiting[0].model_copy(update={"backend_start": waiting[0].backend_start - timedelta(days=1)})
    restarted = await check.evaluate(ctx, UnblockedParameters(target="empire", sessions=(before,)))
    assert restarted.holds is None


async def test_unblocked_is_about_the_wait_and_not_the_connection(database: Database) -> None:
    holder = await database.holder(1)
    connection = await database.connect()
    wait = await database.waiter(1, connection)
    waiting = (await find(database)).waiting
    await holder.execute("ROLLBACK")
    await wait
    await holder.execute("BEGIN; UPDATE jobs SET note = '' WHERE id = 2")
    await database.waiter(2, connection)

    verdict = await Unblocked().evaluate(context(database), UnblockedParameters(target="empire", sessions=waiting))

    assert verdict.holds is True


async def test_ping(database: Database) -> None:
    result = await Ping().execute(context(database, "blind"), PingParameters(target="empire"))

    assert result.version.startswith("18")
    assert result.primary
    assert 0 < result.latency_seconds < DEADLINE


async def test_ping_of_a_frozen_server_ends_in_time(database: Database, server: PostgresServer) -> None:
    target = PostgresTarget("empire", database.dsn, 0.5)
    await asyncio.to_thread(server.suspend)
    try:
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(UnavailableError, match="postgres target empire: no answer in time"):
                await target.ping()
    finally:
        await asyncio.to_thread(server.resume)


@pytest.mark.parametrize(
    ("dsn", "error"),
    [
        ("postgresql://app:hunter2@127.0.0.1:{port}/db", UnavailableError),
        ("postgresql://app:hunter2@nowhere.invalid/db", UnavailableError),
        ("postgresql://app:hunter2@127.0.0.1:port/db", ConfigError),
        ("mysql://app:hunter2@127.0.0.1/db", ConfigError),
    ],
)
async def test_errors_name_the_target_and_no_secret(dsn: str, error: type[Exception]) -> None:
    target = PostgresTarget("empire", dsn.format(port=free_port()), 2.0)
    assert "hunter2" not in repr(target)

    with pytest.raises(error, match="empire") as raised:
        await target.ping()

    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None or "hunter2" not in str(raised.value.__cause__)


async def test_what_the_server_refuses_is_final(database: Database) -> None:
    with pytest.raises(ForbiddenError, match="empire"):
        await PostgresTarget("empire", database.as_role("nobody"), 5.0).ping()
    with pytest.raises(PermanentError, match="empire"):
        await PostgresTarget("empire", database.dsn + "_gone", 5.0).ping()


async def test_a_standby_is_never_touched() -> None:
    with run_postgres() as standby:
        standby.execute(ROLES)
        signal_file = Path(standby.execute("SHOW data_directory")) / "standby.signal"
        await asyncio.to_thread(standby.stop)
        signal_file.touch()
        signal_file.chmod(0o666)
        await asyncio.to_thread(standby.start)
        database = Database(standby, standby.dsn())

        assert (await Ping().execute(context(database), PingParameters(target="empire"))).primary is False
        with pytest.raises(ConflictError, match="standby"):
            await TerminateBlockers().dry_run(context(database), ending(()))
