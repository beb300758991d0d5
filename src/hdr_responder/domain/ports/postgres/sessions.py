"""Sessions of a target database: who blocks whom, what runs for long, and the signals that end it.

A session is known by its pid together with the start of its backend and of its transaction (or of its query, where only
that is to end), because PostgreSQL reuses pids (PostgreSQL contract): everything that signals re-checks all three in
the statement that signals. Literals in query texts are replaced by ``?``: they may be anything that people typed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from hdr_responder.domain.ports.postgres.facts import Fact

PREPARED_PID = 0
"""The pid under which PostgreSQL reports a prepared transaction: it has no backend, so no signal ends it."""


class SessionId(Fact):
    """The identity of a session in one of its transactions.

    ``xact_start`` is None when the session is outside a transaction.
    """

    pid: int
    backend_start: datetime | None
    xact_start: datetime | None


class Blocker(Fact):
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


class WaitingSession(Fact):
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


class Blocking(Fact):
    """Who blocks whom in one database at one moment (the server's clock)."""

    taken_at: datetime
    roots: tuple[Blocker, ...]
    waiting: tuple[WaitingSession, ...]


class Safety(Fact):
    """Which blockers may be signalled at all, beside the rules that always hold.

    ``blocking_for`` is how long a blocker must have blocked. The patterns match the whole name, without regard to case;
    ``*`` stands for any text.
    """

    blocking_for: timedelta
    protected_applications: tuple[str, ...]
    protected_roles: tuple[str, ...]


class Judged(Fact):
    """What was decided about one session, and done if it was to be signalled.

    ``gone`` means that the session or its transaction has ended, or that the pid is another session's by now;
    ``refusal`` is then empty. ``signal`` is ``cancel`` or ``terminate`` when that was sent, else empty.
    """

    session: SessionId
    gone: bool
    refusal: str
    signal: str


class Standing(Fact):
    """What became of one session.

    ``connected``: the same backend is there. ``in_transaction``: and in the same transaction. ``blocking``: and others
    wait for it.
    """

    session: SessionId
    connected: bool
    in_transaction: bool
    blocking: bool


class QueryId(Fact):
    """The identity of one query of one session."""

    pid: int
    backend_start: datetime
    query_start: datetime


class RunningQuery(Fact):
    """A query that is running: who runs it, for how long, and what it waits for (``Lock: relation``, else empty).

    ``query`` is cut at 1000 characters.
    """

    pid: int
    backend_start: datetime
    query_start: datetime
    xact_start: datetime | None
    usename: str
    application_name: str
    wait: str
    seconds: float
    query: str

    @property
    def identity(self) -> QueryId:
        """What must still be true of the query when it is cancelled."""
        return QueryId(pid=self.pid, backend_start=self.backend_start, query_start=self.query_start)

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.usename}, {self.application_name or 'no application name'})"


class LongQueries(Fact):
    """The queries of one database that have run for long at one moment, the longest first; ``total`` counts all."""

    taken_at: datetime
    queries: tuple[RunningQuery, ...]
    total: int


class QueryRules(Fact):
    """Which queries may be cancelled at all, beside the rules that always hold; patterns as in `Safety`."""

    running_for: timedelta
    protected_applications: tuple[str, ...]
    protected_roles: tuple[str, ...]


class QueryVerdict(Fact):
    """What was decided about one query, and whether a signal was sent.

    ``gone`` means that the query has ended, or that the pid is another session's by now; ``refusal`` is then empty.
    """

    gone: bool
    refusal: str
    sent: bool


class SessionCalls(Protocol):
    """Looks at sessions and signals them."""

    async def blocking(self, safety: Safety) -> Blocking:
        """Return the chains of waiting sessions of this database with their roots; needs pg_read_all_stats."""

    async def judge(self, sessions: Sequence[SessionId], safety: Safety) -> tuple[Judged, ...]:
        """Decide as `signal` would, in the same statement, without signalling.

        Raises ForbiddenError without pg_read_all_stats and pg_signal_backend, ConflictError when the server is a
        standby.
        """

    async def signal(self, sessions: Sequence[SessionId], safety: Safety, *, cancel: bool) -> tuple[Judged, ...]:
        """Re-check identity and safety of each session and signal those that pass, all in one statement.

        With ``cancel`` a session that runs a query is asked to cancel it, and one that idles is terminated; without,
        all are terminated. Raises as `judge` does, UnavailableError only when no signal was sent, and AmbiguousError
        when it is not known whether one was.
        """

    async def standing(self, sessions: Sequence[SessionId]) -> tuple[Standing, ...]:
        """Return what became of ``sessions``; needs pg_read_all_stats."""

    async def still_waiting(self, sessions: Sequence[WaitingSession]) -> tuple[WaitingSession, ...]:
        """Return those of ``sessions`` that still wait for a lock in the same query; needs pg_read_all_stats."""

    async def long_queries(self, longer_than: timedelta, limit: int) -> LongQueries:
        """Return what clients have run for longer in this database, at most ``limit``; needs pg_read_all_stats."""

    async def cancel_query(self, query: QueryId, rules: QueryRules, *, rehearse: bool) -> QueryVerdict:
        """Re-check identity and rules and cancel the query, all in one statement; with ``rehearse`` cancel nothing.

        Raises as `judge` does, UnavailableError only when no signal was sent, and AmbiguousError when it is not known
        whether one was.
        """

    async def still_running(self, query: QueryId) -> bool:
        """Tell whether that very query still runs; needs pg_read_all_stats."""
