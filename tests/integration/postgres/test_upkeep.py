"""Analyzing and vacuuming a table on real servers, as the role of `deploy/postgres/role.sql`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.postgres import running
from hdr_responder.actions.postgres.running import session_name
from hdr_responder.actions.postgres.upkeep import Analyze, AnalyzeParameters, Upkeep, Vacuum, VacuumParameters
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
from tests.services.ports import free_port
from tests.unit.actions.hostile import HOSTILE

pytestmark = pytest.mark.service
EXCLUSIVE = "LOCK TABLE jobs IN SHARE UPDATE EXCLUSIVE MODE"


def analyzing(**more: object) -> AnalyzeParameters:
    return AnalyzeParameters.model_validate({"target": "empire", "table": "jobs", **more})


def vacuuming(**more: object) -> VacuumParameters:
    return VacuumParameters.model_validate({"target": "empire", "table": "jobs", **more})


async def test_a_table_is_analyzed(helped: Helped) -> None:
    helped.grant_maintenance()
    ctx, action, params = helped.context(), Analyze(), analyzing()

    result, state = await change(action, ctx, params)

    assert helped.run("SELECT reltuples FROM pg_class WHERE oid = 'jobs'::regclass") == "5000"
    assert result.table == "public.jobs"
    assert result.summary.startswith("public.jobs was analyzed within ")
    assert helped.run("SELECT last_analyze IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'jobs'") == "t"
    observed = await action.observe(ctx, params, state)
    assert observed.seen is Seen.TOOK_EFFECT
    assert observed.result == result
    assert await action.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO


async def test_dead_rows_are_reclaimed(helped: Helped) -> None:
    helped.grant_maintenance()
    helped.run("ALTER TABLE jobs SET (autovacuum_enabled = off)")
    helped.run("DELETE FROM jobs WHERE id > 100")
    size = helped.run("SELECT pg_relation_size('jobs')")

    _, state = await change(Vacuum(), helped.context(), vacuuming(analyze=True))

    seen = "SELECT n_dead_tup, last_vacuum IS NOT NULL, last_analyze IS NOT NULL FROM pg_stat_user_tables"
    assert helped.run(f"{seen} WHERE relname = 'jobs'") == "0|t|t"
    assert helped.run("SELECT pg_relation_size('jobs')") == size, "giving space back would lock the table"
    assert (await Vacuum().observe(helped.context(), vacuuming(), state)).seen is Seen.TOOK_EFFECT
    await change(Vacuum(), helped.context(), vacuuming(truncate=True, gentle=False))
    assert int(helped.run("SELECT pg_relation_size('jobs')")) < int(size)


@pytest.mark.parametrize(
    ("action", "params"), [(Analyze(), analyzing()), (Vacuum(), vacuuming())], ids=["analyze", "vacuum"]
)
async def test_a_rehearsal_changes_nothing(helped: Helped, action: Upkeep[Any], params: Any) -> None:
    helped.grant_maintenance()
    before = await helped.dump()

    await action.dry_run(helped.context(), params)
    state = await action.capture(helped.context(), params)

    assert await helped.dump() == before
    assert (await action.observe(helped.context(), params, state)).seen is Seen.NO_EFFECT


@pytest.mark.parametrize(
    ("action", "params"), [(Analyze(), analyzing()), (Vacuum(), vacuuming())], ids=["analyze", "vacuum"]
)
async def test_each_right_is_needed_and_named(helped: Helped, action: Upkeep[Any], params: Any) -> None:
    helped.grant_maintenance()
    newest = helped.version >= 17
    state = await action.capture(helped.context(), params)
    revoked = {
        "pg_read_all_stats": f"REVOKE pg_read_all_stats FROM {helped.role}",
        "usage on public": "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        "maintain on public.jobs": f"REVOKE MAINTAIN ON jobs FROM {helped.role}"
        if newest
        else f"REVOKE {helped.owner} FROM {helped.role}",
    }
    assert await helped.target().missing(action.permissions(params)) == ()
    for right, statement in revoked.items():
        helped.run(statement)
        if right.startswith("usage"):
            helped.run(f"REVOKE USAGE ON SCHEMA public FROM {helped.role}, {helped.owner}")
        assert await helped.target().missing(action.permissions(params)) == (right,)
        with pytest.raises(ForbiddenError, match=f"lacks {right}"):
            await action.dry_run(helped.context(), params)
        if not right.startswith("pg_"):
            with pytest.raises(ForbiddenError, match=f"lacks {right}: GRANT "):
                await action.execute(helped.context(), params, state)
        helped.run(f"GRANT USAGE ON SCHEMA public TO PUBLIC, {helped.owner}")
        helped.grant_maintenance()
    assert (
        helped.run(
            "SELECT last_analyze IS NULL AND last_vacuum IS NULL FROM pg_stat_user_tables WHERE relname = 'jobs'"
        )
        == "t"
    )


async def test_what_is_no_table_of_an_allowed_schema_is_refused(helped: Helped) -> None:
    helped.grant_maintenance()
    ctx = helped.context()
    with pytest.raises(ForbiddenError, match=r"schema of other.things is not among targets.postgres.empire.schemas"):
        await Analyze().dry_run(ctx, analyzing(schema_name="other", table="things"))
    catalog, state = analyzing(schema_name="pg_catalog", table="pg_class"), await Analyze().capture(ctx, analyzing())
    with pytest.raises(ForbiddenError, match="is not among"):
        await Analyze().execute(ctx, catalog, state)
    system = helped.context(helped.target(schemas=("pg_catalog",)))
    with pytest.raises(ForbiddenError, match="is not among"):
        await Analyze().capture(system, analyzing(schema_name="pg_catalog", table="pg_class"))
    with pytest.raises(ConflictError, match="seen is no table but a view"):
        await Analyze().capture(ctx, analyzing(table="seen"))
    with pytest.raises(ConflictError, match="partitioned: vacuum its partitions"):
        await Vacuum().capture(ctx, vacuuming(table="parted"))
    with pytest.raises(NotFoundError, match=r"there is no table public.gone"):
        await Vacuum().capture(ctx, vacuuming(table="gone"))


async def test_names_are_taken_literally(helped: Helped) -> None:
    helped.grant_maintenance()
    before = await helped.dump()
    for name in HOSTILE:
        await refused(helped, name)
    assert await helped.dump() == before


async def refused(helped: Helped, name: str) -> None:
    with pytest.raises(NotFoundError):
        await Analyze().capture(helped.context(), analyzing(table=name))
    with pytest.raises(ForbiddenError):
        await helped.target().analyze(analyzing(table=name).relation, analyzing().call(helped.context()))
    with pytest.raises(ForbiddenError):
        await Analyze().capture(helped.context(), analyzing(schema_name=name))


async def test_an_odd_name_is_no_other_s(helped: Helped) -> None:
    helped.grant_maintenance()
    odd = "Odd; DROP TABLE jobs--"
    result, _ = await change(Analyze(), helped.context(), analyzing(table=odd))
    assert result.table == f'public."{odd}"'
    assert helped.run("SELECT relname FROM pg_stat_user_tables WHERE last_analyze IS NOT NULL") == odd


@pytest.mark.parametrize("run", [Analyze(), Vacuum()], ids=["analyze", "vacuum"])
async def test_a_lock_that_does_not_come_changes_nothing(helped: Helped, run: Upkeep[Any]) -> None:
    helped.grant_maintenance()
    params = run.parameters.model_validate({"target": "empire", "table": "jobs", "lock_timeout": "200ms"})
    state = await run.capture(helped.context(), params)
    async with helped.locked(EXCLUSIVE):
        with pytest.raises(UnavailableError, match="55P03"):
            await run.execute(helped.context(), params, state)
    assert (await run.observe(helped.context(), params, state)).seen is Seen.NO_EFFECT


async def test_the_server_gives_up_when_the_time_is_up(helped: Helped) -> None:
    helped.grant_maintenance()
    ctx = helped.context()
    async with helped.locked(EXCLUSIVE):
        slow = analyzing(within="300ms")
        with pytest.raises(UnavailableError, match="57014"):
            await Analyze().execute(ctx, slow, await Analyze().capture(ctx, slow))
        part = vacuuming(within="300ms")
        state = await Vacuum().capture(ctx, part)
        with pytest.raises(AmbiguousError, match="57014"):
            await Vacuum().execute(ctx, part, state)
        assert (await Vacuum().observe(ctx, part, state)).seen is Seen.NO_EFFECT


@pytest.mark.parametrize("run", [Analyze(), Vacuum()], ids=["analyze", "vacuum"])
async def test_giving_up_the_step_cancels_the_command_on_the_server(helped: Helped, run: Upkeep[Any]) -> None:
    helped.grant_maintenance()
    ctx = helped.context()
    params = run.parameters.model_validate({"target": "empire", "table": "jobs", "lock_timeout": "10m"})
    state = await run.capture(ctx, params)
    async with helped.locked(EXCLUSIVE) as holder:
        work = asyncio.create_task(run.execute(ctx, params, state))
        await helped.waits(session_name(ctx.step_key))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(work, DEADLINE)
        await helped.none_left(session_name(ctx.step_key))
        await holder.execute("ROLLBACK")
    assert (await run.observe(ctx, params, state)).seen is Seen.NO_EFFECT


@pytest.mark.parametrize("run", [Analyze(), Vacuum()], ids=["analyze", "vacuum"])
async def test_a_session_that_is_ended_leaves_the_outcome_open(helped: Helped, run: Upkeep[Any]) -> None:
    helped.grant_maintenance()
    ctx = helped.context()
    params = run.parameters.model_validate({"target": "empire", "table": "jobs", "lock_timeout": "10m"})
    state = await run.capture(ctx, params)
    async with helped.locked(EXCLUSIVE):
        work = asyncio.create_task(run.execute(ctx, params, state))
        await helped.waits(session_name(ctx.step_key))
        helped.run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE application_name = '{session_name(ctx.step_key)}'"
        )
        with pytest.raises(AmbiguousError, match="part of it may have been done"):
            await asyncio.wait_for(work, DEADLINE)
    assert (await run.observe(ctx, params, state)).seen is Seen.NO_EFFECT


@pytest.mark.parametrize(
    ("run", "command"),
    [(Analyze(), b"ANALYZE public.jobs"), (Vacuum(), b"off) public.jobs")],
    ids=["analyze", "vacuum"],
)
async def test_a_lost_answer_is_ambiguous_and_observed(helped: Helped, run: Upkeep[Any], command: bytes) -> None:
    helped.grant_maintenance()
    params = run.parameters.model_validate({"target": "empire", "table": "jobs"})
    state = await run.capture(helped.context(), params)
    async with AnswerLoser(helped.server.port, command, simple=True) as proxy:
        with pytest.raises(AmbiguousError):
            await run.execute(helped.context(helped.target(proxy.port)), params, state)
    assert proxy.cut
    observed = await run.observe(helped.context(), params, state)
    assert observed.seen is Seen.TOOK_EFFECT
    with pytest.raises(UnavailableError):
        await run.execute(helped.context(helped.target(free_port())), params, state)


async def test_the_server_notices_that_the_worker_is_gone(helped: Helped) -> None:
    helped.grant_maintenance()
    ctx, params = helped.context(), analyzing(lock_timeout="10m")
    state = await Analyze().capture(ctx, params)
    async with helped.locked(EXCLUSIVE):
        async with AnswerLoser(helped.server.port, b"never") as proxy:
            work = asyncio.create_task(Analyze().execute(helped.context(helped.target(proxy.port)), params, state))
            await helped.waits(session_name(ctx.step_key))
            await proxy.drop()
            with pytest.raises(AmbiguousError):
                await asyncio.wait_for(work, DEADLINE)
        observed = await Analyze().observe(ctx, params, state)
    assert observed.seen is Seen.NO_EFFECT, "the server ends it by itself within the time that is waited"


async def test_a_command_that_is_still_at_work_is_not_judged(helped: Helped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GONE_SECONDS", 0.5)
    helped.grant_maintenance()
    ctx, params = helped.context(), vacuuming()
    state = await Vacuum().capture(ctx, params)
    async with helped.locked(EXCLUSIVE), helped.session(helped.role, session_name(ctx.step_key)) as other:
        work = asyncio.create_task(other.execute("SET lock_timeout = 0; VACUUM jobs"))
        await asyncio.gather(work, return_exceptions=True)
        work = asyncio.create_task(other.execute("VACUUM jobs"))
        await helped.waits(session_name(ctx.step_key))

        observed = await Vacuum().observe(ctx, params, state)

        assert observed.seen is Seen.UNKNOWN
        assert f"still at work (pid {other.get_server_pid()}" in observed.detail
        other.terminate()
        await asyncio.gather(work, return_exceptions=True)


async def test_what_cannot_be_known_is_not_guessed(helped: Helped) -> None:
    helped.grant_maintenance()
    ctx, params = helped.context(), analyzing()
    state = await Analyze().capture(ctx, params)

    restarted = {**state, "server_started_at": "2020-01-01T00:00:00Z"}
    assert (await Analyze().observe(ctx, params, restarted)).seen is Seen.UNKNOWN
    helped.run(f"DROP TABLE jobs CASCADE; CREATE TABLE jobs (id int); ALTER TABLE jobs OWNER TO {helped.owner}")
    again = await Analyze().observe(ctx, params, state)
    assert again.seen is Seen.UNKNOWN
    assert "created anew" in again.detail


async def test_autovacuum_is_not_taken_for_ours(helped: Helped) -> None:
    helped.grant_maintenance()
    ctx = helped.context()
    state = await Analyze().capture(ctx, analyzing())
    helped.run("UPDATE jobs SET note = 'changed'")
    assert (await Analyze().observe(ctx, analyzing(), state)).seen is Seen.NO_EFFECT


def test_sessions_of_two_steps_have_two_names() -> None:
    run = "00000000-0000-0000-0000-000000000001"
    names = [session_name(f"{run}/{step}") for step in ("vacuum", "v" * 60, "v" * 61, "vücuum")]
    assert names[0] == f"hdr-responder/{run}/vacuum"
    assert len(set(names)) == 4
    assert all(len(name) <= 63 and name.isascii() and name.startswith("hdr-responder/") for name in names)
