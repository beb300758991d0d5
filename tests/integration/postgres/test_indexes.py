"""Rebuilding and creating indexes on real servers, what interruptions leave, and taking an index back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import AnyMutation, Parameters, Seen, Undone
from hdr_responder.actions.postgres.index_creation import CreateIndex, CreateIndexParameters
from hdr_responder.actions.postgres.reindexing import Reindex, ReindexParameters
from hdr_responder.actions.postgres.running import session_name
from hdr_responder.errors import (
    AmbiguousError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from tests.integration.postgres.answers import AnswerLoser
from tests.integration.postgres.helping import Helped, change
from tests.integration.postgres.sessions import DEADLINE
from tests.unit.actions.hostile import HOSTILE

pytestmark = pytest.mark.service
WRITER = "UPDATE jobs SET note = 'open' WHERE id = 1"
BUILT = "jobs_timestamp_idx"


def rebuilding(**more: object) -> ReindexParameters:
    return ReindexParameters.model_validate({"target": "empire", "table": "jobs", "index": "jobs_pkey", **more})


def creating(**more: object) -> CreateIndexParameters:
    columns = [{"column": "timestamp", "descending": True}]
    values = {"target": "empire", "table": "jobs", "index": BUILT, "columns": columns, **more}
    return CreateIndexParameters.model_validate(values)


def oid(helped: Helped, index: str = "jobs_pkey") -> str:
    return helped.run(f"SELECT oid FROM pg_class WHERE relname = '{index}'")


def invalid(helped: Helped) -> str:
    return helped.run("SELECT string_agg(indexrelid::regclass::text, ',') FROM pg_index WHERE NOT indisvalid")


@contextlib.asynccontextmanager
async def interrupted(helped: Helped, action: Any, params: Any, state: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """The action, waiting for a transaction of somebody who has changed the table."""
    ctx = helped.context()
    async with helped.locked(WRITER):
        work = asyncio.create_task(action.execute(ctx, params, state))
        await helped.waits(session_name(ctx.step_key))
        yield work


def end_the_session(helped: Helped) -> None:
    helped.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE application_name = '{session_name(helped.context().step_key)}'"
    )


async def test_an_index_is_built_anew(helped: Helped) -> None:
    helped.grant_maintenance()
    helped.run("DELETE FROM jobs WHERE id > 10")
    before = oid(helped)

    result, state = await change(Reindex(), helped.context(), rebuilding())

    assert oid(helped) != before
    assert result.index == "public.jobs_pkey"
    assert result.bytes_after < result.bytes_before
    assert (result.leftovers, invalid(helped)) == ((), "")
    assert (await Reindex().observe(helped.context(), rebuilding(), state)).seen is Seen.TOOK_EFFECT
    after = oid(helped)
    await Reindex().execute(helped.context(), rebuilding(), state)
    assert oid(helped) == after, "what was done is not done again"


async def test_writes_go_on_while_an_index_is_built(helped: Helped) -> None:
    helped.grant_maintenance()
    state = await Reindex().capture(helped.context(), rebuilding())
    async with interrupted(helped, Reindex(), rebuilding(), state) as work:
        async with helped.session(helped.owner) as writer:
            await writer.execute("SET lock_timeout = '2s'; UPDATE jobs SET note = 'meanwhile' WHERE id = 2")
        assert not work.done()
    await asyncio.wait_for(work, DEADLINE)


async def test_rehearsals_change_nothing(helped: Helped) -> None:
    helped.grant(maintenance="on", owner=helped.owner)
    before = await helped.dump()
    cases: list[tuple[AnyMutation, Parameters]] = [(Reindex(), rebuilding()), (CreateIndex(), creating())]
    for action, params in cases:
        await action.dry_run(helped.context(), params)
        state = await action.capture(helped.context(), params)
        assert (await action.observe(helped.context(), params, state)).seen is Seen.NO_EFFECT
    assert await helped.dump() == before


async def test_what_an_interrupted_rebuild_leaves_is_dropped(helped: Helped) -> None:
    helped.grant(maintenance="on", owner=helped.owner)
    before = oid(helped)
    params = rebuilding(lock_timeout="300ms")
    state = await Reindex().capture(helped.context(), params)
    async with helped.locked(WRITER):
        with pytest.raises(AmbiguousError, match=r"it left public\.jobs_pkey_ccnew, which is invalid") as raised:
            await Reindex().execute(helped.context(), params, state)
    assert "55P03" in str(raised.value)
    assert (invalid(helped), oid(helped)) == ("jobs_pkey_ccnew", before)
    assert (await Reindex().observe(helped.context(), params, state)).seen is Seen.UNKNOWN
    await Reindex().execute(helped.context(), rebuilding(), state)
    assert invalid(helped) == "", "the next attempt of the step clears it away"
    assert oid(helped) != before


async def test_an_interruption_that_cannot_be_cleared_is_told(helped: Helped) -> None:
    helped.grant_maintenance()
    state = await Reindex().capture(helped.context(), rebuilding())
    async with interrupted(helped, Reindex(), rebuilding(), state) as work:
        await helped.until("SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)")
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(work, DEADLINE)
        await helped.none_left(session_name(helped.context().step_key))
    assert invalid(helped) == "jobs_pkey_ccnew"

    observed = await Reindex().observe(helped.context(), rebuilding(), state)

    assert observed.seen is Seen.UNKNOWN
    assert "left public.jobs_pkey_ccnew, which is invalid: drop it" in observed.detail


async def test_somebody_else_s_invalid_index_is_reported_and_left(helped: Helped) -> None:
    helped.grant_maintenance()
    helped.run("CREATE INDEX jobs_pkey_ccnew ON jobs (id)")
    helped.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'jobs_pkey_ccnew'::regclass")

    result, state = await change(Reindex(), helped.context(), rebuilding())

    assert result.leftovers == ("public.jobs_pkey_ccnew",)
    assert "invalid indexes are left on the table: public.jobs_pkey_ccnew" in result.summary
    assert invalid(helped) == "jobs_pkey_ccnew"
    assert (await Reindex().observe(helped.context(), rebuilding(), state)).seen is Seen.TOOK_EFFECT


async def test_a_rebuild_whose_session_is_ended_is_settled(helped: Helped) -> None:
    helped.grant(maintenance="on", owner=helped.owner)
    state = await Reindex().capture(helped.context(), rebuilding())
    before = oid(helped)
    async with helped.locked(WRITER) as writer:
        work = asyncio.create_task(Reindex().execute(helped.context(), rebuilding(), state))
        await helped.waits(session_name(helped.context().step_key))
        end_the_session(helped)
        await helped.none_left(session_name(helped.context().step_key))
        await writer.execute("ROLLBACK")
        with pytest.raises(UnavailableError, match="nothing of it is left"):
            await asyncio.wait_for(work, DEADLINE)
    assert (invalid(helped), oid(helped)) == ("", before)


async def test_a_rebuild_whose_answer_is_lost_took_effect(helped: Helped) -> None:
    helped.grant_maintenance()
    state = await Reindex().capture(helped.context(), rebuilding())
    async with AnswerLoser(helped.server.port, b"REINDEX INDEX CONCURRENTLY public", simple=True) as proxy:
        cut = helped.context(helped.target(proxy.port))
        result = await Reindex().execute(cut, rebuilding(), state)
    assert proxy.cut
    assert result.leftovers == ()
    assert (await Reindex().observe(helped.context(), rebuilding(), state)).seen is Seen.TOOK_EFFECT


async def test_only_the_named_index_of_the_named_table(helped: Helped) -> None:
    helped.grant_maintenance()
    ctx = helped.context()
    with pytest.raises(ConflictError, match=r"is an index of jobs, not of public\.seen"):
        await Reindex().dry_run(ctx, rebuilding(table="seen"))
    with pytest.raises(ConflictError, match=r"public\.jobs is no index but a table"):
        await Reindex().dry_run(ctx, rebuilding(index="jobs"))
    with pytest.raises(ForbiddenError, match=r"is not among targets\.postgres\.empire\.schemas"):
        await Reindex().dry_run(ctx, rebuilding(schema_name="other", table="things", index="things_pkey"))
    helped.run("CREATE INDEX parted_idx ON parted (id)")
    with pytest.raises(ConflictError, match="is partitioned"):
        await Reindex().dry_run(ctx, rebuilding(table="parted", index="parted_idx"))


async def test_names_of_indexes_are_taken_literally(helped: Helped) -> None:
    helped.grant(owner=helped.owner)
    before = await helped.dump()
    for name in HOSTILE:
        await not_found(helped, name)
    for name in HOSTILE[2:5]:
        await made_and_taken_back(helped, name)
    assert await helped.dump() == before


async def not_found(helped: Helped, name: str) -> None:
    ctx = helped.context()
    with pytest.raises(NotFoundError):
        await Reindex().dry_run(ctx, rebuilding(index=name))
    with pytest.raises(NotFoundError):
        await CreateIndex().execute(ctx, creating(columns=[{"column": name}]), {"existed": False})


async def made_and_taken_back(helped: Helped, name: str) -> None:
    ctx, params = helped.context(), creating(index=name)
    result, state = await change(CreateIndex(), ctx, params)
    assert result.changed
    assert helped.run("SELECT count(*) FROM pg_indexes WHERE tablename = 'jobs'") == "2"
    assert await CreateIndex().undo(ctx, params, state) is Undone.UNDONE


async def test_an_index_is_built_observed_and_taken_back(helped: Helped) -> None:
    helped.grant(owner=helped.owner)
    ctx, action, params = helped.context(), CreateIndex(), creating()
    before = await helped.dump()

    result, state = await change(action, ctx, params)

    assert result.changed
    definition = helped.run(f"SELECT indexdef FROM pg_indexes WHERE indexname = '{BUILT}'")
    assert definition == f'CREATE INDEX {BUILT} ON public.jobs USING btree ("timestamp" DESC)'
    assert helped.run(f"SELECT relowner::regrole FROM pg_class WHERE relname = '{BUILT}'") == helped.owner
    assert (await action.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT
    first = oid(helped, BUILT)
    again = await action.execute(ctx, params, state)
    assert (again.changed, oid(helped, BUILT)) == (True, first)
    assert await action.undo(ctx, params, state) is Undone.UNDONE
    assert await helped.dump() == before
    assert await action.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO


async def test_an_index_that_exists_is_kept(helped: Helped) -> None:
    helped.grant(owner=helped.owner)
    helped.run(f'CREATE INDEX {BUILT} ON jobs ("timestamp" DESC)')
    result, state = await change(CreateIndex(), helped.context(), creating())
    assert not result.changed
    assert (await CreateIndex().observe(helped.context(), creating(), state)).seen is Seen.TOOK_EFFECT
    assert await CreateIndex().undo(helped.context(), creating(), state) is Undone.NOTHING_TO_UNDO
    assert oid(helped, BUILT)


@pytest.mark.parametrize(
    "definition",
    [
        '("timestamp")',
        '("timestamp" DESC NULLS LAST)',
        '("timestamp" DESC, id)',
        '("timestamp" DESC) INCLUDE (id)',
        '("timestamp" DESC) WHERE id > 5',
        "((id + 1))",
    ],
)
async def test_another_index_of_that_name_is_a_conflict(helped: Helped, definition: str) -> None:
    helped.grant(owner=helped.owner)
    helped.run(f"CREATE INDEX {BUILT} ON jobs {definition}")
    with pytest.raises(ConflictError, match="exists and is another one than asked for"):
        await CreateIndex().dry_run(helped.context(), creating())


async def test_an_index_that_somebody_made_anew_is_drift(helped: Helped) -> None:
    helped.grant(owner=helped.owner)
    _, state = await change(CreateIndex(), helped.context(), creating())
    helped.run(f'DROP INDEX {BUILT}; CREATE INDEX {BUILT} ON jobs ("timestamp" DESC)')
    assert (await CreateIndex().observe(helped.context(), creating(), state)).seen is Seen.UNKNOWN
    assert await CreateIndex().undo(helped.context(), creating(), state) is Undone.DRIFTED
    assert oid(helped, BUILT)


async def test_an_interrupted_build_is_seen_and_cleared(helped: Helped) -> None:
    helped.grant(owner=helped.owner)
    ctx, action, params = helped.context(), CreateIndex(), creating()
    before = await helped.dump()
    state = await action.capture(ctx, params)
    async with interrupted(helped, action, params, state) as work:
        await helped.until("SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)")
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(work, DEADLINE)
        await helped.none_left(session_name(ctx.step_key))
    assert invalid(helped) == BUILT

    observed = await action.observe(ctx, params, state)
    assert observed.seen is Seen.UNKNOWN
    assert "which is invalid: drop it" in observed.detail
    with pytest.raises(ConflictError, match="is invalid: drop it first"):
        await action.dry_run(ctx, params)
    assert await action.undo(ctx, params, state) is Undone.UNDONE
    assert (oid(helped, BUILT), await helped.dump()) == ("", before)


async def test_a_build_whose_time_is_up_leaves_nothing(helped: Helped) -> None:
    helped.grant(owner=helped.owner)
    params = creating(within="700ms")
    state = await CreateIndex().capture(helped.context(), params)
    async with helped.locked(WRITER) as writer:
        work = asyncio.create_task(CreateIndex().execute(helped.context(), params, state))
        await helped.until("SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)")
        await helped.none_left(session_name(helped.context().step_key))
        await writer.execute("ROLLBACK")
        with pytest.raises(UnavailableError, match="nothing of it is left"):
            await asyncio.wait_for(work, DEADLINE)
    assert oid(helped, BUILT) == ""


async def test_each_right_to_build_is_needed_and_named(helped: Helped) -> None:
    helped.grant(owner=helped.owner)
    params = creating()
    revoked = {
        "pg_read_all_stats": f"REVOKE pg_read_all_stats FROM {helped.role}",
        "create on public": f"REVOKE CREATE ON SCHEMA public FROM {helped.role}, {helped.owner}, PUBLIC",
        "owner on public.jobs": f"REVOKE {helped.owner} FROM {helped.role}",
    }
    assert await helped.target().missing(CreateIndex().permissions(params)) == ()
    for right, statement in revoked.items():
        helped.run(statement)
        assert await helped.target().missing(CreateIndex().permissions(params)) == (right,)
        with pytest.raises(ForbiddenError, match=f"lacks {right}"):
            await CreateIndex().dry_run(helped.context(), params)
        if not right.startswith("pg_"):
            with pytest.raises(ForbiddenError, match=f"lacks {right}: GRANT "):
                await CreateIndex().execute(helped.context(), params, {"existed": False})
        helped.grant(owner=helped.owner)
        helped.run(f"GRANT ALL ON SCHEMA public TO {helped.owner}")
    assert oid(helped, BUILT) == ""


async def test_a_partitioned_table_is_refused(helped: Helped) -> None:
    helped.grant(owner=helped.owner)
    with pytest.raises(ConflictError, match="is partitioned"):
        await CreateIndex().dry_run(helped.context(), creating(table="parted", columns=[{"column": "id"}]))


def test_an_index_has_some_columns() -> None:
    for columns in ([], [{"column": f"c{n}"} for n in range(9)], [{"column": ""}], [{"column": "a\x00"}]):
        with pytest.raises(ValidationError):
            creating(columns=columns)
