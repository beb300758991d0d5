"""Who blocks whom, and whether those that waited have moved on.

PostgreSQL does not tell since when a lock is held: a transaction that came out of a long queue for it a moment ago
counts as blocking since the next in the queue began to wait.
"""

from __future__ import annotations

import json
from datetime import timedelta

from hdr_responder.actions.contract import Check, Parameters, Permission, Read, Result, StepContext, Verdict
from hdr_responder.actions.postgres.protection import PROTECTED_APPLICATIONS, PROTECTED_ROLES
from hdr_responder.actions.postgres.rights import rights
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.postgres import READ_ROLE, Blocker, Blocking, Need, Safety, WaitingSession
from hdr_responder.errors import TemporaryError


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
        return rights(params.target, Need(READ_ROLE))

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
        return rights(params.target, Need(READ_ROLE))

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


def _summary(found: Blocking) -> str:
    if not found.roots:
        return "nobody blocks others" if not found.waiting else f"{len(found.waiting)} sessions wait, no root was found"
    root = found.roots[0]
    return (
        f"{len(found.roots)} blockers hold up {len(found.waiting)} sessions; the longest for "
        f"{root.blocking_seconds:.0f} s: {root}"
    )
