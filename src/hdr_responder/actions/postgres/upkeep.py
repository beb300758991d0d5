"""Analyzing and vacuuming one table, as autovacuum does it, when it cannot wait for autovacuum.

Neither locks anybody out. Neither can be taken back, and needs not: they change no row. VACUUM FULL is not offered:
it locks the table against everybody until it is rewritten, which needs downtime (manual D6) and a person.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from datetime import datetime
from typing import ClassVar, Literal, TypeVar

from pydantic import Field

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Permission,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
)
from hdr_responder.actions.postgres.endings import Pause
from hdr_responder.actions.postgres.rights import UPKEEP, require, rights, upkeep_target
from hdr_responder.actions.postgres.running import POLL_SECONDS, TableParameters, session_name, still_at_work
from hdr_responder.domain.ports.postgres import READ_ROLE, Call, Need, PostgresServer, TableState
from hdr_responder.domain.ports.postgres.access import MAINTAIN, USAGE
from hdr_responder.domain.ports.postgres.maintenance import quoted
from hdr_responder.errors import AmbiguousError, ConflictError

RECORDED_SECONDS = 5.0
"""How long the server may take to record what it did: PostgreSQL 14 passes it on in its own time."""


class AnalyzeParameters(TableParameters):
    """Which table to analyze."""


class VacuumParameters(TableParameters):
    """Which table to vacuum, and how."""

    analyze: bool = Field(default=False, description="Analyze it afterwards.")
    gentle: bool = Field(default=True, description="Pause as autovacuum does, so that others keep the disk.")
    truncate: bool = Field(
        default=False, description="Also give empty pages at the end back, which locks the table for a moment."
    )
    full: Literal[False] = Field(
        default=False, description="VACUUM FULL locks everybody out and needs downtime (manual D6): not offered."
    )


class UpkeepResult(Result):
    """What was done, by the server's own record."""

    table: str
    finished_at: datetime = Field(description="By the server's clock.")
    seconds: float = Field(description="Since the table was looked at before.")
    summary: str


P = TypeVar("P", bound=TableParameters)


class Upkeep(Mutation[P, UpkeepResult]):
    """What analyzing and vacuuming share; they differ in the command and in what records it."""

    result = UpkeepResult
    undoable: ClassVar[Undo] = Undo.NONE
    effect_group = UPKEEP
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = False
    awaits_dependencies: ClassVar[bool] = False
    default_timeout_seconds = 900.0
    verb: ClassVar[str]
    """For people: what was done to the table."""

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause

    def permissions(self, params: P) -> tuple[Permission, ...]:
        """Return the rights to maintain the table, and to see whether an earlier attempt is still at it."""
        schema = Need(USAGE, quoted(params.schema_name))
        return rights(params.target, Need(READ_ROLE), schema, Need(MAINTAIN, str(params.relation)))

    def target(self, params: P) -> Target:
        """Return the upkeep of the database."""
        return upkeep_target(params.target)

    @abstractmethod
    async def run(self, server: PostgresServer, params: P, call: Call) -> None:
        """Run the command."""

    @abstractmethod
    def done_at(self, params: P, table: TableState) -> datetime | None:
        """Return when the server last did all of what was asked, on somebody's order."""

    def refuse(self, params: P, table: TableState) -> None:
        """Raise ConflictError for a table that this cannot be done to."""
        del params, table

    async def dry_run(self, ctx: StepContext, params: P) -> None:
        """Look at the table and ask for the rights; the server has no rehearsal for this."""
        server = ctx.systems.database(params.target)
        self.refuse(params, await server.table(params.relation))
        await require(server, self.permissions(params))

    async def capture(self, ctx: StepContext, params: P) -> State:
        """Return the table as it is, with the server's clock."""
        table = await ctx.systems.database(params.target).table(params.relation)
        self.refuse(params, table)
        return table.model_dump(mode="json")

    async def execute(self, ctx: StepContext, params: P, state: State) -> UpkeepResult:
        """Run the command and have the server's record of it.

        Raises AmbiguousError when it ended otherwise than by a refusal.
        """
        server, before = ctx.systems.database(params.target), TableState.model_validate(state)
        await self.run(server, params, params.call(ctx))
        for _ in range(round(RECORDED_SECONDS / POLL_SECONDS)):
            table = await self._look(server, params)
            done = self.done_at(params, table)
            if done is not None and done >= before.now:
                return self._report(params, before, done)
            await self._pause(POLL_SECONDS)
        raise AmbiguousError(
            f"postgres target {server.name} took the command for {params.relation} and recorded nothing"
        )

    async def observe(self, ctx: StepContext, params: P, state: State) -> Observed[UpkeepResult]:
        """Look whether the command is still at work, then for the server's record of it."""
        server, before = ctx.systems.database(params.target), TableState.model_validate(state)
        working = await still_at_work(server, session_name(ctx.step_key), self._pause)
        if working is not None:
            return Observed(seen=Seen.UNKNOWN, detail=f"it is still at work ({working})")
        table = await server.table(params.relation)
        if table.oid != before.oid:
            return Observed(seen=Seen.UNKNOWN, detail=f"{params.relation} was dropped and created anew")
        done = self.done_at(params, table)
        if done is not None and done >= before.now:
            result = self._report(params, before, done)
            return Observed(seen=Seen.TOOK_EFFECT, result=result, detail=f"the server recorded it at {done:%H:%M:%S}")
        if table.server_started_at != before.server_started_at:
            return Observed(seen=Seen.UNKNOWN, detail="the server was restarted since and may have lost its records")
        return Observed(seen=Seen.NO_EFFECT, detail="the server recorded no such thing since")

    async def _look(self, server: PostgresServer, params: P) -> TableState:
        try:
            return await server.table(params.relation)
        except Exception as e:
            raise AmbiguousError(f"{e}; the command had ended before") from e

    def _report(self, params: P, before: TableState, done: datetime) -> UpkeepResult:
        seconds = (done - before.now).total_seconds()
        return UpkeepResult(
            table=str(params.relation),
            finished_at=done,
            seconds=seconds,
            summary=f"{params.relation} was {self.verb} within {seconds:.1f} s",
        )


class Analyze(Upkeep[AnalyzeParameters]):
    """Has the planner's statistics of a table gathered (manual C7)."""

    name = "postgres.analyze"
    summary = "Gather the planner's statistics of a table."
    example = """
id: statistics
action: postgres.analyze
with: {target: hdr_empire, table: consciousness_states}
undo: none
"""
    parameters = AnalyzeParameters
    verb = "analyzed"

    async def run(self, server: PostgresServer, params: AnalyzeParameters, call: Call) -> None:
        """Analyze."""
        await server.analyze(params.relation, call)

    def done_at(self, params: AnalyzeParameters, table: TableState) -> datetime | None:
        """Return when it was last analyzed."""
        del params
        return table.last_analyze


class Vacuum(Upkeep[VacuumParameters]):
    """Has the dead rows of a table reclaimed (manual C7, D6)."""

    name = "postgres.vacuum"
    summary = "Reclaim the dead rows of a table without locking anybody out."
    example = """
id: vacuum
action: postgres.vacuum
with: {target: hdr_empire, table: consciousness_states, analyze: true, within: 1h}
timeout: 65m
undo: none
"""
    parameters = VacuumParameters
    verb = "vacuumed"

    async def run(self, server: PostgresServer, params: VacuumParameters, call: Call) -> None:
        """Vacuum."""
        options = {"analyze": params.analyze, "truncate": params.truncate, "gentle": params.gentle}
        await server.vacuum(params.relation, call, **options)

    def done_at(self, params: VacuumParameters, table: TableState) -> datetime | None:
        """Return when it was last vacuumed, and analyzed where that was asked for."""
        if not params.analyze or table.last_vacuum is None or table.last_analyze is None:
            return None if params.analyze else table.last_vacuum
        return min(table.last_vacuum, table.last_analyze)

    def refuse(self, params: VacuumParameters, table: TableState) -> None:
        """Raise ConflictError for a partitioned table, of which the server records no vacuum."""
        if table.partitioned:
            raise ConflictError(f"{params.relation} is partitioned: vacuum its partitions")
