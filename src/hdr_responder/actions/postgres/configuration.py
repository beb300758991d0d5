"""Changing a parameter of the server that takes effect by reloading, and putting back what was written before.

ALTER SYSTEM writes a file of the server's own, beside the one that people keep. What stands there for a parameter is
what is captured, compared and restored; whether the server uses it is asked separately.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from pydantic import Field, model_validator

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Parameters,
    Permission,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
    Undone,
)
from hdr_responder.actions.postgres.endings import Pause
from hdr_responder.actions.postgres.parameters import Value, Wanted, in_force, refuse_unfit, wanted
from hdr_responder.actions.postgres.rights import CONFIGURATION, configuration_target, require, rights
from hdr_responder.domain.ports.postgres import ParameterState
from hdr_responder.domain.ports.postgres.configuration import alter_needs, file_needs
from hdr_responder.errors import AmbiguousError, ConflictError, InvalidInputError, TemporaryError

RELOAD_SECONDS = 5.0
"""How long the server may take to read its files anew."""
POLL_SECONDS = 0.1


class SetConfigParameters(Parameters):
    """Which parameter gets which value."""

    target: str = Field(description="A name under targets.postgres.")
    parameter: str = Field(description="One of a closed list, all of which take effect by reloading.")
    value: Value = Field(description="As the parameter wants it: true, 0.2, 30s, 64MB; -1 where it means none.")

    @model_validator(mode="after")
    def _fits(self) -> SetConfigParameters:
        try:
            self.wanted()
        except InvalidInputError as e:
            raise ValueError(str(e)) from e
        return self

    def wanted(self) -> Wanted:
        """Return the value as it is written."""
        return wanted(self.parameter, self.value)


class SetConfigResult(Result):
    """What was written."""

    changed: bool = Field(description="False when it was written so already.")
    parameter: str
    value: str
    was: str = Field(description="What was in force before, in the server's own unit.")
    summary: str


class SetConfig(Mutation[SetConfigParameters, SetConfigResult]):
    """Changes a parameter."""

    name = "postgres.set_config"
    summary = "Change a parameter of the server that takes effect without a restart."
    example = """
id: faster
action: postgres.set_config
with: {target: hdr_empire, parameter: autovacuum_vacuum_cost_limit, value: 2000}
"""
    parameters = SetConfigParameters
    result = SetConfigResult
    undoable: ClassVar[Undo] = Undo.RESTORES
    effect_group = CONFIGURATION
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = False
    awaits_dependencies: ClassVar[bool] = False
    default_timeout_seconds = 60.0

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause

    def permissions(self, params: SetConfigParameters) -> tuple[Permission, ...]:
        """Return the rights to write this parameter, to have it read, and to see what is written."""
        return rights(params.target, *alter_needs(params.parameter), *file_needs())

    def target(self, params: SetConfigParameters) -> Target:
        """Return the parameters of the server."""
        return configuration_target(params.target)

    async def dry_run(self, ctx: StepContext, params: SetConfigParameters) -> None:
        """Ask whether the server would take the value by reloading, and for the rights."""
        server = ctx.systems.database(params.target)
        await require(server, self.permissions(params), primary=False)
        refuse_unfit(await server.parameter(params.parameter), params.wanted())

    async def capture(self, ctx: StepContext, params: SetConfigParameters) -> State:
        """Return what is written and what is in force."""
        found = await ctx.systems.database(params.target).parameter(params.parameter)
        refuse_unfit(found, params.wanted())
        return {"written": found.written, "setting": found.setting}

    async def execute(self, ctx: StepContext, params: SetConfigParameters, state: State) -> SetConfigResult:
        """Write the value and wait until the server uses it.

        Raises ConflictError when somebody wrote another value since the capture, AmbiguousError when it was written and
        is not in force.
        """
        server, value = ctx.systems.database(params.target), params.wanted()
        found = await server.parameter(params.parameter)
        if found.written not in {state["written"], value.text}:
            raise ConflictError(f"somebody set {params.parameter} to {found.written} meanwhile")
        if found.written != value.text or not in_force(found, value):
            await server.alter_system(params.parameter, value.text)
            await self._await(ctx, params, value)
        return _report(params, value, state)

    async def observe(self, ctx: StepContext, params: SetConfigParameters, state: State) -> Observed[SetConfigResult]:
        """Look at what is written, then whether it is in force."""
        value = params.wanted()
        found = await ctx.systems.database(params.target).parameter(params.parameter)
        if found.written == value.text:
            if not in_force(found, value):
                return Observed(seen=Seen.UNKNOWN, detail=f"{value.text} is written, and {found.setting} is in force")
            return Observed(seen=Seen.TOOK_EFFECT, result=_report(params, value, state), detail="it is in force")
        if found.written == state["written"]:
            return Observed(seen=Seen.NO_EFFECT, detail="what is written is what was before")
        return Observed(seen=Seen.UNKNOWN, detail=f"somebody set {params.parameter} to {found.written}")

    async def undo(self, ctx: StepContext, params: SetConfigParameters, state: State) -> Undone:
        """Write what was written before, or take the line out where there was none."""
        server, value, before = ctx.systems.database(params.target), params.wanted(), state["written"]
        assert before is None or isinstance(before, str)
        found = await server.parameter(params.parameter)
        if found.written == before:
            return Undone.NOTHING_TO_UNDO
        if found.written != value.text:
            return Undone.DRIFTED
        await server.alter_system(params.parameter, before)
        return Undone.UNDONE

    async def _await(self, ctx: StepContext, params: SetConfigParameters, value: Wanted) -> None:
        found: ParameterState | None = None
        for _ in range(round(RELOAD_SECONDS / POLL_SECONDS)):
            try:
                found = await ctx.systems.database(params.target).parameter(params.parameter)
            except TemporaryError:
                continue
            finally:
                await self._pause(POLL_SECONDS)
            if in_force(found, value):
                return
        known = f"{found.setting} is in force" if found else "the server does not answer"
        raise AmbiguousError(f"{params.parameter} was written as {value.text}, and {known}")


def _report(params: SetConfigParameters, value: Wanted, state: State) -> SetConfigResult:
    changed = state["written"] != value.text
    done = f"is {value.text}, before it was" if changed else f"was written as {value.text} already;"
    return SetConfigResult(
        changed=changed,
        parameter=params.parameter,
        value=value.text,
        was=str(state["setting"]),
        summary=f"{params.parameter} {done} {state['setting']}",
    )
