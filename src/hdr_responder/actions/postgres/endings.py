"""How sessions are ended: cancel, watch, terminate what did not let go, and say of each what became of it.

Apart from the actions that use it, because the order of signals and the honest naming of outcomes change for their own
reasons.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from hdr_responder.domain.ports.postgres import Judged, PostgresServer, Safety, SessionId, Standing
from hdr_responder.errors import AmbiguousError, ConflictError, TemporaryError

POLL_SECONDS = 0.25

Pause = Callable[[float], Awaitable[None]]
"""Waits that many seconds."""

EndingKind = Literal["cancelled", "terminated", "unresponsive", "gone", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of a session, and why when it was not ended; ``unresponsive`` was signalled and has not let go."""

    kind: EndingKind
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnder:
    """Ends sessions of one server under one set of rules, waiting up to ``grace`` after each kind of signal."""

    server: PostgresServer
    safety: Safety
    grace: timedelta
    pause: Pause

    async def end(self, sessions: Sequence[SessionId], *, cancel_first: bool) -> dict[SessionId, Ending]:
        """Signal ``sessions`` and tell what became of each.

        Raises UnavailableError only when nothing was signalled, AmbiguousError when that is not known, ConflictError
        when every session that is still there was refused.
        """
        first = await self.server.signal(sessions, self.safety, cancel=cancel_first)
        _refuse_if_nothing_done(self.server.name, first)
        standing = await self._watch(first)
        endings = {verdict.session: _first_ending(verdict, standing) for verdict in first}
        stubborn = [v.session for v in first if v.signal == "cancel" and endings[v.session].kind == "unresponsive"]
        if not stubborn:
            return endings
        second = await self._terminate(stubborn)
        standing = await self._watch(second)
        return endings | {verdict.session: _second_ending(verdict, standing) for verdict in second}

    async def _terminate(self, sessions: Sequence[SessionId]) -> tuple[Judged, ...]:
        try:
            return await self.server.signal(sessions, self.safety, cancel=False)
        except TemporaryError as e:
            raise AmbiguousError(f"{e}; queries were cancelled before, nothing was terminated after") from e

    async def _watch(self, judged: Iterable[Judged]) -> Mapping[SessionId, Standing]:
        """Poll until every signalled session has let go or ``grace`` is over; the last that was seen of each."""
        watched = {verdict.session: verdict for verdict in judged if verdict.signal}
        seen: dict[SessionId, Standing] = {}
        for _ in range(max(1, math.ceil(self.grace.total_seconds() / POLL_SECONDS))):
            holding = [s for s, verdict in watched.items() if s not in seen or not _let_go(verdict, seen[s])]
            if not holding:
                break
            await self.pause(POLL_SECONDS)
            try:
                seen |= {state.session: state for state in await self.server.standing(holding)}
            except TemporaryError:
                continue
        return seen


def _let_go(verdict: Judged, state: Standing) -> bool:
    return not state.connected if verdict.signal == "terminate" else not state.blocking


def _refuse_if_nothing_done(server: str, judged: Sequence[Judged]) -> None:
    refused = [verdict for verdict in judged if verdict.refusal]
    if refused and not any(verdict.signal for verdict in judged):
        why = "; ".join(f"pid {verdict.session.pid}: {verdict.refusal}" for verdict in refused)
        raise ConflictError(f"no session of {server} was ended ({why})")


def _first_ending(verdict: Judged, standing: Mapping[SessionId, Standing]) -> Ending:
    if verdict.refusal:
        return Ending(kind="refused", reason=verdict.refusal)
    if not verdict.signal:
        return Ending(kind="gone")
    state = standing.get(verdict.session)
    if state is None:
        return Ending(kind="unresponsive", reason="signalled, but the server did not answer afterwards")
    if not _let_go(verdict, state):
        return Ending(kind="unresponsive", reason="still there after the signal")
    if verdict.signal == "terminate":
        return Ending(kind="terminated")
    return Ending(kind="cancelled", reason="still in its transaction, blocks nobody" if state.in_transaction else "")


def _second_ending(verdict: Judged, standing: Mapping[SessionId, Standing]) -> Ending:
    if verdict.signal:
        return _first_ending(verdict, standing)
    return Ending(kind="cancelled", reason=f"not terminated: {verdict.refusal}" if verdict.refusal else "")
