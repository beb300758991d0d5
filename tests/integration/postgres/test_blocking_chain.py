"""Who blocks whom, on a real server."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from hdr_responder.actions.postgres.blocking import BlockingChain, BlockingChainParameters
from hdr_responder.errors import ConflictError
from tests.integration.postgres.sessions import (
    NOW,
    TABLES,
    Database,
    Kept,
    context,
    end,
    find,
    pid,
)
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service


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
    assert root.query.startswith("UPDATE jobs SET note = ? WHERE id = ?")
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
    params = BlockingChainParameters(target="empire", blocking_for=NOW)

    found = await BlockingChain().execute(context(database, evidence=kept), params)

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
