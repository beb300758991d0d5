"""What a real server tells of its load, size, upkeep and replication, as the shipped role sees it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hdr_responder.actions.contract import AnyRead
from hdr_responder.actions.postgres.queries import LongQueries, LongQueriesParameters
from hdr_responder.actions.postgres.statistics import (
    Bloat,
    BloatParameters,
    Connections,
    ListingParameters,
    ReplicationLag,
    Sizes,
    SlowStatements,
    SlowStatementsParameters,
    TargetParameters,
    VacuumState,
)
from hdr_responder.errors import ForbiddenError, PermanentError
from tests.integration.postgres.helping import Helped, help_database
from tests.services.postgres import PostgresServer, run_postgres
from tests.services.waiting import eventually

pytestmark = pytest.mark.service
TARGET = TargetParameters(target="empire")
LISTING = ListingParameters(target="empire")


async def test_connections_are_counted_by_what_they_have_in_common(helped: Helped) -> None:
    helped.grant()
    async with (
        helped.session(helped.owner, "api") as first,
        helped.session(helped.owner, "api"),
        helped.session(helped.owner, "batch") as third,
    ):
        for connection in (first, third):
            await connection.execute("BEGIN; SELECT 1")

        found = await Connections().execute(helped.context(), TARGET)

    assert {group.name: group.connections for group in found.by_application}.items() >= {"api": 2, "batch": 1}.items()
    assert {group.name: group.connections for group in found.by_role}[helped.owner] == 3
    assert {group.name: group.connections for group in found.by_state}["idle in transaction"] == 2
    assert (found.maximum, found.reserved) == (40, 3)
    assert found.used == sum(group.connections for group in found.by_state)
    assert found.free == 37 - found.used
    assert found.used_ratio == pytest.approx(found.used / 37)
    assert found.idle_in_transaction == 2
    assert [t.application_name for t in found.idle_transactions] == ["api", "batch"]
    assert found.oldest_idle_seconds == found.idle_transactions[0].seconds >= found.idle_transactions[1].seconds
    assert "2 idle in a transaction" in found.summary


async def test_sizes(helped: Helped) -> None:
    helped.grant()
    helped.run("ANALYZE jobs")

    found = await Sizes().execute(helped.context(), ListingParameters(target="empire", limit=2))

    (jobs, _) = found.tables
    assert (jobs.schema_name, jobs.table) == ("public", "jobs")
    assert jobs.rows == 5000
    assert jobs.total_bytes == int(helped.run("SELECT pg_total_relation_size('jobs')"))
    assert jobs.total_bytes == jobs.table_bytes + jobs.index_bytes + jobs.toast_bytes
    assert (found.indexes[0].index, found.indexes[0].table, found.indexes[0].valid) == ("jobs_pkey", "jobs", True)
    assert found.database_bytes > jobs.total_bytes
    assert f"database {helped.database} has" in found.summary
    assert "public.jobs" in found.summary


async def test_the_state_of_the_vacuum(helped: Helped) -> None:
    helped.grant()
    helped.run("ALTER TABLE jobs SET (autovacuum_enabled = off)")
    helped.run("VACUUM ANALYZE jobs")
    helped.run("DELETE FROM jobs WHERE id > 2500")

    async def dead() -> bool:
        state = await VacuumState().execute(helped.context(), LISTING)
        return bool(state.tables) and state.tables[0].dead_rows == 2500

    await eventually(dead)
    found = await VacuumState().execute(helped.context(), LISTING)

    worst = found.tables[0]
    assert (worst.table, worst.live_rows, worst.dead_ratio) == ("jobs", 2500, 0.5)
    assert worst.last_vacuum is not None
    assert worst.last_analyze is not None
    assert found.dead_ratio == 0.5
    assert found.autovacuum
    assert 0 < found.freeze_ratio == found.xid_age / 200_000_000 < 1
    assert "public.jobs has most dead rows, 2500 (50%)" in found.summary


async def test_a_running_vacuum_is_seen_with_its_progress(helped: Helped) -> None:
    helped.grant()
    async with helped.session() as vacuum:
        await vacuum.execute("SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 1")
        work = asyncio.create_task(vacuum.execute("VACUUM (DISABLE_PAGE_SKIPPING) jobs"))

        async def running() -> bool:
            return bool((await VacuumState().execute(helped.context(), LISTING)).running)

        await eventually(running)
        (seen,) = (await VacuumState().execute(helped.context(), LISTING)).running
        assert (seen.table, seen.pid, seen.automatic) == ("jobs", vacuum.get_server_pid(), False)
        assert seen.phase == "scanning heap"
        assert 0 <= seen.scanned <= 1
        helped.run(f"SELECT pg_terminate_backend({vacuum.get_server_pid()}, 10000)")
        await asyncio.gather(work, return_exceptions=True)


async def test_bloat_by_statistics_is_an_estimate_of_what_may_be_seen(helped: Helped) -> None:
    helped.grant()
    helped.run("ALTER TABLE jobs SET (autovacuum_enabled = off)")
    helped.run("ANALYZE jobs")

    hidden = await Bloat().execute(helped.context(), BloatParameters(target="empire"))
    assert {(r.table, r.index): r.ratio for r in hidden.relations}[("jobs", "")] is None
    assert hidden.unjudged >= 2
    assert f"{hidden.unjudged} could not be judged" in hidden.summary

    helped.run(f"GRANT SELECT ON jobs TO {helped.role}")
    packed = await Bloat().execute(helped.context(), BloatParameters(target="empire"))
    ratios = {(r.table, r.index): r.ratio for r in packed.relations}
    assert ratios[("jobs", "")] == pytest.approx(0, abs=0.05)
    assert ratios[("jobs", "jobs_pkey")] == pytest.approx(0, abs=0.1)

    helped.run("DELETE FROM jobs WHERE id % 10 <> 0")
    helped.run("VACUUM ANALYZE jobs")
    found = await Bloat().execute(helped.context(), BloatParameters(target="empire"))
    ratios = {(r.table, r.index): r.ratio for r in found.relations}
    assert ratios[("jobs", "")] == pytest.approx(0.9, abs=0.03)
    assert ratios[("jobs", "jobs_pkey")] == pytest.approx(0.85, abs=0.1)
    assert found.estimate
    assert found.wasted_bytes > packed.wasted_bytes
    assert found.summary.startswith("by an estimate")


async def test_bloat_is_measured_where_the_extension_is(contrib: Helped) -> None:
    contrib.grant()
    params = BloatParameters(target="empire", method="pgstattuple")
    with pytest.raises(ForbiddenError, match="lacks pg_stat_scan_tables: GRANT pg_stat_scan_tables TO it"):
        await Bloat().execute(contrib.context(), params)
    contrib.grant(measure="on")
    with pytest.raises(PermanentError, match="extension pgstattuple is not in the database"):
        await Bloat().execute(contrib.context(), params)
    contrib.run('CREATE SCHEMA "Ext ""x"; CREATE EXTENSION pgstattuple SCHEMA "Ext ""x"')
    contrib.run(f'GRANT USAGE ON SCHEMA "Ext ""x" TO {contrib.role}')
    contrib.run("DELETE FROM jobs WHERE id % 10 <> 0")
    contrib.run("VACUUM jobs")

    found = await Bloat().execute(contrib.context(), params)

    ratios = {(r.table, r.index): r.ratio for r in found.relations}
    assert ratios[("jobs", "")] == pytest.approx(0.9, abs=0.05)
    assert (ratios[("jobs", "jobs_pkey")] or 0) > 0.7
    assert found.unjudged == 0
    assert not found.estimate


async def test_slow_statements_come_normalised(contrib: Helped) -> None:
    contrib.grant()
    contrib.run("CREATE EXTENSION pg_stat_statements")
    async with contrib.session(contrib.owner) as session:
        await session.execute("SELECT pg_sleep(0.15), 'hunter2' AS slow")
        for number in range(3):
            await session.execute(f"SELECT {number} + 4711 AS often")
        await session.execute("SET application_name = 'hunter2'")

    total = await SlowStatements().execute(contrib.context(), SlowStatementsParameters(target="empire", limit=50))
    mine = [s for s in total.statements if s.usename == contrib.owner]

    assert mine[0].query == "SELECT pg_sleep($1), $2 AS slow"
    assert mine[0].mean_ms == mine[0].total_ms == mine[0].max_ms > 100
    assert 0 < mine[0].share <= 1
    assert [s.calls for s in mine if s.query == "SELECT $1 + $2 AS often"] == [3]
    assert total.reset_at is not None
    assert "hunter2" not in total.model_dump_json()
    assert total.statements == tuple(sorted(total.statements, key=lambda s: -s.total_ms))
    often = SlowStatementsParameters(target="empire", by="mean", min_calls=3, limit=50)
    found = await SlowStatements().execute(contrib.context(), often)
    assert all(s.calls >= 3 for s in found.statements)
    assert found.statements == tuple(sorted(found.statements, key=lambda s: -s.mean_ms))


async def test_slow_statements_say_what_is_missing(helped: Helped) -> None:
    helped.grant()
    params = SlowStatementsParameters(target="empire")
    with pytest.raises(PermanentError, match="the extension pg_stat_statements is not in the database: CREATE EXT"):
        await SlowStatements().execute(helped.context(), params)


async def test_statements_of_an_extension_that_is_not_loaded() -> None:
    with run_postgres(max_connections=20, distribution=True) as server, help_database(server) as helped:
        helped.grant()
        helped.run("CREATE EXTENSION pg_stat_statements")
        with pytest.raises(PermanentError, match="not loaded: add it to shared_preload_libraries and restart"):
            await SlowStatements().execute(helped.context(), SlowStatementsParameters(target="empire"))


@pytest.mark.parametrize("distribution", [False, True], ids=["newest", "distribution"])
async def test_replication_lag_of_a_primary_and_of_its_standby(distribution: bool) -> None:
    with run_postgres(max_connections=20, distribution=distribution) as primary, help_database(primary) as helped:
        helped.grant()
        alone = await ReplicationLag().execute(helped.context(), TARGET)
        assert (alone.primary, alone.standbys, alone.receiving) == (True, (), None)
        helped.run("SELECT pg_create_physical_replication_slot('forgotten', true)")
        with run_postgres(max_connections=20, distribution=distribution, copy_of=primary) as standby:
            await _replicates(primary, standby, helped)
        helped.run("SELECT pg_drop_replication_slot('forgotten')")


async def _replicates(primary: PostgresServer, standby: PostgresServer, helped: Helped) -> None:
    own = Helped(server=standby, database=helped.database, owner=helped.owner, role=helped.role)

    async def even() -> bool:
        found = await ReplicationLag().execute(helped.context(), TARGET)
        return bool(found.standbys) and found.standbys[0].state == "streaming" and found.lag_bytes == 0

    await eventually(even)
    found = await ReplicationLag().execute(helped.context(), TARGET)
    assert [(s.application_name, s.sync_state) for s in found.standbys] == [("walreceiver", "async")]
    assert [(s.name, s.active) for s in found.slots] == [("forgotten", False)]
    seen = await ReplicationLag().execute(own.context(), TARGET)
    assert (seen.primary, seen.receiving) == (False, True)

    helped.run("CREATE TABLE replayed ()")
    await own.until("SELECT to_regclass('replayed') IS NOT NULL AND pg_last_xact_replay_timestamp() IS NOT NULL")
    standby.execute("SELECT pg_wal_replay_pause()")
    helped.run("CREATE TABLE more AS SELECT n FROM generate_series(1, 20000) AS n")

    async def behind() -> bool:
        ours = await ReplicationLag().execute(own.context(), TARGET)
        theirs = await ReplicationLag().execute(helped.context(), TARGET)
        return ours.lag_bytes > 500_000 and bool(ours.lag_seconds) and theirs.lag_bytes > 500_000

    await eventually(behind)
    await asyncio.to_thread(primary.stop)
    try:

        async def lost() -> bool:
            return (await ReplicationLag().execute(own.context(), TARGET)).receiving is False

        await eventually(lost)
        assert "is not connected to its primary" in (await ReplicationLag().execute(own.context(), TARGET)).summary
    finally:
        await asyncio.to_thread(primary.start)


@pytest.mark.parametrize(
    ("read", "params"),
    [
        (Connections(), TARGET),
        (SlowStatements(), SlowStatementsParameters(target="empire")),
        (Sizes(), LISTING),
        (VacuumState(), LISTING),
        (ReplicationLag(), TARGET),
        (LongQueries(), LongQueriesParameters(target="empire", longer_than=timedelta())),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_each_read_names_the_right_that_it_lacks(
    contrib: Helped, read: AnyRead, params: TargetParameters
) -> None:
    contrib.grant()
    contrib.run("CREATE EXTENSION pg_stat_statements")
    await read.execute(contrib.context(), params)
    assert [p.verb for p in read.permissions(params)] == ["pg_read_all_stats"]
    contrib.run(f"REVOKE pg_read_all_stats FROM {contrib.role}")
    with pytest.raises(ForbiddenError, match="lacks pg_read_all_stats: GRANT pg_read_all_stats TO it"):
        await read.execute(contrib.context(), params)
