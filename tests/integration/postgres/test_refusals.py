"""What must never be signalled, on a real server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from hdr_responder.actions.contract import State
from hdr_responder.actions.postgres.blocking import BlockingChain, BlockingChainParameters
from hdr_responder.actions.postgres.health import Ping, PingParameters
from hdr_responder.actions.postgres.termination import TerminateBlocker
from hdr_responder.domain.ports.postgres import Need
from hdr_responder.errors import ConflictError, ForbiddenError
from tests.integration.postgres.sessions import (
    LONG,
    ROLES,
    Database,
    context,
    end,
    ending,
    find,
    pid,
)
from tests.services.postgres import PostgresServer, run_postgres

pytestmark = pytest.mark.service


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
        await TerminateBlocker().execute(context(database), ending(found.roots, **case.parameters), state)
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
    await database.blocked(owner, "BEGIN; LOCK TABLE big")
    try:
        found = await find(database)
    finally:
        server.execute("ALTER SYSTEM RESET autovacuum_naptime")

    assert [root.refusal for root in found.roots] == ["autovacuum worker"]


async def test_a_root_that_has_come_to_wait_itself_is_left_alone(database: Database) -> None:
    first, second = await database.holder(1), await database.holder(2)
    await database.waiter(1)
    action, ctx, params = TerminateBlocker(), context(database), ending((await find(database)).roots)
    state = await action.capture(ctx, params)
    await database.waiter(2, first)

    with pytest.raises(ConflictError, match="waits itself: not the root"):
        await action.execute(ctx, params, state)

    assert [root.pid for root in (await find(database)).roots] == [pid(second)]


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
    action, ctx, params = TerminateBlocker(), context(database), ending((stale,))

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
    action, ctx = TerminateBlocker(), context(database)
    state = await action.capture(ctx, ending((await find(database)).roots))
    second = await database.holder(2)
    await database.waiter(2)

    result = await action.execute(ctx, ending((await find(database)).roots), state)

    assert [s.pid for s in result.sessions] == [pid(first)]
    assert await second.fetchval("SELECT 1") == 1


async def test_a_session_that_blocks_nobody_any_more_is_left_alone(database: Database) -> None:
    holder = await database.holder()
    waiting = await database.connect()
    wait = await database.waiter(1, waiting)
    action, ctx, params = TerminateBlocker(), context(database), ending((await find(database)).roots)
    state = await action.capture(ctx, params)
    await holder.execute(f"SELECT pg_cancel_backend({pid(waiting)})")
    with pytest.raises(asyncpg.QueryCanceledError):
        await wait

    with pytest.raises(ConflictError, match="blocks nobody"):
        await action.execute(ctx, params, state)

    assert await holder.fetchval("SELECT 1") == 1


async def test_the_two_roles_are_enough_and_needed(database: Database) -> None:
    await database.holder()
    await database.waiter()
    roots = (await find(database)).roots
    params = ending(roots)

    await TerminateBlocker().dry_run(context(database, "responder"), params)
    with pytest.raises(ForbiddenError, match="lacks pg_read_all_stats, pg_signal_backend: GRANT") as raised:
        await TerminateBlocker().dry_run(context(database, "blind"), params)
    assert "empire" in str(raised.value)
    with pytest.raises(ForbiddenError, match=r"lacks pg_signal_backend: GRANT pg_signal_backend"):
        await TerminateBlocker().dry_run(context(database, "reader"), params)
    with pytest.raises(ForbiddenError, match="pg_read_all_stats"):
        await BlockingChain().execute(context(database, "blind"), BlockingChainParameters(target="empire"))
    blind = context(database, "blind").systems.database("empire")
    assert await blind.missing([Need("pg_signal_backend"), Need("nonsense")]) == ("pg_signal_backend", "nonsense")
    assert {str(permission) for permission in TerminateBlocker().permissions(params)} == {
        "postgres:empire pg_read_all_stats",
        "postgres:empire pg_signal_backend",
    }


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
            await TerminateBlocker().dry_run(context(database), ending(()))
