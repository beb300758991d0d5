"""Queries that run for long, and cancelling one of them.

Cancelling cannot be undone and a session carries no fence, so the query is known by its process, the start of its
session and its own start, and all three are checked again in the very statement that signals.
"""

from __future__ import annotations

import asyncio
import json
import math
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Parameters,
    Permission,
    Read,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
)
from hdr_responder.actions.postgres.endings import POLL_SECONDS, Pause
from hdr_responder.actions.postgres.protection import PROTECTED_APPLICATIONS, PROTECTED_ROLES
from hdr_responder.actions.postgres.rights import SESSIONS, rights, sessions_target
from hdr_responder.actions.postgres.termination import MAX_GRACE
from hdr_responder.domain.durations import Duration, format_duration
from hdr_responder.domain.ports.postgres import (
    READ_ROLE,
    SIGNAL_ROLE,
    Need,
    PostgresServer,
    QueryId,
    QueryRules,
    QueryVerdict,
    RunningQuery,
)
from hdr_responder.errors import ConflictError, TemporaryError

LONG = timedelta(minutes=5)
"""From when on a query counts as long (manual C7, D2)."""

QueryEnding = Literal["cancelled", "gone", "unresponsive"]


class LongQueriesParameters(Parameters):
    """Where to look, and from when on a query is long."""

    target: str = Field(description="A name under targets.postgres.")
    longer_than: Annotated[Duration, Field(ge=timedelta())] = LONG
    limit: int = Field(default=20, ge=1, le=100, description="Most queries that are told; all are counted.")


class LongQueriesResult(Result):
    """What runs for long, the longest first; query texts without literals and cut at 1000 characters."""

    queries: tuple[RunningQuery, ...]
    total: int = Field(description="How many run for longer, told or not.")
    longest_seconds: float = Field(description="0 when none does.")
    artifact: str = Field(description="The listing, kept as evidence: it dies with the queries.")
    summary: str


class LongQueries(Read[LongQueriesParameters, LongQueriesResult]):
    """Lists what clients of one database have been running for long."""

    name = "postgres.long_queries"
    summary = "Find the queries that have been running for longer than a limit."
    example = """
id: long
action: postgres.long_queries
with: {target: hdr_empire, longer_than: 5m}
"""
    parameters = LongQueriesParameters
    result = LongQueriesResult
    default_timeout_seconds = 30.0

    def permissions(self, params: LongQueriesParameters) -> tuple[Permission, ...]:
        """Return the right to see the sessions of other roles."""
        return rights(params.target, Need(READ_ROLE))

    async def execute(self, ctx: StepContext, params: LongQueriesParameters) -> LongQueriesResult:
        """Raise ForbiddenError without pg_read_all_stats."""
        found = await ctx.systems.database(params.target).long_queries(params.longer_than, params.limit)
        listing = json.dumps({"target": params.target, **found.model_dump(mode="json")}, indent=2)
        longest = found.queries[0] if found.queries else None
        limit = format_duration(params.longer_than)
        told = f"{found.total} queries run for longer than {limit}; the longest for" if longest else ""
        return LongQueriesResult(
            queries=found.queries,
            total=found.total,
            longest_seconds=longest.seconds if longest else 0.0,
            artifact=await ctx.evidence.keep("long-queries.json", "application/json", listing.encode()),
            summary=f"{told} {longest.seconds:.0f} s: {longest}"
            if longest
            else f"no query runs for longer than {limit}",
        )


class CancelQueryParameters(Parameters):
    """``query`` is one that `postgres.long_queries` found; it is left alone unless it has run for ``running_for``."""

    target: str = Field(description="A name under targets.postgres.")
    query: RunningQuery
    running_for: Annotated[Duration, Field(ge=timedelta())] = LONG
    protected_applications: tuple[str, ...] = PROTECTED_APPLICATIONS
    protected_roles: tuple[str, ...] = PROTECTED_ROLES
    grace: Annotated[Duration, Field(ge=timedelta(), le=MAX_GRACE)] = timedelta(seconds=5)

    @property
    def rules(self) -> QueryRules:
        """The rules as the target takes them."""
        return QueryRules(
            running_for=self.running_for,
            protected_applications=self.protected_applications,
            protected_roles=self.protected_roles,
        )


class CancelQueryResult(Result):
    """What became of the query.

    ``gone``: it had ended by itself. ``unresponsive``: it was signalled and has not ended within ``grace``.
    """

    pid: int
    backend_start: datetime
    usename: str
    application_name: str
    outcome: QueryEnding
    summary: str


class CancelQuery(Mutation[CancelQueryParameters, CancelQueryResult]):
    """Cancels one query; its session and its connection stay."""

    name = "postgres.cancel_query"
    summary = "Cancel one query that has been running for too long; its session stays."
    example = """
id: cancel
action: postgres.cancel_query
with:
  target: hdr_empire
  query: "${steps.long.queries[0]}"
  running_for: 5m
undo: none
"""
    parameters = CancelQueryParameters
    result = CancelQueryResult
    undoable: ClassVar[Undo] = Undo.NONE
    effect_group = SESSIONS
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = True
    awaits_dependencies: ClassVar[bool] = False
    default_timeout_seconds = 90.0

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause

    def permissions(self, params: CancelQueryParameters) -> tuple[Permission, ...]:
        """Return the rights to see and to signal the sessions of other roles."""
        return rights(params.target, Need(READ_ROLE), Need(SIGNAL_ROLE))

    def target(self, params: CancelQueryParameters) -> Target:
        """Return the database: two runs never end something of it at once."""
        return sessions_target(params.target)

    async def dry_run(self, ctx: StepContext, params: CancelQueryParameters) -> None:
        """Run the statement that signals, without signalling.

        Raises ForbiddenError when a role is missing, ConflictError when the server is a standby, or when the query has
        ended or must not be cancelled.
        """
        server = ctx.systems.database(params.target)
        verdict = await server.cancel_query(params.query.identity, params.rules, rehearse=True)
        if verdict.gone:
            raise ConflictError(f"the query of {params.query} at {server.name} has ended")
        _refuse(server, params.query, verdict)

    async def capture(self, ctx: StepContext, params: CancelQueryParameters) -> State:
        """Return which server it was."""
        info = await ctx.systems.database(params.target).ping()
        return {"server_started_at": info.started_at.isoformat()}

    async def execute(self, ctx: StepContext, params: CancelQueryParameters, state: State) -> CancelQueryResult:
        """Signal the query and wait for its end.

        Raises UnavailableError only when nothing was signalled, AmbiguousError when that is not known, ConflictError
        when it must not be cancelled.
        """
        del state
        server = ctx.systems.database(params.target)
        verdict = await server.cancel_query(params.query.identity, params.rules, rehearse=False)
        _refuse(server, params.query, verdict)
        if verdict.gone:
            return _report(params.query, "gone")
        ended = await self._ended(server, params.query.identity, params.grace)
        return _report(params.query, "cancelled" if ended else "unresponsive")

    async def observe(
        self, ctx: StepContext, params: CancelQueryParameters, state: State
    ) -> Observed[CancelQueryResult]:
        """Look whether the query still runs; a server that started since proves nothing."""
        server = ctx.systems.database(params.target)
        info = await server.ping()
        if info.started_at.isoformat() != state["server_started_at"]:
            return Observed(seen=Seen.UNKNOWN, detail="the server was restarted or replaced since")
        if await self._ended(server, params.query.identity, params.grace):
            return Observed(seen=Seen.TOOK_EFFECT, result=_report(params.query, "gone"), detail="the query has ended")
        return Observed(seen=Seen.NO_EFFECT, detail="the query still runs")

    async def _ended(self, server: PostgresServer, query: QueryId, grace: timedelta) -> bool:
        """Look until the query has ended or ``grace`` is over."""
        for look in range(max(1, math.ceil(grace.total_seconds() / POLL_SECONDS))):
            if look:
                await self._pause(POLL_SECONDS)
            try:
                if not await server.still_running(query):
                    return True
            except TemporaryError:
                continue
        return False


def _refuse(server: PostgresServer, query: RunningQuery, verdict: QueryVerdict) -> None:
    if verdict.refusal:
        raise ConflictError(f"the query of {query} at {server.name} is not cancelled: {verdict.refusal}")


def _report(query: RunningQuery, outcome: QueryEnding) -> CancelQueryResult:
    told = {
        "cancelled": "was cancelled",
        "gone": "has ended",
        "unresponsive": "was told to end and has not ended yet",
    }
    return CancelQueryResult(
        pid=query.pid,
        backend_start=query.backend_start,
        usename=query.usename,
        application_name=query.application_name,
        outcome=outcome,
        summary=f"the query of {query} {told[outcome]}",
    )
