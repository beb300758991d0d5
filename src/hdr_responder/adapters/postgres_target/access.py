"""Who answers at a target, and what our role there may do."""

from __future__ import annotations

import time
from collections.abc import Sequence

import asyncpg

from hdr_responder.adapters.postgres_target.calls import PARAMETER_RIGHTS_VERSION, Calls, described
from hdr_responder.adapters.postgres_target.statements import statement
from hdr_responder.domain.ports.postgres import Relation, Right, ServerInfo
from hdr_responder.domain.ports.postgres.access import ALTER_SYSTEM, MAINTAIN, OWNER

_SERVER = statement("server")
_EXCESS = statement("excess")
_ALTERABLE = statement("alterable_parameters")


class Access(Calls):
    """Asks who answers, and about ourselves."""

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

    async def missing(self, permissions: Sequence[Right]) -> tuple[str, ...]:
        """Return those of ``permissions`` that we lack."""
        async with self._connection() as connection:
            return tuple(described(need) for need in await self._lacking(connection, permissions))

    async def excess(self, needed: Sequence[Right] = ()) -> tuple[str, ...]:
        """Return what our role could do beyond ``needed`` that an intruder would use."""
        owned = {need.resource for need in needed if need.verb in {OWNER, MAINTAIN}}
        alterable = {need.resource for need in needed if need.verb == ALTER_SYSTEM}
        async with self._connection() as connection:
            found = await self._rows(connection, _EXCESS)
            version = (await self._row(connection, _SERVER))["version_number"]
            parameters = await self._rows(connection, _ALTERABLE) if version >= PARAMETER_RIGHTS_VERSION else []
        held = [_held(row["kind"], _named(row)) for row in found if row["kind"] != OWNER or _named(row) not in owned]
        held += [f"may alter the parameter {row['name']}" for row in parameters if row["name"] not in alterable]
        return tuple(held)


def _named(row: asyncpg.Record) -> str:
    schema_name, name = row["schema_name"], row["name"]
    return str(Relation(schema_name=schema_name, name=name)) if schema_name else name


def _held(kind: str, name: str) -> str:
    match kind:
        case "role":
            return f"is a member of {name}"
        case "database" | "schema":
            return f"owns the {kind} {name}"
        case "owner":
            return f"owns {name}"
        case "write":
            return f"may write to {name}"
        case _:
            return name
