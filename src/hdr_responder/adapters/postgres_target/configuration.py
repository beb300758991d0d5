"""Reads parameters of a target server, writes them to its own file and has it read that anew."""

from __future__ import annotations

import asyncpg

from hdr_responder.adapters.postgres_target.calls import Calls
from hdr_responder.adapters.postgres_target.errors import CAUGHT, translate
from hdr_responder.adapters.postgres_target.statements import statement
from hdr_responder.domain.ports.postgres import ParameterState
from hdr_responder.domain.ports.postgres.configuration import alter_needs, file_needs
from hdr_responder.errors import AmbiguousError, NotFoundError

_PARAMETER = statement("parameter")
_SET = "select format('ALTER SYSTEM SET %I = %L', $1::text, $2::text) as command"
_RESET = "select format('ALTER SYSTEM RESET %I', $1::text) as command"
_RELOAD = "select pg_reload_conf() as told"
_REFUSALS = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidParameterValueError,
    asyncpg.CantChangeRuntimeParamError,
    asyncpg.UndefinedObjectError,
)


class Configuration(Calls):
    """Reads and writes parameters of the server."""

    async def parameter(self, name: str) -> ParameterState:
        """Look at a parameter."""
        async with self._connection() as connection:
            await self._require(connection, *file_needs())
            rows = await self._rows(connection, _PARAMETER, name)
        if not rows:
            raise NotFoundError(f"{self._where} has no parameter {name}")
        return ParameterState(**{field: rows[0][field] for field in ParameterState.model_fields})

    async def alter_system(self, name: str, value: str | None) -> None:
        """Write a parameter (None takes it out) and have the server read its files anew."""
        async with self._connection() as connection:
            await self._require(connection, *alter_needs(name))
            written = (name,) if value is None else (name, value)
            command = (await self._row(connection, _RESET if value is None else _SET, *written))["command"]
            try:
                await connection.execute(command, timeout=self._endpoint.timeout)
            except _REFUSALS as e:
                raise translate(self.name, e) from e
            except CAUGHT as e:
                raise AmbiguousError(f"{translate(self.name, e)}; {name} may or may not have been written") from e
            try:
                told = await connection.fetchval(_RELOAD, timeout=self._endpoint.timeout)
            except CAUGHT as e:
                raise AmbiguousError(f"{translate(self.name, e)}; {name} was written, perhaps not read") from e
        if not told:
            raise AmbiguousError(f"{self._where}: {name} was written, and the server did not read its files anew")
