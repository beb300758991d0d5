"""Whether a database can be used, as a health probe sees it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hdr_responder.actions.contract import StepContext
from hdr_responder.actions.postgres.health import Reachable, ReachableParameters
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.domain.ports.postgres import ServerInfo
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import NotFoundError
from tests.integration.postgres.sessions import Database, context
from tests.services.ports import free_port
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service

PARAMS = ReachableParameters(target="empire")


class Standby(PostgresTarget):
    """A server that says of itself that it is none to write to."""

    async def ping(self) -> ServerInfo:
        return (await super().ping()).model_copy(update={"primary": False})


def of(database: Database, target: PostgresTarget) -> StepContext:
    return replace(context(database, "blind"), systems=Systems(postgres={"empire": target}))


async def test_a_server_that_answers_holds(database: Database) -> None:
    verdict = await Reachable().evaluate(of(database, PostgresTarget("empire", database.dsn)), PARAMS)
    assert (verdict.holds, verdict.detail) == (True, "postgres target empire answers")


async def test_a_frozen_server_is_down(database: Database, server: PostgresServer) -> None:
    await asyncio.to_thread(server.suspend)
    try:
        verdict = await Reachable().evaluate(of(database, PostgresTarget("empire", database.dsn, 0.5)), PARAMS)
    finally:
        await asyncio.to_thread(server.resume)
    assert (verdict.holds, verdict.detail) == (False, "postgres target empire: no answer in time")


async def test_a_server_that_is_gone_is_down(database: Database) -> None:
    nowhere = PostgresTarget("empire", f"postgresql://app@127.0.0.1:{free_port()}/db", 2.0)
    assert (await Reachable().evaluate(of(database, nowhere), PARAMS)).holds is False


async def test_a_standby_is_enough_only_where_it_is_said(database: Database) -> None:
    ctx = of(database, Standby("empire", database.dsn))
    assert (await Reachable().evaluate(ctx, PARAMS)).holds is False
    assert (await Reachable().evaluate(ctx, PARAMS.model_copy(update={"primary": False}))).holds is True


async def test_a_database_that_is_not_configured_is_an_error(database: Database) -> None:
    ctx = replace(context(database, "blind"), systems=Systems())
    with pytest.raises(NotFoundError, match=r"targets\.postgres\.empire"):
        await Reachable().evaluate(ctx, PARAMS)
