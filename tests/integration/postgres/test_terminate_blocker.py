"""Ending blockers and seeing that it helped, on a real server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from hdr_responder.actions.contract import Seen
from hdr_responder.actions.postgres.blocking import Unblocked, UnblockedParameters
from hdr_responder.actions.postgres.termination import TerminateBlocker
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import AmbiguousError, UnavailableError
from tests.integration.postgres.answers import AnswerLoser
from tests.integration.postgres.sessions import (
    DEADLINE,
    Database,
    context,
    end,
    ending,
    find,
    pid,
)
from tests.services.ports import free_port
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service


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


async def test_observe_tells_what_took_effect(database: Database) -> None:
    await database.holder(1)
    await database.waiter(1)
    other = await database.holder(2)
    await database.waiter(2)
    roots = (await find(database)).roots
    action, ctx, params = TerminateBlocker(), context(database), ending(roots)
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
    action, params = TerminateBlocker(), ending((await find(database)).roots)
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
    action, params = TerminateBlocker(), ending((await find(database)).roots)
    state = await action.capture(context(database), params)
    nowhere = PostgresTarget("empire", f"postgresql://app@127.0.0.1:{free_port()}/db", 1.0)

    with pytest.raises(UnavailableError):
        await action.execute(replace(context(database), systems=Systems(postgres={"empire": nowhere})), params, state)


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
