"""The schema is brought up to date once, whoever starts together."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver

from hdr_responder.adapters.store.jobs import queries
from hdr_responder.adapters.store.migrate import head, migrate
from hdr_responder.adapters.store.pool import Pool, connect
from hdr_responder.errors import ConfigError, UnavailableError

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[3]

MIGRATE = """
import asyncio, sys
from hdr_responder.adapters.store.migrate import migrate
asyncio.run(migrate(sys.argv[1]))
"""


async def test_replicas_that_start_together_migrate_once(database_url: str) -> None:
    replicas = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", MIGRATE, database_url, cwd=ROOT) for _ in range(3)
    ]
    assert [await replica.wait() for replica in replicas] == [0, 0, 0]
    await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("select version_num from alembic_version") == head()
        assert await connection.fetchval("select count(*) from pause") == 1
    finally:
        await connection.close()


async def test_the_queue_has_the_schema_that_its_library_wants(pool: Pool) -> None:
    async with pool.acquire() as connection:
        plan = await queries(AsyncpgDriver(connection)).plan_upgrade()  # type: ignore[arg-type]
    assert plan.statements == ()


def test_the_environment_does_not_rename_the_queue() -> None:
    """The library takes even a bare CHANNEL for its own."""
    program = "from hdr_responder.adapters.store.jobs import SETTINGS; print(SETTINGS.channel, SETTINGS.queue_table)"
    environ = os.environ | {"CHANNEL": "stable", "QUEUE_TABLE": "other", "PGQUEUER_PREFIX": "x_"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ch_pgqueuer", "pgqueuer"]


async def test_a_session_commits_to_disk_and_is_cut_when_its_process_is_frozen(store_url: str) -> None:
    connection = await connect(store_url)
    try:
        for setting, value in (
            ("synchronous_commit", "on"),
            ("idle_in_transaction_session_timeout", "10s"),
            ("statement_timeout", "30s"),
            ("application_name", "hdr-responder"),
            ("timezone", "UTC"),
        ):
            assert await connection.fetchval(f"show {setting}") == value
    finally:
        await connection.close()


async def test_a_database_that_cannot_be_had_is_told_from_a_wrong_address() -> None:
    with pytest.raises(UnavailableError):
        await migrate("postgresql://postgres@127.0.0.1:1/db")
    with pytest.raises(ConfigError):
        await migrate("mysql://localhost/db")
