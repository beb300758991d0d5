"""Looking at a target database and ending the sessions that hold others up.

Ending a session cannot be undone and a session carries no fence, so what is ended is narrow: roots of a chain that
were found and captured, and that are, in the very statement that signals, still the same session in the same
transaction and safe to end. PostgreSQL does not tell since when a lock is held: a transaction that came out of a long
queue for it a moment ago counts as blocking since the next in the queue began to wait.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from hdr_responder.actions.contract import (
    AnyAction,
    AnyCheck,
    Check,
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
    Verdict,
)
from hdr_responder.actions.postgres_health import Reachable
from hdr_responder.actions.session_endings import Ending, EndingKind, Pause, SessionEnder
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.postgres import (
    READ_ROLE,
    SIGNAL_ROLE,
    Blocker,
    Blocking,
    PostgresServer,
    Safety,
    SessionId,
    WaitingSession,
)
from hdr_responder.errors import ConflictError, TemporaryError

PROTECTED_APPLICATIONS = (
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "pg_receivewal",
    "pg_rewind",
    "pgbackrest*",
    "barman*",
    "wal-g*",
    "patroni*",
    "repmgr*",
    "stolon*",
)
"""Backup and high availability tools, which a superuser need not run."""

PROTECTED_ROLES = ("postgres", "replicator", "patroni", "repmgr", "barman", "rdsadmin", "cloudsqladmin", "azuresu")

MAX_GRACE = timedelta(seconds=60)


class PingParameters(Parameters):
    """``target``: a name under ``targets.postgres``."""

    target: str


class PingResult(Result):
    """What the server says of itself; ``latency_seconds`` includes connecting."""

    version: str
    primary: bool
    started_at: datetime
    latency_seconds: float


class Ping(Read[PingParameters, PingResult]):
    """Whether the database answers; fails when it does not."""

    name = "postgres.ping"
    summary = "Connect to a database and ask whether it is the primary."
    example = """
id: database
action: postgres.ping
with: {target: hdr_empire}
"""
    parameters = PingParameters
    result = PingResult
    default_timeout_seconds = 15.0

    def permissions(self, params: PingParameters) -> tuple[Permission, ...]:
        """Return none: logging in is enough."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: PingParameters) -> PingResult:
        """Raise UnavailableError when the server does not answer in time."""
        server = await ctx.systems.database(params.target).ping()
        return PingResult.model_validate(server.model_dump())


class BlockingChainParameters(Parameters):
    """Where to look, and which blockers would be safe to end."""

    target: str
    blocking_for: Duration = timedelta(seconds=30)
    protected_applications: tuple[str, ...] = PROTECTED_APPLICATIONS
    protected_roles: tuple[str, ...] = PROTECTED_ROLES

    @property
    def safety(self) -> Safety:
        """The rules as the target takes them."""
        return Safety(
            blocking_for=self.blocking_for,
            protected_applications=self.protected_applications,
            protected_roles=self.protected_roles,
        )


class BlockingChainResult(Result):
    """``roots`` are all blockers, longest first; of these ``safe`` may be ended and ``refused`` say why not."""

    roots: tuple[Blocker, ...]
    safe: tuple[Blocker, ...]
    refused: tuple[Blocker, ...]
    waiting: tuple[WaitingSession, ...]
    artifact: str
    summary: str


class BlockingChain(Read[BlockingChainParameters, BlockingChainResult]):
    """Who blocks whom, followed to the root of each chain; the evidence is kept, because it dies with the session."""

    name = "postgres.blocking_chain"
    summary = "Find the sessions that others wait for, and say which are safe to end."
    example = """
id: blockers
action: postgres.blocking_chain
with: {target: hdr_empire, blocking_for: 30s}
"""
    parameters = BlockingChainParameters
    result = BlockingChainResult
    default_timeout_seconds = 30.0

    def permissions(self, params: BlockingChainParameters) -> tuple[Permission, ...]:
        """Return the right to see the sessions of other roles."""
        return (_role(params.target, READ_ROLE),)

    async def execute(self, ctx: StepContext, params: BlockingChainParameters) -> BlockingChainResult:
        """Raise ForbiddenError without pg_read_all_stats."""
        found = await ctx.systems.database(params.target).blocking(params.safety)
        listing = json.dumps({"target": params.target, **found.model_dump(mode="json")}, indent=2)
        return BlockingChainResult(
            roots=found.roots,
            safe=tuple(root for root in found.roots if not root.refusal),
            refused=tuple(root for root in found.roots if root.refusal),
            waiting=found.waiting,
            artifact=await ctx.evidence.keep("blockers.json", "application/json", listing.encode()),
            summary=_summary(found),
        )


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
    effect_group = "sessions"
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = True
    awaits_dependencies: ClassVar[bool] = False
    default_timeout_seconds = 180.0

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause

    def permissions(self, params: TerminateBlockerParameters) -> tuple[Permission, ...]:
        """Return the rights to see and to signal the sessions of other roles."""
        return (_role(params.target, READ_ROLE), _role(params.target, SIGNAL_ROLE))

    def target(self, params: TerminateBlockerParameters) -> Target:
        """Return the database: two runs never end sessions of it at once."""
        return Target(
            key=f"postgres:{params.target}",
            effect_group=self.effect_group,
            title=f"sessions of database {params.target}",
        )

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


class UnblockedParameters(Parameters):
    """``sessions`` are those that waited when the blockers were found."""

    target: str
    sessions: tuple[WaitingSession, ...]


class Unblocked(Check[UnblockedParameters]):
    """Whether those that waited have moved on: what ending a blocker is for."""

    name = "postgres.unblocked"
    summary = "Every session that had waited for a lock has finished or no longer waits."
    example = """
postgres.unblocked:
  target: hdr_empire
  sessions: "${steps.blockers.waiting}"
"""
    parameters = UnblockedParameters
    is_health_probe = False

    def permissions(self, params: UnblockedParameters) -> tuple[Permission, ...]:
        """Return the right to see the sessions of other roles."""
        return (_role(params.target, READ_ROLE),)

    async def evaluate(self, ctx: StepContext, params: UnblockedParameters) -> Verdict:
        """Without sessions, without an answer, and after a restart of the server there is no evidence."""
        if not params.sessions:
            return Verdict(holds=None, detail="no session had waited")
        server = ctx.systems.database(params.target)
        try:
            info = await server.ping()
            still = await server.still_waiting(params.sessions)
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))
        if info.started_at > max(session.backend_start for session in params.sessions):
            return Verdict(holds=None, detail="the server was restarted or replaced since: the sessions ended with it")
        if still:
            pids = ", ".join(str(session.pid) for session in still[:10])
            return Verdict(holds=False, detail=f"{len(still)} of {len(params.sessions)} still wait (pid {pids})")
        return Verdict(holds=True, detail=f"all {len(params.sessions)} sessions that waited have moved on")


def _role(target: str, role: str) -> Permission:
    return Permission(system="postgres", scope=target, verb=role)


def _summary(found: Blocking) -> str:
    if not found.roots:
        return "nobody blocks others" if not found.waiting else f"{len(found.waiting)} sessions wait, no root was found"
    root = found.roots[0]
    return (
        f"{len(found.roots)} blockers hold up {len(found.waiting)} sessions; the longest for "
        f"{root.blocking_seconds:.0f} s: {root}"
    )


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


POSTGRES_ACTIONS: tuple[AnyAction, ...] = (Ping(), BlockingChain(), TerminateBlocker())
POSTGRES_CHECKS: tuple[AnyCheck, ...] = (Unblocked(), Reachable())
