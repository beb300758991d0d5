"""What every family of calls shares: connections to one target, and asking over them.

Every call opens a connection of its own and closes it (decision 16); how many are open at a time is bounded, so that a
server that runs out of connections does not run out of them because of us.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import asyncpg

from hdr_responder.adapters.postgres_target.errors import CAUGHT, translate
from hdr_responder.adapters.postgres_target.statements import statement
from hdr_responder.domain.ports.postgres import Call, Need, Right
from hdr_responder.domain.ports.postgres.access import ALTER_SYSTEM, CREATE, EXECUTE, MAINTAIN, OWNER, SELECT, USAGE
from hdr_responder.errors import AdapterError, ConfigError, ForbiddenError, PermanentError, UnavailableError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

APPLICATION_NAME = "hdr-responder"
OLDEST_VERSION = 140000
"""PostgreSQL 14: the first whose pg_locks tells since when a session waits."""
MAINTAIN_VERSION = 170000
PARAMETER_RIGHTS_VERSION = 150000
CONNECTION_CHECK = "5s"
"""How often the server looks whether we are still there while it works for us."""
LONG_CALLS = 1
"""How many commands may run for long on a target at a time, beside the short calls."""

_SERVER = statement("server")
_HELD_RIGHTS = statement("held_rights")
_HELD_PARAMETER_RIGHTS = statement("held_parameter_rights")
_GRANTS = {
    EXECUTE: "EXECUTE ON FUNCTION {}",
    SELECT: "SELECT ON TABLE {}",
    USAGE: "USAGE ON SCHEMA {}",
    CREATE: "CREATE ON SCHEMA {}",
    MAINTAIN: "MAINTAIN ON TABLE {}",
    OWNER: "the role that owns {}",
    ALTER_SYSTEM: "ALTER SYSTEM ON PARAMETER {}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a target is and how much of it is used.

    ``dsn`` is a PostgreSQL address of one database, with its TLS options; it must lead to the server itself, not to a
    transaction pooler, which refuses the startup settings. ``timeout`` (seconds) bounds connecting and every short
    statement. ``connections`` is the most short calls at a time; ``schemas`` are those whose tables may be changed.
    """

    target: str
    dsn: str = field(repr=False)
    timeout: float
    connections: int
    schemas: tuple[str, ...]


class Calls:
    """Base of the families."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._short = asyncio.Semaphore(endpoint.connections)
        self._long = asyncio.Semaphore(LONG_CALLS)

    def __repr__(self) -> str:
        return f"PostgresTarget({self.name!r})"

    @property
    def name(self) -> str:
        """The name in ``targets.postgres``."""
        return self._endpoint.target

    @property
    def _where(self) -> str:
        return f"postgres target {self.name}"

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Connect for short statements."""
        milliseconds = str(round(self._endpoint.timeout * 1000))
        settings = {"statement_timeout": milliseconds, "lock_timeout": milliseconds}
        async with self._slot(self._short):
            connection = await self._connect({"application_name": APPLICATION_NAME, **settings})
            try:
                yield connection
            finally:
                await self._leave(connection)

    @contextlib.asynccontextmanager
    async def _long_connection(self, call: Call, **settings: str) -> AsyncIterator[Connection]:
        """Connect for one command that may run for long; the server ends it soon after we are gone."""
        own = {
            "application_name": call.session,
            "statement_timeout": str(round(call.within.total_seconds() * 1000)),
            "lock_timeout": str(round(call.lock_timeout.total_seconds() * 1000)),
        }
        async with self._slot(self._long):
            connection = await self._connect({**own, **settings})
            try:
                # Not at startup: a server whose system cannot look would refuse the connection.
                with contextlib.suppress(asyncpg.PostgresError):
                    await connection.execute(f"SET client_connection_check_interval = '{CONNECTION_CHECK}'")
                yield connection
            finally:
                await self._leave(connection)

    @contextlib.asynccontextmanager
    async def _slot(self, slots: asyncio.Semaphore) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._endpoint.timeout):
                await slots.acquire()
        except TimeoutError as e:
            raise UnavailableError(f"{self._where}: as many calls as may run at a time run already") from e
        try:
            yield
        finally:
            slots.release()

    async def _connect(self, settings: Mapping[str, str]) -> Connection:
        endpoint = self._endpoint
        try:
            return await asyncpg.connect(
                endpoint.dsn, timeout=endpoint.timeout, statement_cache_size=0, server_settings=dict(settings)
            )
        except CAUGHT as e:
            error = translate(self.name, e)
            if isinstance(error, ConfigError):
                raise error from None
            raise error from e

    async def _leave(self, connection: Connection) -> None:
        """Close; a statement that is still under way because we were cancelled is cancelled on the server first."""
        with contextlib.suppress(*CAUGHT):
            await connection.close(timeout=self._endpoint.timeout)

    async def _rows(
        self, connection: Connection, sql: str, *arguments: object, within: float = 0.0
    ) -> list[asyncpg.Record]:
        """Ask; ``within`` (seconds) is for statements that may take longer than others."""
        try:
            async with asyncio.timeout(max(within, self._endpoint.timeout) + 1):
                return await connection.fetch(sql, *arguments)
        except CAUGHT as e:
            raise translate(self.name, e) from e

    async def _row(self, connection: Connection, sql: str, *arguments: object) -> asyncpg.Record:
        return (await self._rows(connection, sql, *arguments))[0]

    async def _require(self, connection: Connection, *needs: Right) -> asyncpg.Record:
        """Return what the server says of itself; raises ForbiddenError that names what we lack."""
        server = await self._row(connection, _SERVER)
        if server["version_number"] < OLDEST_VERSION:
            raise PermanentError(f"{self._where} runs {server['version']}: 14 or newer is needed")
        lacking = await self._lacking(connection, needs)
        if lacking:
            lacks = ", ".join(described(need) for need in lacking)
            grant = ", ".join(granted(need, server["version_number"]) for need in lacking)
            raise ForbiddenError(f"{self._where}: our role lacks {lacks}: GRANT {grant} TO it")
        return server

    async def _lacking(self, connection: Connection, needs: Sequence[Right]) -> list[Need]:
        """Return those of ``needs`` that we do not hold."""
        asked = [Need(need.verb, need.resource) for need in needs]
        unknown = [need.verb for need in asked if need.resource and need.verb not in _GRANTS]
        if unknown:
            raise AdapterError(f"{self._where}: no privilege {unknown[0]!r} is known")
        if not asked:
            return []
        common = [need for need in asked if need.verb != ALTER_SYSTEM]
        held = await self._held(connection, _HELD_RIGHTS, common)
        parameters = [need for need in asked if need.verb == ALTER_SYSTEM]
        if parameters and (await self._row(connection, _SERVER))["version_number"] >= PARAMETER_RIGHTS_VERSION:
            held |= await self._held(connection, _HELD_PARAMETER_RIGHTS, parameters)
        return [need for need in asked if need not in held]

    async def _held(self, connection: Connection, sql: str, needs: Sequence[Need]) -> set[Need]:
        rows = await self._rows(connection, sql, [n.verb for n in needs], [n.resource for n in needs])
        return {Need(row["verb"], row["resource"]) for row in rows}


def described(need: Right) -> str:
    """Return a right as people read it."""
    return f"{need.verb} on {need.resource}" if need.resource else need.verb


def granted(need: Right, version: int) -> str:
    """Return what stands in a GRANT for it."""
    if not need.resource:
        return need.verb
    verb = OWNER if need.verb == MAINTAIN and version < MAINTAIN_VERSION else need.verb
    return _GRANTS[verb].format(need.resource)
