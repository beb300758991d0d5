"""Ending the sessions that hold others up.

Ending a session cannot be undone and a session carries no fence, so what is ended is narrow: roots of a chain that
were found and captured, and that are, in the very statement that signals, still the same session in the same
transaction and safe to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
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
from hdr_responder.actions.postgres.blocking import BlockingChainParameters
from hdr_responder.actions.postgres.endings import Ending, EndingKind, Pause, SessionEnder
from hdr_responder.actions.postgres.rights import SESSIONS, rights, sessions_target
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.postgres import READ_ROLE, SIGNAL_ROLE, Blocker, Need, PostgresServer, SessionId
from hdr_responder.errors import ConflictError

MAX_GRACE = timedelta(seconds=60)


class TerminateBlockerParameters(BlockingChainParameters):
    """``blockers`` are the roots that `postgres.blocking_chain` found.

    With ``cancel_first`` a running query is cancelled, and its session ended only when it still blocks after ``grace``.
    More than ``max_sessions`` that would be ended are refused as a whole, never trimmed.
    """

    blockers: tuple[Blocker, ...]
    cancel_first: bool = True
    grace: Annotated[Duration, Field(ge=timedelta(), le=MAX_GRACE)] = timedelta(seconds=5)
    max_sessions: Annotated[int, Field(ge=1, le=100)] = 5


class SessionOutcome(Result):
    """What became of one session; ``reason`` says why it was refused.

    ``unresponsive``: it was signalled and has not let go in time.
    """

    pid: int
    backend_start: datetime | None
    usename: str
    application_name: str
    outcome: EndingKind
    reason: str = ""


class TerminateBlockerResult(Result):
    """What was done, session by session; ``ended`` counts the cancelled and terminated."""

    sessions: tuple[SessionOutcome, ...]
    ended: int
    refused: int
    summary: str


class TerminateBlocker(Mutation[TerminateBlockerParameters, TerminateBlockerResult]):
    """Cancel, then terminate the sessions at the root of a chain of waiting ones."""

    name = "postgres.terminate_blocker"
    summary = "End the sessions that block others for too long, by cancelling first."
    example = """
id: unblock
action: postgres.terminate_blocker
with:
  target: hdr_empire
  blockers: "${steps.blockers.roots}"
  blocking_for: 30s
undo: none
"""
    parameters = TerminateBlockerParameters
    result = TerminateBlockerResult
    undoable: ClassVar[Undo] = Undo.NONE
    effect_group = SESSIONS
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = True
    awaits_dependencies: ClassVar[bool] = False
    default_timeout_seconds = 180.0

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause

    def permissions(self, params: TerminateBlockerParameters) -> tuple[Permission, ...]:
        """Return the rights to see and to signal the sessions of other roles."""
        return rights(params.target, Need(READ_ROLE), Need(SIGNAL_ROLE))

    def target(self, params: TerminateBlockerParameters) -> Target:
        """Return the database: two runs never end sessions of it at once."""
        return sessions_target(params.target)

    async def dry_run(self, ctx: StepContext, params: TerminateBlockerParameters) -> None:
        """Run the statement that signals, without signalling.

        Raises ForbiddenError when a role is missing, ConflictError when the server is a standby, when no blocker is
        safe to end, or when more are than ``max_sessions``.
        """
        await self._safe(ctx.systems.database(params.target), params)

    async def capture(self, ctx: StepContext, params: TerminateBlockerParameters) -> State:
        """Return the identities that may be ended; no other session will be touched."""
        server = ctx.systems.database(params.target)
        info = await server.ping()
        safe = await self._safe(server, params)
        return {
            "server_started_at": info.started_at.isoformat(),
            "sessions": [session.model_dump(mode="json") for session in safe],
        }

    async def execute(
        self, ctx: StepContext, params: TerminateBlockerParameters, state: State
    ) -> TerminateBlockerResult:
        """Signal what was captured, wait for it to let go, and terminate what did not.

        Raises UnavailableError only when nothing was signalled, AmbiguousError when that is not known.
        """
        ender = SessionEnder(
            server=ctx.systems.database(params.target), safety=params.safety, grace=params.grace, pause=self._pause
        )
        return _report(params.blockers, await ender.end(_captured(state), cancel_first=params.cancel_first))

    async def observe(
        self, ctx: StepContext, params: TerminateBlockerParameters, state: State
    ) -> Observed[TerminateBlockerResult]:
        """Look whether the captured sessions are still in their transactions.

        A server that started since the capture proves nothing: its sessions ended with it, or it is another server.
        """
        server = ctx.systems.database(params.target)
        sessions = _captured(state)
        if not sessions:
            return Observed(seen=Seen.NO_EFFECT, detail="no session was to be ended")
        info = await server.ping()
        if info.started_at.isoformat() != state["server_started_at"]:
            return Observed(seen=Seen.UNKNOWN, detail="the server was restarted or replaced since")
        standing = await server.standing(sessions)
        if not any(session.in_transaction for session in standing):
            endings = {session: Ending(kind="gone") for session in sessions}
            return Observed(
                seen=Seen.TOOK_EFFECT,
                result=_report(params.blockers, endings),
                detail=f"all {len(sessions)} sessions have ended or left their transactions",
            )
        if all(session.in_transaction and session.blocking for session in standing):
            return Observed(seen=Seen.NO_EFFECT, detail=f"all {len(sessions)} sessions still block others")
        return Observed(seen=Seen.UNKNOWN, detail="some sessions are gone and some are not")

    async def _safe(self, server: PostgresServer, params: TerminateBlockerParameters) -> tuple[SessionId, ...]:
        judged = await server.judge([blocker.identity for blocker in params.blockers], params.safety)
        safe = tuple(verdict.session for verdict in judged if not verdict.gone and not verdict.refusal)
        if not safe:
            why = "; ".join(f"pid {v.session.pid}: {v.refusal or 'gone'}" for v in judged) or "no blockers were given"
            raise ConflictError(f"no session of {server.name} is safe to end ({why})")
        if len(safe) > params.max_sessions:
            raise ConflictError(
                f"{len(safe)} sessions of {server.name} would be ended, more than max_sessions {params.max_sessions}"
            )
        return safe


def _captured(state: State) -> tuple[SessionId, ...]:
    sessions = state["sessions"]
    if not isinstance(sessions, list):
        raise TypeError("the captured sessions are no list")
    return tuple(SessionId.model_validate(session) for session in sessions)


def _report(blockers: Sequence[Blocker], endings: Mapping[SessionId, Ending]) -> TerminateBlockerResult:
    known = {blocker.identity: blocker for blocker in blockers}
    sessions = tuple(
        SessionOutcome(
            pid=session.pid,
            backend_start=session.backend_start,
            usename=known[session].usename,
            application_name=known[session].application_name,
            outcome=ending.kind,
            reason=ending.reason,
        )
        for session, ending in endings.items()
    )
    ended = sum(session.outcome in {"cancelled", "terminated"} for session in sessions)
    told = ", ".join(f"pid {s.pid} {s.outcome}" + (f" ({s.reason})" if s.reason else "") for s in sessions)
    return TerminateBlockerResult(
        sessions=sessions,
        ended=ended,
        refused=sum(session.outcome == "refused" for session in sessions),
        summary=f"{ended} of {len(sessions)} sessions ended: {told}" if sessions else "no session was to be ended",
    )
