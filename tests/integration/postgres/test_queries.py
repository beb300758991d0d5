"""Queries that run for long, and cancelling one, on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from hdr_responder.actions.contract import Seen, State
from hdr_responder.actions.postgres.queries import (
    CancelQuery,
    CancelQueryParameters,
    LongQueries,
    LongQueriesParameters,
    LongQueriesResult,
)
from hdr_responder.errors import AmbiguousError, ConflictError, ForbiddenError, UnavailableError
from tests.integration.postgres.answers import AnswerLoser
from tests.integration.postgres.helping import Helped, change
from tests.integration.postgres.sessions import DEADLINE, Kept
from tests.services.ports import free_port

pytestmark = pytest.mark.service
SLEEP = "SELECT pg_sleep(600), 'hunter2' AS secret, 4711 AS number"


@contextlib.asynccontextmanager
async def running(
    helped: Helped, sql: str = SLEEP, *, user: str | None = None, application: str = "reports"
) -> AsyncIterator[tuple[asyncpg.Connection[asyncpg.Record], asyncio.Task[str]]]:
    async with helped.session(user or helped.owner, application) as connection:
        task = asyncio.create_task(connection.execute(sql))
        await helped.until(
            f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {connection.get_server_pid()} "
            "AND state = 'active')"
        )
        yield connection, task
        connection.terminate()
        await asyncio.gather(task, return_exceptions=True)


async def find(helped: Helped, **more: object) -> LongQueriesResult:
    params = LongQueriesParameters.model_validate({"target": "empire", "longer_than": "0", **more})
    return await LongQueries().execute(helped.context(), params)


def cancelling(found: LongQueriesResult, **more: object) -> CancelQueryParameters:
    """The parameters as a later step gets them: out of a stored result."""
    query = json.loads(json.dumps(found.queries[0].model_dump(mode="json")))
    return CancelQueryParameters.model_validate({"target": "empire", "query": query, "running_for": "0", **more})


async def test_long_queries_are_told_without_their_literals(helped: Helped) -> None:
    helped.grant()
    kept = Kept()
    async with running(helped) as (connection, _):
        params = LongQueriesParameters(target="empire", longer_than=timedelta())
        found = await LongQueries().execute(helped.context(evidence=kept), params)

        (query,) = found.queries
        assert (query.pid, query.usename, query.application_name) == (
            connection.get_server_pid(),
            helped.owner,
            "reports",
        )
        assert query.query == "SELECT pg_sleep(?), ? AS secret, ? AS number"
        assert found.total == 1
        assert found.longest_seconds == query.seconds > 0
        assert f"pid {query.pid}" in found.summary
        assert b"hunter2" not in kept.artifacts["long-queries.json"]
        patient = await find(helped, longer_than="1h")
        assert (patient.queries, patient.summary) == ((), "no query runs for longer than 1h")


async def test_one_query_is_cancelled_and_its_session_stays(helped: Helped) -> None:
    helped.grant()
    async with running(helped) as (connection, task), running(helped) as (_, other):
        await helped.until("SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'reports'")
        found = await find(helped)
        params = cancelling(found)
        assert params.query.pid == connection.get_server_pid(), "the longest comes first"

        result, state = await change(CancelQuery(), helped.context(), params)

        assert result.outcome == "cancelled"
        with pytest.raises(asyncpg.QueryCanceledError):
            await asyncio.wait_for(task, DEADLINE)
        assert await connection.fetchval("SELECT 1") == 1
        assert not other.done()
        observed = await CancelQuery().observe(helped.context(), params, state)
        assert observed.seen is Seen.TOOK_EFFECT
        again = await CancelQuery().execute(helped.context(), params, state)
        assert again.outcome == "gone"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"running_for": "1h"}, "has not run for long enough"),
        ({"protected_applications": ["REP*"]}, "protected application"),
        ({"protected_roles": ["owner_*"]}, "protected role"),
    ],
)
async def test_rules_of_the_playbook(helped: Helped, changes: dict[str, Any], why: str) -> None:
    helped.grant()
    async with running(helped) as (_, task):
        params = cancelling(await find(helped), **changes)
        with pytest.raises(ConflictError, match=why):
            await CancelQuery().dry_run(helped.context(), params)
        with pytest.raises(ConflictError, match=why):
            await CancelQuery().execute(helped.context(), params, {})
        assert not task.done()


async def test_a_superuser_s_query_is_left_alone(helped: Helped) -> None:
    helped.grant()
    async with running(helped, user="postgres") as (_, task):
        with pytest.raises(ConflictError, match="superuser"):
            await CancelQuery().dry_run(helped.context(), cancelling(await find(helped)))
        assert not task.done()


async def test_an_index_that_is_built_concurrently_is_left_alone(helped: Helped) -> None:
    helped.grant()
    async with (
        helped.locked("UPDATE jobs SET note = '' WHERE id = 1"),
        running(helped, "CREATE INDEX CONCURRENTLY late ON jobs (note)") as (_, task),
    ):
        with pytest.raises(ConflictError, match="leaves an invalid one"):
            await CancelQuery().dry_run(helped.context(), cancelling(await find(helped)))
        assert not task.done()


@pytest.mark.parametrize("part", ["backend_start", "query_start"])
async def test_another_query_of_the_same_process_is_never_cancelled(helped: Helped, part: str) -> None:
    helped.grant()
    async with running(helped) as (_, task):
        params = cancelling(await find(helped))
        earlier = getattr(params.query, part) - timedelta(microseconds=1)
        stale = params.model_copy(update={"query": params.query.model_copy(update={part: earlier})})

        with pytest.raises(ConflictError, match="has ended"):
            await CancelQuery().dry_run(helped.context(), stale)
        assert (await CancelQuery().execute(helped.context(), stale, {})).outcome == "gone"
        assert not task.done()


async def test_a_rehearsal_cancels_nothing_and_is_no_effect(helped: Helped) -> None:
    helped.grant()
    async with running(helped) as (_, task):
        params = cancelling(await find(helped), grace="0")
        await CancelQuery().dry_run(helped.context(), params)
        state = await CancelQuery().capture(helped.context(), params)

        assert not task.done()
        assert (await CancelQuery().observe(helped.context(), params, state)).seen is Seen.NO_EFFECT
        other: State = {"server_started_at": "2020-01-01T00:00:00+00:00"}
        assert (await CancelQuery().observe(helped.context(), params, other)).seen is Seen.UNKNOWN


async def test_a_lost_answer_is_ambiguous_and_observed(helped: Helped) -> None:
    helped.grant()
    async with running(helped) as (_, task):
        params = cancelling(await find(helped))
        state = await CancelQuery().capture(helped.context(), params)
        async with AnswerLoser(helped.server.port, b"pg_cancel_backend") as proxy:
            cut = helped.context(helped.target(proxy.port))
            with pytest.raises(AmbiguousError, match="may or may not have been cancelled"):
                await CancelQuery().execute(cut, params, state)
        with pytest.raises(asyncpg.QueryCanceledError):
            await asyncio.wait_for(task, DEADLINE)
        assert (await CancelQuery().observe(helped.context(), params, state)).seen is Seen.TOOK_EFFECT
        with pytest.raises(UnavailableError):
            await CancelQuery().execute(helped.context(helped.target(free_port())), params, state)


async def test_each_right_is_needed_and_named(helped: Helped) -> None:
    helped.grant()
    async with running(helped) as (_, task):
        params = cancelling(await find(helped))
        assert [p.verb for p in CancelQuery().permissions(params)] == ["pg_read_all_stats", "pg_signal_backend"]
        for permission in CancelQuery().permissions(params):
            helped.run(f"REVOKE {permission.verb} FROM {helped.role}")
            assert await helped.target().missing(CancelQuery().permissions(params)) == (permission.verb,)
            with pytest.raises(ForbiddenError, match=f"lacks {permission.verb}: GRANT {permission.verb} TO it"):
                await CancelQuery().execute(helped.context(), params, {})
            assert not task.done()
            helped.grant()
