"""What the responder may ask of a target database, so that actions know sessions and blockers but no driver.

A session is known by its pid together with the start of its backend and of its transaction, because PostgreSQL reuses
pids (PostgreSQL contract): everything that signals re-checks all three in the statement that signals.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import BaseModel, ConfigDict

PREPARED_PID = 0
"""The pid under which PostgreSQL reports a prepared transaction: it has no backend, so no signal ends it."""

READ_ROLE = "pg_read_all_stats"
SIGNAL_ROLE = "pg_signal_backend"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SessionId(_Frozen):
    """The identity of a session in one of its transactions.

    ``xact_start`` is None when the session is outside a transaction.
    """

    pid: int
    backend_start: datetime | None
    xact_start: datetime | None


class Blocker(_Frozen):
    """A session (or prepared transaction) at the root of a chain: it makes others wait and waits for nobody.

    ``blocking_since`` is when the longest of the sessions directly behind it began to wait, not counting waits for
    advisory locks. ``waiting`` counts all sessions behind it, also those behind
    others in between. ``refusal`` says why it may not be signalled, empty when it may. ``gid`` is set for a prepared
    transaction, whose ``pid`` is 0. ``query`` is cut at 1000 characters.
    """

    pid: int
    backend_start: datetime | None
    xact_start: datetime | None
    usename: str
    application_name: str
    state: str
    query: str
    blocking_since: datetime | None
    blocking_seconds: float
    waiting: int
    gid: str
    refusal: str

    @property
    def identity(self) -> SessionId:
        """What must still be true of the session when it is signalled."""
        return SessionId(pid=self.pid, backend_start=self.backend_start, xact_start=self.xact_start)

    def __str__(self) -> str:
        if self.pid == PREPARED_PID:
            return f"prepared transaction {self.gid!r}"
        return f"pid {self.pid} ({self.usename}, {self.application_name or 'no application name'}, {self.state})"


class WaitingSession(_Frozen):
    """A session that waits for a lock: its identity as a wait, for whom it waits, and for how long.

    ``lock`` is the kind and mode of the lock it wants (``relation AccessExclusiveLock``); ``blocked_by`` are the pids
    directly in its way. ``query`` is cut at 1000 characters.
    """

    pid: int
    backend_start: datetime
    query_start: datetime | None
    usename: str
    application_name: str
    query: str
    lock: str
    waiting_seconds: float
    blocked_by: tuple[int, ...]


class Blocking(_Frozen):
    """Who blocks whom in one database at one moment (the server's clock)."""

    taken_at: datetime
    roots: tuple[Blocker, ...]
    waiting: tuple[WaitingSession, ...]


class Safety(_Frozen):
    """Which blockers may be signalled at all, beside the rules that always hold.

    ``blocking_for`` is how long a blocker must have blocked. The patterns match the whole name, without regard to case;
    ``*`` stands for any text.
    """

    blocking_for: timedelta
    protected_applications: tuple[str, ...]
    protected_roles: tuple[str, ...]


class Judged(_Frozen):
    """What was decided about one session, and done if it was to be signalled.

    ``gone`` means that the session or its transaction has ended, or that the pid is another session's by now;
    ``refusal`` is then empty. ``signal`` is ``cancel`` or ``terminate`` when that was sent, else empty.
    """

    session: SessionId
    gone: bool
    refusal: str
    signal: str


class Standing(_Frozen):
    """What became of one session.

    ``connected``: the same backend is there. ``in_transaction``: and in the same transaction. ``blocking``: and others
    wait for it.
    """

    session: SessionId
    connected: bool
    in_transaction: bool
    blocking: bool


class ServerInfo(_Frozen):
    """What a server says of itself; ``latency_seconds`` includes connecting."""

    version: str
    primary: bool
    started_at: datetime
    latency_seconds: float


class PostgresServer(Protocol):
    """One target database.

    Every method raises UnavailableError when the server cannot be reached in time, ForbiddenError when the server
    refuses us or a role is missing, and names the target, never its address or secrets.
    """

    @property
    def name(self) -> str:
        """The name in ``targets.postgres``."""
        ...

    async def ping(self) -> ServerInfo:
        """Connect, ask one question, leave."""
        ...

    async def missing_roles(self, roles: Sequence[str]) -> tuple[str, ...]:
        """Return those of ``roles`` whose rights we do not have."""
        ...

    async def blocking(self, safety: Safety) -> Blocking:
        """Return the chains of waiting sessions of this database with their roots; needs pg_read_all_stats."""
        ...

    async def judge(self, sessions: Sequence[SessionId], safety: Safety) -> tuple[Judged, ...]:
        """Decide as `signal` would, in the same statement, without signalling.

        Raises ForbiddenError without pg_read_all_stats and pg_signal_backend, ConflictError when the server is a
        standby.
        """
        ...

    async def signal(self, sessions: Sequence[SessionId], safety: Safety, *, cancel: bool) -> tuple[Judged, ...]:
        """Re-check identity and safety of each session and signal those that pass, all in one statement.

        With ``cancel`` a session that runs a query is asked to cancel it, and one that idles is terminated; without,
        all are terminated. Raises as `judge` does, UnavailableError only when no signal was sent, and AmbiguousError
        when it is not known whether one was.
        """
        ...

    async def standing(self, sessions: Sequence[SessionId]) -> tuple[Standing, ...]:
        """Return what became of ``sessions``; needs pg_read_all_stats."""
        ...

    async def still_waiting(self, sessions: Sequence[WaitingSession]) -> tuple[WaitingSession, ...]:
        """Return those of ``sessions`` that still wait for a lock in the same query; needs pg_read_all_stats."""
        ...
