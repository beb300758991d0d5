"""The port to a target database: what it says of itself and how it fails."""

from __future__ import annotations

import asyncio

import pytest

from hdr_responder.actions.postgres.health import Ping, PingParameters
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.errors import ConfigError, ForbiddenError, PermanentError, UnavailableError
from tests.integration.postgres.sessions import (
    DEADLINE,
    Database,
    context,
    find,
)
from tests.services.ports import free_port
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service


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
