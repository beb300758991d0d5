"""Looks at the sessions of a target and signals those that may be signalled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from hdr_responder.adapters.postgres_target.calls import Calls, Connection
from hdr_responder.adapters.postgres_target.literals import without_literals
from hdr_responder.adapters.postgres_target.statements import composed, statement
from hdr_responder.domain.ports.postgres import (
    READ_ROLE,
    SIGNAL_ROLE,
    Blocker,
    Blocking,
    Judged,
    LongQueries,
    Need,
    QueryId,
    QueryRules,
    QueryVerdict,
    RunningQuery,
    Safety,
    SessionId,
    Standing,
    WaitingSession,
)
from hdr_responder.errors import AmbiguousError, ConflictError, TemporaryError

_NOW = "select clock_timestamp() as now"
_BLOCKING = composed("lock_graph", "protected", "verdicts", "blocking")
_SIGNAL = composed("lock_graph", "protected", "verdicts", "signal")
_STANDING = composed("lock_graph", "standing")
_STILL_WAITING = composed("lock_graph", "still_waiting")
_LONG_QUERIES = statement("long_queries")
_CANCEL_QUERY = composed("protected", "cancel_query")
_STILL_RUNNING = statement("still_running")


class Sessions(Calls):
    """Looks at sessions and signals them."""

    async def blocking(self, safety: Safety) -> Blocking:
        """Return the chains of waiting sessions of this database with their roots."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            taken_at = (await self._row(connection, _NOW))["now"]
            rows = await self._rows(connection, _BLOCKING, *_rules(safety.blocking_for, safety))
        return Blocking(
            taken_at=taken_at,
            roots=tuple(_pick(Blocker, row) for row in rows if row["kind"] == "root"),
            waiting=tuple(
                _pick(WaitingSession, row, waiting_seconds=row["seconds"]) for row in rows if row["kind"] == "waiting"
            ),
        )

    async def judge(self, sessions: Sequence[SessionId], safety: Safety) -> tuple[Judged, ...]:
        """Decide as `signal` would, in the same statement, without signalling."""
        async with self._connection() as connection:
            await self._require_signals(connection)
            wanted = (*_rules(safety.blocking_for, safety), _listed(sessions))
            rows = await self._rows(connection, _SIGNAL, *wanted, "none")
        return tuple(_judged(row) for row in rows)

    async def signal(self, sessions: Sequence[SessionId], safety: Safety, *, cancel: bool) -> tuple[Judged, ...]:
        """Re-check identity and safety of each session and signal those that pass, all in one statement."""
        method = "cancel" if cancel else "terminate"
        async with self._connection() as connection:
            await self._require_signals(connection)
            wanted = (*_rules(safety.blocking_for, safety), _listed(sessions))
            try:
                rows = await self._rows(connection, _SIGNAL, *wanted, method)
            except TemporaryError as e:
                raise AmbiguousError(f"{e}; signals may or may not have been sent") from e
        return tuple(_judged(row) for row in rows)

    async def standing(self, sessions: Sequence[SessionId]) -> tuple[Standing, ...]:
        """Return what became of ``sessions``."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            rows = await self._rows(connection, _STANDING, _listed(sessions))
        return tuple(
            Standing(
                session=_identity(row),
                connected=row["connected"],
                in_transaction=row["in_transaction"],
                blocking=row["blocking"],
            )
            for row in rows
        )

    async def still_waiting(self, sessions: Sequence[WaitingSession]) -> tuple[WaitingSession, ...]:
        """Return those of ``sessions`` that still wait for a lock in the same query."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            rows = await self._rows(connection, _STILL_WAITING, _listed(sessions))
        waiting = {(row["pid"], row["backend_start"]) for row in rows}
        return tuple(session for session in sessions if (session.pid, session.backend_start) in waiting)

    async def long_queries(self, longer_than: timedelta, limit: int) -> LongQueries:
        """Return what clients have run for longer in this database."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            taken_at = (await self._row(connection, _NOW))["now"]
            rows = await self._rows(connection, _LONG_QUERIES, longer_than, limit)
        queries = tuple(_pick(RunningQuery, row) for row in rows)
        return LongQueries(taken_at=taken_at, queries=queries, total=rows[0]["total"] if rows else 0)

    async def cancel_query(self, query: QueryId, rules: QueryRules, *, rehearse: bool) -> QueryVerdict:
        """Re-check identity and rules and cancel the query, all in one statement."""
        async with self._connection() as connection:
            await self._require_signals(connection)
            wanted = (*_rules(rules.running_for, rules), query.pid, query.backend_start, query.query_start)
            try:
                row = await self._row(connection, _CANCEL_QUERY, *wanted, not rehearse)
            except TemporaryError as e:
                raise AmbiguousError(f"{e}; the query may or may not have been cancelled") from e
        return QueryVerdict(gone=row["gone"], refusal=row["refusal"], sent=row["sent"])

    async def still_running(self, query: QueryId) -> bool:
        """Tell whether that very query still runs."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            row = await self._row(connection, _STILL_RUNNING, query.pid, query.backend_start, query.query_start)
        return bool(row["running"])

    async def _require_signals(self, connection: Connection) -> None:
        server = await self._require(connection, Need(READ_ROLE), Need(SIGNAL_ROLE))
        if not server["primary"]:
            raise ConflictError(f"{self._where} is a standby: sessions are ended on the primary only")


def _rules(limit: timedelta, rules: Safety | QueryRules) -> tuple[object, ...]:
    return (
        limit,
        [_like(pattern) for pattern in rules.protected_applications],
        [_like(pattern) for pattern in rules.protected_roles],
    )


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def _listed(sessions: Iterable[SessionId | WaitingSession]) -> str:
    """Return identities as one JSON parameter: for arrays of times the driver would first ask for their types."""
    identity = {"pid", "backend_start", "xact_start", "query_start"}
    return json.dumps([session.model_dump(mode="json", include=identity) for session in sessions])


def _identity(row: asyncpg.Record) -> SessionId:
    return SessionId(pid=row["pid"], backend_start=row["backend_start"], xact_start=row["xact_start"])


def _judged(row: asyncpg.Record) -> Judged:
    return Judged(
        session=_identity(row),
        gone=row["gone"],
        refusal=row["refusal"],
        signal=row["method"] if row["sent"] else "",
    )


def _pick(model: Any, row: asyncpg.Record, **more: object) -> Any:
    known = dict(row.items())
    known["query"] = without_literals(known["query"])
    known |= {"blocking_since": known.get("since"), "blocking_seconds": known["seconds"], **more}
    return model(**{name: value for name, value in known.items() if name in model.model_fields})
