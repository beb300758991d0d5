"""Building an index anew beside the old one, and clearing away what an interrupted build leaves.

REINDEX CONCURRENTLY makes a second index and swaps the two at the end (PostgreSQL contract): the name then leads to
another oid, which is how the effect is seen. Interrupted, it leaves an invalid index, ``<name>_ccnew`` before the swap
and ``<name>_ccold`` after it, which costs every write until somebody drops it.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Annotated, ClassVar

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
from hdr_responder.actions.postgres.running import TableParameters, session_name, still_at_work
from hdr_responder.actions.postgres.statistics import readable
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.postgres import (
    READ_ROLE,
    Identifier,
    IndexState,
    Leftover,
    Need,
    PostgresServer,
    Relation,
)
from hdr_responder.domain.ports.postgres.access import MAINTAIN, USAGE
from hdr_responder.domain.ports.postgres.maintenance import quoted
from hdr_responder.errors import AmbiguousError, ConflictError, HdrError, UnavailableError

_LEFT_BY_REBUILDING = re.compile(r"_cc(new|old)\d*\Z")


class ReindexParameters(TableParameters):
    """Which index of which table."""

    index: Identifier
    lock_timeout: Annotated[Duration, Field(gt=timedelta(), le=timedelta(minutes=10))] = Field(
        default=timedelta(minutes=1), description="How long it waits for each transaction of others that is in its way."
    )

    @property
    def index_relation(self) -> Relation:
        """The index."""
        return Relation(schema_name=self.schema_name, name=self.index)


class ReindexResult(Result):
    """The index before and after; ``leftovers`` are invalid indexes of the table that somebody should drop."""

    index: str
    bytes_before: int
    bytes_after: int
    leftovers: tuple[str, ...]
    summary: str


class Reindex(Mutation[ReindexParameters, ReindexResult]):
    """Builds an index anew (manual D6)."""

    name = "postgres.reindex"
    summary = "Build an index anew beside the old one and swap them, without locking out writes."
    example = """
id: reindex
action: postgres.reindex
with: {target: hdr_empire, table: consciousness_states, index: consciousness_states_pkey}
undo: none
"""
    parameters = ReindexParameters
    result = ReindexResult
    undoable: ClassVar[Undo] = Undo.NONE
    effect_group = UPKEEP
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = False
    awaits_dependencies: ClassVar[bool] = False
    default_timeout_seconds = 900.0

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause

    def permissions(self, params: ReindexParameters) -> tuple[Permission, ...]:
        """Return the rights to maintain the table, and to see who builds on it."""
        schema = Need(USAGE, quoted(params.schema_name))
        return rights(params.target, Need(READ_ROLE), schema, Need(MAINTAIN, str(params.relation)))

    def target(self, params: ReindexParameters) -> Target:
        """Return the upkeep of the database."""
        return upkeep_target(params.target)

    async def dry_run(self, ctx: StepContext, params: ReindexParameters) -> None:
        """Look at the index and ask for the rights; the server has no rehearsal for this."""
        server = ctx.systems.database(params.target)
        await _index(server, params)
        await require(server, self.permissions(params))

    async def capture(self, ctx: StepContext, params: ReindexParameters) -> State:
        """Return the index as it is and the invalid ones beside it, which are not ours."""
        server = ctx.systems.database(params.target)
        index = await _index(server, params)
        invalid = await server.leftovers(index.table_oid)
        return {"index": index.model_dump(mode="json"), "invalid": [left.oid for left in invalid]}

    async def execute(self, ctx: StepContext, params: ReindexParameters, state: State) -> ReindexResult:
        """Rebuild, unless an attempt of this step has done so.

        Raises UnavailableError when it was interrupted and nothing of it is left, AmbiguousError otherwise.
        """
        server, before = ctx.systems.database(params.target), IndexState.model_validate(state["index"])
        if (await _index(server, params)).oid == before.oid:
            await self._clear(ctx, params, state)
            try:
                await server.reindex(params.index_relation, params.call(ctx))
            except AmbiguousError as e:
                await self._settle(ctx, params, state, e)
        await self._clear(ctx, params, state)
        return await _report(server, params, before)

    async def observe(self, ctx: StepContext, params: ReindexParameters, state: State) -> Observed[ReindexResult]:
        """Look whether the build is still at work, then whether the name leads to another index."""
        server, before = ctx.systems.database(params.target), IndexState.model_validate(state["index"])
        working = await still_at_work(server, session_name(ctx.step_key), self._pause)
        if working is not None:
            return Observed(seen=Seen.UNKNOWN, detail=f"it is still at work ({working})")
        index = await _index(server, params)
        left = ", ".join(_named(found) for found in await _ours(server, before, state))
        if index.oid != before.oid:
            detail = f"the index was built anew{f'; {left} is invalid: drop it' if left else ''}"
            return Observed(seen=Seen.TOOK_EFFECT, result=await _report(server, params, before), detail=detail)
        if left:
            return Observed(seen=Seen.UNKNOWN, detail=f"it was interrupted and left {left}, which is invalid: drop it")
        return Observed(seen=Seen.NO_EFFECT, detail="the index is the one from before")

    async def _settle(self, ctx: StepContext, params: ReindexParameters, state: State, error: AmbiguousError) -> None:
        """Return when the rebuild took effect although it did not end well; raise otherwise."""
        server, before = ctx.systems.database(params.target), IndexState.model_validate(state["index"])
        try:
            if await still_at_work(server, session_name(ctx.step_key), self._pause) is not None:
                raise error
            if (await _index(server, params)).oid != before.oid:
                return
            remaining = await self._clear(ctx, params, state)
        except HdrError:
            raise error from None
        if remaining:
            raise AmbiguousError(f"{error}; it left {', '.join(remaining)}, which is invalid: drop it") from error
        raise UnavailableError(f"{error}; nothing of it is left") from error

    async def _clear(self, ctx: StepContext, params: ReindexParameters, state: State) -> tuple[str, ...]:
        """Drop what attempts of this step left; return what could not be dropped."""
        server, before = ctx.systems.database(params.target), IndexState.model_validate(state["index"])
        remaining = []
        for left in await _ours(server, before, state):
            try:
                await server.drop_index(left.oid, params.call(ctx))
            except HdrError:
                remaining.append(_named(left))
        return tuple(remaining)


async def _index(server: PostgresServer, params: ReindexParameters) -> IndexState:
    index = await server.index(params.index_relation)
    if index.table != params.table:
        raise ConflictError(f"{params.index_relation} is an index of {index.table}, not of {params.relation}")
    if index.partitioned:
        raise ConflictError(f"{params.index_relation} is partitioned: rebuild those of the partitions")
    return index


async def _ours(server: PostgresServer, before: IndexState, state: State) -> list[Leftover]:
    """Return what rebuilds left on the table since the capture: only this step rebuilds there in the meantime."""
    known = state["invalid"]
    assert isinstance(known, list)
    found = await server.leftovers(before.table_oid)
    return [left for left in found if left.oid not in known and _LEFT_BY_REBUILDING.search(left.name)]


async def _report(server: PostgresServer, params: ReindexParameters, before: IndexState) -> ReindexResult:
    index = await server.index(params.index_relation)
    left = tuple(_named(found) for found in await server.leftovers(index.table_oid))
    told = f"; invalid indexes are left on the table: {', '.join(left)}" if left else ""
    return ReindexResult(
        index=str(params.index_relation),
        bytes_before=before.bytes,
        bytes_after=index.bytes,
        leftovers=left,
        summary=f"{params.index_relation} was built anew, {readable(before.bytes)} -> {readable(index.bytes)}{told}",
    )


def _named(left: Leftover) -> str:
    return str(Relation(schema_name=left.schema_name, name=left.name))
