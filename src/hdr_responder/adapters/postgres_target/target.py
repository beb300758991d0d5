"""The `PostgresServer` port over asyncpg.

Every call opens a connection of its own and closes it: calls are rare, a pool would hold slots of a server that may be
running out of them, and after a fail-over a kept connection would still point at the old primary.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import asyncpg

from hdr_responder.adapters.postgres_target.errors import CAUGHT, translate
from hdr_responder.domain.ports.postgres import (
    READ_ROLE,
    SIGNAL_ROLE,
    Blocker,
    Blocking,
    Judged,
    Safety,
    ServerInfo,
    SessionId,
    Standing,
    WaitingSession,
)
from hdr_responder.errors import (
    AmbiguousError,
    ConfigError,
    ConflictError,
    ForbiddenError,
    PermanentError,
    TemporaryError,
)

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

APPLICATION_NAME = "hdr-responder"
OLDEST_VERSION = 140000
"""PostgreSQL 14: the first whose pg_locks tells since when a session waits."""


def _sql(*names: str) -> str:
    folder = resources.files(__package__)
    return "\n".join(folder.joinpath(f"{name}.sql").read_text(encoding="utf-8") for name in names)


_SERVER = _sql("server")
_MISSING_ROLES = _sql("missing_roles")
_BLOCKING = _sql("lock_graph", "verdicts", "blocking")
_SIGNAL = _sql("lock_graph", "verdicts", "signal")
_STANDING = _sql("lock_graph", "standing")
_STILL_WAITING = _sql("lock_graph", "still_waiting")


class PostgresTarget:
    """One target database by its name in settings.

    ``dsn`` is a PostgreSQL address of one database, with its TLS options; it must lead to the server itself, not to a
    transaction pooler, which refuses the startup settings. ``timeout`` (seconds) bounds connecting and every statement.
    Constructing connects to nothing.
    """

    def __init__(self, name: str, dsn: str, timeout: float = 5.0) -> None:
        self._name = name
        self._dsn = dsn
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"PostgresTarget({self._name!r})"

    @property
    def name(self) -> str:
        """The name in ``targets.postgres``."""
        return self._name

    async def ping(self) -> ServerInfo:
        """Connect, ask one question, leave."""
        started = time.monotonic()
        async with self._connection() as connection:
            row = await self._row(connection, _SERVER)
        return ServerInfo(
            version=row["version"],
            primary=row["primary"],
            started_at=row["started_at"],
            latency_seconds=time.monotonic() - started,
        )

    async def missing_roles(self, roles: Sequence[str]) -> tuple[str, ...]:
        """Return those of ``roles`` whose rights we do not have."""
        async with self._connection() as connection:
            return await self._missing(connection, roles)

    async def blocking(self, safety: Safety) -> Blocking:
        """Return the chains of waiting sessions of this database with their roots."""
        async with self._connection() as connection:
            await self._require(connection, READ_ROLE)
            taken_at = (await self._row(connection, "select clock_timestamp() as now"))["now"]
            rows = await self._rows(connection, _BLOCKING, *_safety(safety))
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
            rows = await self._rows(connection, _SIGNAL, *_safety(safety), _listed(sessions), "none")
        return tuple(_judged(row) for row in rows)

    async def signal(self, sessions: Sequence[SessionId], safety: Safety, *, cancel: bool) -> tuple[Judged, ...]:
        """Re-check identity and safety of each session and signal those that pass, all in one statement."""
        method = "cancel" if cancel else "terminate"
        async with self._connection() as connection:
            await self._require_signals(connection)
            try:
                rows = await self._rows(connection, _SIGNAL, *_safety(safety), _listed(sessions), method)
            except TemporaryError as e:
                raise AmbiguousError(f"{e}; signals may or may not have been sent") from e
        return tuple(_judged(row) for row in rows)

    async def standing(self, sessions: Sequence[SessionId]) -> tuple[Standing, ...]:
        """Return what became of ``sessions``."""
        async with self._connection() as connection:
            await self._require(connection, READ_ROLE)
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
            await self._require(connection, READ_ROLE)
            rows = await self._rows(connection, _STILL_WAITING, _listed(sessions))
        waiting = {(row["pid"], row["backend_start"]) for row in rows}
        return tuple(session for session in sessions if (session.pid, session.backend_start) in waiting)

    async def _require_signals(self, connection: Connection) -> None:
        await self._require(connection, READ_ROLE, SIGNAL_ROLE)
        server = await self._row(connection, _SERVER)
        if not server["primary"]:
            raise ConflictError(f"postgres target {self._name} is a standby: sessions are ended on the primary only")

    async def _require(self, connection: Connection, *roles: str) -> None:
        server = await self._row(connection, _SERVER)
        if server["version_number"] < OLDEST_VERSION:
            raise PermanentError(f"postgres target {self._name} runs {server['version']}: 14 or newer is needed")
        missing = await self._missing(connection, roles)
        if missing:
            needed = ", ".join(missing)
            raise ForbiddenError(f"postgres target {self._name}: our role lacks {needed}: GRANT {needed} TO it")

    async def _missing(self, connection: Connection, roles: Sequence[str]) -> tuple[str, ...]:
        return tuple(row["role"] for row in await self._rows(connection, _MISSING_ROLES, list(roles)))

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection = await self._connect()
        try:
            yield connection
        finally:
            with contextlib.suppress(*CAUGHT):
                await connection.close(timeout=self._timeout)

    async def _connect(self) -> Connection:
        milliseconds = str(round(self._timeout * 1000))
        try:
            return await asyncpg.connect(
                self._dsn,
                timeout=self._timeout,
                command_timeout=self._timeout + 1,
                statement_cache_size=0,
                server_settings={
                    "application_name": APPLICATION_NAME,
                    "statement_timeout": milliseconds,
                    "lock_timeout": milliseconds,
                },
            )
        except CAUGHT as e:
            error = translate(self._name, e)
            if isinstance(error, ConfigError):
                raise error from None
            raise error from e

    async def _rows(self, connection: Connection, sql: str, *arguments: object) -> list[asyncpg.Record]:
        try:
            async with asyncio.timeout(self._timeout + 1):
                return await connection.fetch(sql, *arguments)
        except CAUGHT as e:
            raise translate(self._name, e) from e

    async def _row(self, connection: Connection, sql: str) -> asyncpg.Record:
        return (await self._rows(connection, sql))[0]


def _safety(safety: Safety) -> tuple[object, ...]:
    return (
        safety.blocking_for,
        [_like(pattern) for pattern in safety.protected_applications],
        [_like(pattern) for pattern in safety.protected_roles],
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
    names = set(model.model_fields)
    aliases = {"blocking_since": row["since"], "blocking_seconds": row["seconds"], **more}
    values = {**dict(row.items()), **aliases}
    return model(**{name: value for name, value in values.items() if name in names})
