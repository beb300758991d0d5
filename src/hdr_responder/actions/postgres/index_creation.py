"""Building an index that a slow query lacks, and dropping it again when it is still ours.

The server's own IF NOT EXISTS is satisfied by any index of that name, and leaves an invalid one behind when it is
interrupted: both are looked at here. Ours carries the step's key as its comment.
"""

from __future__ import annotations

import asyncio
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
    Undone,
)
from hdr_responder.actions.postgres.endings import Pause
from hdr_responder.actions.postgres.rights import UPKEEP, require, rights, upkeep_target
from hdr_responder.actions.postgres.running import TableParameters, session_name, still_at_work
from hdr_responder.actions.postgres.statistics import readable
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.postgres import (
    READ_ROLE,
    Identifier,
    IndexColumn,
    IndexState,
    Need,
    PostgresServer,
    Relation,
)
from hdr_responder.domain.ports.postgres.access import CREATE, OWNER, USAGE
from hdr_responder.domain.ports.postgres.maintenance import quoted
from hdr_responder.errors import AmbiguousError, ConflictError, HdrError, NotFoundError, UnavailableError


class CreateIndexParameters(TableParameters):
    """Which index on which table; a B-tree over all rows."""

    index: Identifier = Field(description="The name of the index to be.")
    columns: tuple[IndexColumn, ...] = Field(min_length=1, max_length=8)
    lock_timeout: Annotated[Duration, Field(gt=timedelta(), le=timedelta(minutes=10))] = Field(
        default=timedelta(minutes=1), description="How long it waits for each transaction of others that is in its way."
    )

    @property
    def index_relation(self) -> Relation:
        """The index."""
        return Relation(schema_name=self.schema_name, name=self.index)


class CreateIndexResult(Result):
    """What was built."""

    changed: bool = Field(description="False when there was such an index already.")
    index: str
    bytes: int
    summary: str


class CreateIndex(Mutation[CreateIndexParameters, CreateIndexResult]):
    """Builds an index without locking out writes (manual C7: on ``consciousness_states(timestamp DESC)``)."""

    name = "postgres.create_index"
    summary = "Build an index that queries lack without locking out writes, unless there is one."
    example = """
id: index
action: postgres.create_index
with:
  target: hdr_empire
  table: consciousness_states
  index: consciousness_states_timestamp_idx
  columns: [{column: timestamp, descending: true}]
"""
    parameters = CreateIndexParameters
    result = CreateIndexResult
    undoable: ClassVar[Undo] = Undo.RESTORES
    effect_group = UPKEEP
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = False
    awaits_dependencies: ClassVar[bool] = False
    default_timeout_seconds = 900.0

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause

    def permissions(self, params: CreateIndexParameters) -> tuple[Permission, ...]:
        """Return the rights of who owns the table: nobody else may index it."""
        schema = quoted(params.schema_name)
        needs = (Need(USAGE, schema), Need(CREATE, schema), Need(OWNER, str(params.relation)))
        return rights(params.target, Need(READ_ROLE), *needs)

    def target(self, params: CreateIndexParameters) -> Target:
        """Return the upkeep of the database."""
        return upkeep_target(params.target)

    async def dry_run(self, ctx: StepContext, params: CreateIndexParameters) -> None:
        """Look at the table and for an index of that name, and ask for the rights."""
        await self._look(ctx, params)
        await require(ctx.systems.database(params.target), self.permissions(params))

    async def capture(self, ctx: StepContext, params: CreateIndexParameters) -> State:
        """Return whether there is such an index already, which is then not ours."""
        return {"existed": await self._look(ctx, params) is not None}

    async def execute(self, ctx: StepContext, params: CreateIndexParameters, state: State) -> CreateIndexResult:
        """Build the index, unless there was one or an attempt of this step has built it.

        Raises UnavailableError when it was interrupted and nothing of it is left, AmbiguousError otherwise.
        """
        server = ctx.systems.database(params.target)
        found = await _found(server, params)
        if found is not None and not found.valid and not state["existed"]:
            await self._drop_unfinished(ctx, params)
            found = await _found(server, params)
        if found is not None:
            _refuse_other(params, found)
            return _report(params, found, changed=not state["existed"])
        try:
            await server.create_index(
                params.index_relation, params.relation, params.columns, _comment(ctx), params.call(ctx)
            )
        except AmbiguousError as e:
            await self._settle(ctx, params, e)
        built = await _found(server, params)
        if built is None or not built.valid:
            raise AmbiguousError(f"{params.index_relation} is not there although the server built it")
        return _report(params, built, changed=True)

    async def observe(
        self, ctx: StepContext, params: CreateIndexParameters, state: State
    ) -> Observed[CreateIndexResult]:
        """Look whether the build is still at work, then for an index that carries this step."""
        server = ctx.systems.database(params.target)
        working = await still_at_work(server, session_name(ctx.step_key), self._pause)
        if working is not None:
            return Observed(seen=Seen.UNKNOWN, detail=f"it is still at work ({working})")
        found = await _found(server, params)
        if found is None:
            return Observed(seen=Seen.NO_EFFECT, detail="there is no such index")
        if not found.valid:
            detail = f"it was interrupted and left {params.index_relation}, which is invalid: drop it"
            return Observed(seen=Seen.UNKNOWN, detail=detail)
        if state["existed"] or found.comment == _comment(ctx):
            result = _report(params, found, changed=not state["existed"])
            return Observed(seen=Seen.TOOK_EFFECT, result=result, detail="the index is there")
        return Observed(seen=Seen.UNKNOWN, detail=f"{params.index_relation} is there and does not carry this step")

    async def undo(self, ctx: StepContext, params: CreateIndexParameters, state: State) -> Undone:
        """Drop the index where it carries this step, or is what this step left unfinished."""
        server = ctx.systems.database(params.target)
        found = None if state["existed"] else await _found(server, params)
        if found is None:
            return Undone.NOTHING_TO_UNDO
        if not found.valid and not found.comment:
            return Undone.UNDONE if await self._drop_unfinished(ctx, params) else Undone.DRIFTED
        if found.comment != _comment(ctx):
            return Undone.DRIFTED
        await server.drop_index(found.oid, params.call(ctx))
        return Undone.UNDONE

    async def _look(self, ctx: StepContext, params: CreateIndexParameters) -> IndexState | None:
        """Return the index when there is one; raises ConflictError when it is another than the one asked for."""
        server = ctx.systems.database(params.target)
        if (await server.table(params.relation)).partitioned:
            raise ConflictError(f"{params.relation} is partitioned: no index can be built on it without locking")
        found = await _found(server, params)
        if found is not None:
            _refuse_other(params, found)
        return found

    async def _settle(self, ctx: StepContext, params: CreateIndexParameters, error: AmbiguousError) -> None:
        """Return when the index was built although that did not end well; raise otherwise."""
        server = ctx.systems.database(params.target)
        try:
            if await still_at_work(server, session_name(ctx.step_key), self._pause) is not None:
                raise error
            found = await _found(server, params)
            if found is not None and found.valid:
                if found.comment == _comment(ctx):
                    return
                raise error
            gone = found is None or await self._drop_unfinished(ctx, params)
        except HdrError:
            raise error from None
        if not gone:
            raise error
        raise UnavailableError(f"{error}; nothing of it is left") from error

    async def _drop_unfinished(self, ctx: StepContext, params: CreateIndexParameters) -> bool:
        """Drop the invalid index that this step left, when nobody builds on the table; whether it is gone."""
        server = ctx.systems.database(params.target)
        table = await server.table(params.relation)
        for left in await server.leftovers(table.oid):
            if (left.schema_name, left.name) == (params.schema_name, params.index):
                await server.drop_index(left.oid, params.call(ctx))
                return True
        return False


async def _found(server: PostgresServer, params: CreateIndexParameters) -> IndexState | None:
    try:
        return await server.index(params.index_relation)
    except NotFoundError:
        return None


def _refuse_other(params: CreateIndexParameters, found: IndexState) -> None:
    """Raise ConflictError unless ``found`` is a valid index as it is asked for."""
    where = f"{params.index_relation} exists"
    if found.table != params.table:
        raise ConflictError(f"{where} and is an index of {found.table}, not of {params.relation}")
    if not found.valid:
        raise ConflictError(f"{where} and is invalid: drop it first")
    if not found.plain or found.columns != params.columns:
        raise ConflictError(f"{where} and is another one than asked for")


def _comment(ctx: StepContext) -> str:
    return f"hdr-responder {ctx.step_key}"


def _report(params: CreateIndexParameters, found: IndexState, *, changed: bool) -> CreateIndexResult:
    done = "was built" if changed else "was there already"
    return CreateIndexResult(
        changed=changed,
        index=str(params.index_relation),
        bytes=found.bytes,
        summary=f"{params.index_relation} {done}, {readable(found.bytes)}",
    )
