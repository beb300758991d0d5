"""Changing parameters of real servers that take effect by reloading, and putting them back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.postgres.configuration import SetConfig, SetConfigParameters
from hdr_responder.actions.postgres.parameters import ALLOWED, Kind, Value, refuse_unfit, wanted
from hdr_responder.errors import AmbiguousError, ConflictError, ForbiddenError, UnavailableError
from tests.integration.postgres.answers import AnswerLoser
from tests.integration.postgres.helping import Helped, change
from tests.services.ports import free_port

pytestmark = pytest.mark.service
USED = "work_mem, checkpoint_timeout, log_lock_waits, random_page_cost, log_min_duration_statement, jit"
SAMPLES: dict[Kind, Value] = {Kind.SWITCH: True, Kind.NUMBER: 1, Kind.DURATION: "1m", Kind.SIZE: "64MB"}


def setting(parameter: str = "work_mem", value: Any = "64MB") -> SetConfigParameters:
    return SetConfigParameters.model_validate({"target": "empire", "parameter": parameter, "value": value})


def written(helped: Helped) -> str:
    return helped.run(
        "SELECT string_agg(name || '=' || setting, ',' ORDER BY seqno) FROM pg_file_settings "
        "WHERE sourcefile ~ 'auto.conf$' AND name NOT IN ('max_prepared_transactions')"
    )


@pytest.fixture(autouse=True)
def _as_it_was(helped: Helped) -> Iterator[None]:
    """Parameters are the whole server's: the next test must find what this one found."""
    helped.grant(parameters=USED)
    yield
    for name in USED.split(", "):
        helped.run(f"ALTER SYSTEM RESET {name}")
    helped.run("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("parameter", "value", "stands", "shown"),
    [
        ("work_mem", "64MB", "64MB", "64MB"),
        ("checkpoint_timeout", "10m", "600000ms", "10min"),
        ("log_lock_waits", True, "on", "on"),
        ("random_page_cost", 1.1, "1.1", "1.1"),
        ("log_min_duration_statement", -1, "-1", "-1"),
    ],
)
async def test_a_parameter_is_set_observed_and_put_back(
    helped: Helped, parameter: str, value: object, stands: str, shown: str
) -> None:
    ctx, action, params = helped.context(), SetConfig(), setting(parameter, value)
    before = helped.run(f"SELECT current_setting('{parameter}')")

    result, state = await change(action, ctx, params)

    assert (result.changed, result.value) == (True, stands)
    assert written(helped) == f"{parameter}={stands}"
    assert helped.run(f"SELECT current_setting('{parameter}')") == shown
    assert (await action.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT
    assert (await action.execute(ctx, params, state)).changed
    assert await action.undo(ctx, params, state) is Undone.UNDONE
    assert written(helped) == ""
    await helped.until(f"SELECT current_setting('{parameter}') = '{before}'")
    assert await action.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO


async def test_what_was_written_before_comes_back(helped: Helped) -> None:
    helped.run("ALTER SYSTEM SET work_mem = '7MB'")
    _, state = await change(SetConfig(), helped.context(), setting())
    assert written(helped) == "work_mem=64MB"
    assert await SetConfig().undo(helped.context(), setting(), state) is Undone.UNDONE
    assert written(helped) == "work_mem=7MB"


async def test_what_is_so_already_is_no_change_and_nothing_to_undo(helped: Helped) -> None:
    helped.run("ALTER SYSTEM SET work_mem = '64MB'")
    result, state = await change(SetConfig(), helped.context(), setting())
    assert not result.changed
    assert "already" in result.summary
    assert await SetConfig().undo(helped.context(), setting(), state) is Undone.NOTHING_TO_UNDO
    assert written(helped) == "work_mem=64MB"


async def test_what_somebody_changed_since_is_left(helped: Helped) -> None:
    ctx = helped.context()
    _, state = await change(SetConfig(), ctx, setting())
    helped.run("ALTER SYSTEM SET work_mem = '96MB'")
    assert (await SetConfig().observe(ctx, setting(), state)).seen is Seen.UNKNOWN
    assert await SetConfig().undo(ctx, setting(), state) is Undone.DRIFTED
    with pytest.raises(ConflictError, match="somebody set work_mem to 96MB meanwhile"):
        await SetConfig().execute(ctx, setting(), state)
    assert written(helped) == "work_mem=96MB"


async def test_a_rehearsal_changes_nothing(helped: Helped) -> None:
    before = await helped.dump()
    await SetConfig().dry_run(helped.context(), setting())
    state = await SetConfig().capture(helped.context(), setting())
    assert await helped.dump() == before
    assert (await SetConfig().observe(helped.context(), setting(), state)).seen is Seen.NO_EFFECT


async def test_written_and_not_in_force_is_not_success(helped: Helped) -> None:
    state = await SetConfig().capture(helped.context(), setting())
    helped.run("ALTER SYSTEM SET work_mem = '64MB'")

    observed = await SetConfig().observe(helped.context(), setting(), state)

    assert observed.seen is Seen.UNKNOWN
    assert "64MB is written, and " in observed.detail
    await SetConfig().execute(helped.context(), setting(), state)
    assert helped.run("SHOW work_mem") == "64MB", "a second attempt has it read"


async def test_lost_answers_are_ambiguous_and_observed(helped: Helped) -> None:
    state = await SetConfig().capture(helped.context(), setting())
    for command, seen in ((b"ALTER SYSTEM SET work_mem", Seen.UNKNOWN), (b"select pg_reload_conf", Seen.TOOK_EFFECT)):
        async with AnswerLoser(helped.server.port, command, simple=command.startswith(b"ALTER")) as proxy:
            with pytest.raises(AmbiguousError, match="written"):
                await SetConfig().execute(helped.context(helped.target(proxy.port)), setting(), state)
        assert proxy.cut
        if seen is Seen.TOOK_EFFECT:
            await helped.until("SELECT current_setting('work_mem') = '64MB'")
        assert (await SetConfig().observe(helped.context(), setting(), state)).seen is seen
    with pytest.raises(UnavailableError):
        await SetConfig().execute(helped.context(helped.target(free_port())), setting(), state)


async def test_each_right_is_needed_and_named(helped: Helped) -> None:
    state = await SetConfig().capture(helped.context(), setting())
    permissions = SetConfig().permissions(setting())
    assert await helped.target().missing(permissions) == ()
    revoked = {
        "alter system on work_mem": "ALTER SYSTEM ON PARAMETER work_mem",
        "execute on pg_catalog.pg_reload_conf()": "EXECUTE ON FUNCTION pg_reload_conf()",
        "select on pg_catalog.pg_file_settings": "SELECT ON pg_file_settings",
        "execute on pg_catalog.pg_show_all_file_settings()": "EXECUTE ON FUNCTION pg_show_all_file_settings()",
    }
    for right, privilege in revoked.items():
        helped.run(f"REVOKE {privilege} FROM {helped.role}")
        assert await helped.target().missing(permissions) == (right,)
        with pytest.raises(ForbiddenError, match=re.escape(f"lacks {right}")):
            await SetConfig().dry_run(helped.context(), setting())
        with pytest.raises(ForbiddenError, match=re.escape(f"lacks {right}: GRANT ")):
            await SetConfig().execute(helped.context(), setting(), state)
        helped.grant(parameters=USED)
    assert written(helped) == ""


async def test_a_right_to_one_parameter_is_no_right_to_another(helped: Helped) -> None:
    with pytest.raises(ForbiddenError, match="lacks alter system on temp_file_limit"):
        await SetConfig().dry_run(helped.context(), setting("temp_file_limit", "10GB"))


@pytest.mark.parametrize(
    ("parameter", "value", "why"),
    [
        ("work_mem", "1kB", "work_mem is from 64 to"),
        ("checkpoint_timeout", "1500ms", "whole number of s"),
        ("checkpoint_timeout", "30d", "is from 30 to 86400 s"),
        ("random_page_cost", -1, "is from 0 to"),
    ],
)
async def test_what_the_server_would_not_take_is_refused(
    helped: Helped, parameter: str, value: object, why: str
) -> None:
    with pytest.raises(ConflictError, match=why):
        await SetConfig().dry_run(helped.context(), setting(parameter, value))


async def test_what_overrides_the_file_is_not_fought(helped: Helped) -> None:
    helped.run(f"ALTER DATABASE {helped.database} SET work_mem = '5MB'")
    with pytest.raises(ConflictError, match="set by the database, which overrides"):
        await SetConfig().dry_run(helped.context(), setting())


async def test_every_parameter_of_the_list_takes_effect_by_reloading_and_is_of_its_kind(helped: Helped) -> None:
    helped.grant(parameters=", ".join(ALLOWED))
    target = helped.target()
    for name, kind in ALLOWED.items():
        state = await target.parameter(name)
        sample = wanted(name, "2ms" if name == "autovacuum_vacuum_cost_delay" else SAMPLES[kind])
        vartype = {Kind.SWITCH: {"bool"}}.get(kind, {"integer", "real"})
        assert state.vartype in vartype, name
        assert bool(state.unit) == (kind in {Kind.DURATION, Kind.SIZE}), name
        low = state.minimum if kind is Kind.NUMBER else None
        refuse_unfit(state, wanted(name, low) if low is not None else sample)


async def test_giving_up_the_step_while_it_waits_leaves_what_is_observed(helped: Helped) -> None:
    state = await SetConfig().capture(helped.context(), setting())
    entered = asyncio.Event()

    async def forever(_: float) -> None:
        entered.set()
        await asyncio.Event().wait()

    work = asyncio.create_task(SetConfig(forever).execute(helped.context(), setting(), state))
    await asyncio.wait_for(entered.wait(), 15)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await helped.until("SELECT current_setting('work_mem') = '64MB'")
    assert (await SetConfig().observe(helped.context(), setting(), state)).seen is Seen.TOOK_EFFECT
