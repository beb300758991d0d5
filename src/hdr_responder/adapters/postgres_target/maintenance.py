"""Looks at tables and indexes of a target and looks after them, one command in a session of its own name at a time.

Names are looked up as they are stored and put into commands by the server's own ``format``: never by us.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg

from hdr_responder.adapters.postgres_target.calls import Calls, Connection
from hdr_responder.adapters.postgres_target.errors import CAUGHT, translate
from hdr_responder.adapters.postgres_target.statements import statement
from hdr_responder.domain.ports.postgres import (
    READ_ROLE,
    Call,
    IndexColumn,
    IndexState,
    Leftover,
    Need,
    Relation,
    TableState,
)
from hdr_responder.domain.ports.postgres.access import CREATE, MAINTAIN, OWNER, USAGE
from hdr_responder.domain.ports.postgres.maintenance import quoted
from hdr_responder.errors import AmbiguousError, ConflictError, ForbiddenError, NotFoundError

GENTLE = {"vacuum_cost_delay": "2ms"}
"""The pause that autovacuum makes by default."""
KINDS = {"r": "table", "m": "materialised view", "p": "partitioned table", "v": "view", "f": "foreign table"}

_REFUSALS = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.FeatureNotSupportedError,
)
"""What the server says before it begins."""
_UNDONE = (*_REFUSALS, asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
"""After these nothing remains of a command that is one transaction."""

_TABLE = statement("table")
_INDEX = statement("index")
_LEFTOVERS = statement("leftovers")
_OWN_SESSION = statement("own_session")
_CREATE_INDEX = statement("create_index")
_NAME_OF = statement("name_of")
_ANALYZE = "select format('ANALYZE %I.%I', $1::text, $2::text) as command"
_VACUUM = "select format('VACUUM ({options}) %I.%I', $1::text, $2::text) as command"
_REINDEX = "select format('REINDEX INDEX CONCURRENTLY %I.%I', $1::text, $2::text) as command"
_COMMENT = "select format('COMMENT ON INDEX %I.%I IS %L', $1::text, $2::text, $3::text) as command"
_DROP = "select format('DROP INDEX CONCURRENTLY %I.%I', $1::text, $2::text) as command"


class Maintenance(Calls):
    """Looks at tables and indexes and looks after them."""

    async def table(self, table: Relation) -> TableState:
        """Look at a table or materialised view."""
        self._allow(table)
        async with self._connection() as connection:
            await self._require(connection)
            rows = await self._rows(connection, _TABLE, table.schema_name, table.name)
        if not rows:
            raise NotFoundError(f"{self._where}: there is no table {table}")
        if rows[0]["kind"] not in {"r", "m", "p"}:
            raise ConflictError(f"{self._where}: {table} is no table but a {KINDS.get(rows[0]['kind'], 'relation')}")
        return TableState(**{name: rows[0][name] for name in TableState.model_fields})

    async def index(self, index: Relation) -> IndexState:
        """Look at an index."""
        self._allow(index)
        async with self._connection() as connection:
            await self._require(connection)
            rows = await self._rows(connection, _INDEX, index.schema_name, index.name)
        if not rows:
            raise NotFoundError(f"{self._where}: there is no index {index}")
        if rows[0]["kind"] not in {"i", "I"}:
            raise ConflictError(f"{self._where}: {index} is no index but a {KINDS.get(rows[0]['kind'], 'relation')}")
        known = {name: rows[0][name] for name in IndexState.model_fields if name != "columns"}
        return IndexState(**known, columns=_columns(rows[0]))

    async def leftovers(self, table_oid: int) -> tuple[Leftover, ...]:
        """Return the invalid indexes of a table, none while somebody builds an index on it."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            rows = await self._rows(connection, _LEFTOVERS, table_oid)
        return tuple(Leftover(**dict(row.items())) for row in rows)

    async def session(self, name: str) -> str | None:
        """Tell what the session of that name does and how far it is."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            rows = await self._rows(connection, _OWN_SESSION, name)
        if not rows:
            return None
        row = rows[0]
        done = "" if row["done"] is None else f", {row['done']:.0%}"
        return f"pid {row['pid']}, {row['phase'] or row['state']}{done}"

    async def analyze(self, table: Relation, call: Call) -> None:
        """Gather the planner's statistics."""
        async with self._changing(table, call, Need(MAINTAIN, str(table))) as connection:
            await self._command(connection, call, _ANALYZE, table, refusals=_UNDONE)

    async def vacuum(self, table: Relation, call: Call, *, analyze: bool, truncate: bool, gentle: bool) -> None:
        """Reclaim dead rows without locking anybody out."""
        options = f"ANALYZE {_switch(analyze)}, TRUNCATE {_switch(truncate)}"
        refusals = _REFUSALS if analyze else (*_REFUSALS, asyncpg.LockNotAvailableError)
        settings = GENTLE if gentle else {}
        async with self._changing(table, call, Need(MAINTAIN, str(table)), **settings) as connection:
            await self._command(connection, call, _VACUUM.format(options=options), table, refusals=refusals)

    async def reindex(self, index: Relation, call: Call) -> None:
        """Build the index anew beside the old one and swap them."""
        table = Relation(schema_name=index.schema_name, name=(await self.index(index)).table)
        async with self._changing(index, call, Need(MAINTAIN, str(table))) as connection:
            await self._command(connection, call, _REINDEX, index)

    async def create_index(
        self, index: Relation, table: Relation, columns: tuple[IndexColumn, ...], comment: str, call: Call
    ) -> None:
        """Build a B-tree without locking out writes, then comment on it."""
        needs = (Need(OWNER, str(table)), Need(CREATE, quoted(table.schema_name)))
        keys = ([key.column for key in columns], [key.descending for key in columns])
        async with self._changing(table, call, *needs) as connection:
            await self._command(connection, call, _CREATE_INDEX, index, table.name, *keys)
            await self._command(connection, call, _COMMENT, index, comment, refusals=())

    async def drop_index(self, oid: int, call: Call) -> None:
        """Drop the index with that ``oid`` without locking out writes."""
        async with self._connection() as connection:
            rows = await self._rows(connection, _NAME_OF, oid)
        if not rows:
            raise NotFoundError(f"{self._where}: the index is gone")
        index = Relation(schema_name=rows[0]["schema_name"], name=rows[0]["name"])
        async with self._changing(index, call) as connection:
            await self._command(connection, call, _DROP, index)

    def _allow(self, relation: Relation) -> None:
        """Raise ForbiddenError for a relation outside the schemas that may be changed."""
        if relation.schema_name not in self._endpoint.schemas or relation.schema_name.startswith("pg_"):
            raise ForbiddenError(
                f"{self._where}: the schema of {relation} is not among targets.postgres.{self.name}.schemas"
            )

    @contextlib.asynccontextmanager
    async def _changing(
        self, relation: Relation, call: Call, *needs: Need, **settings: str
    ) -> AsyncIterator[Connection]:
        """Connect for commands on a relation, when it may be changed and we may change it.

        The server itself only warns, and skips the table, where it lacks the right to analyze or vacuum.
        """
        self._allow(relation)
        async with self._long_connection(call, **settings) as connection:
            server = await self._require(connection, Need(USAGE, quoted(relation.schema_name)), *needs)
            if not server["primary"]:
                raise ConflictError(f"{self._where} is a standby: nothing can be changed there")
            yield connection

    async def _command(
        self,
        connection: Connection,
        call: Call,
        template: str,
        relation: Relation,
        *more: object,
        refusals: tuple[type[asyncpg.PostgresError], ...] = _REFUSALS,
    ) -> None:
        """Have the server write the command and run it; what is not among ``refusals`` leaves open what was done."""
        command = (await self._row(connection, template, relation.schema_name, relation.name, *more))["command"]
        try:
            async with asyncio.timeout(call.within.total_seconds() + self._endpoint.timeout):
                await connection.execute(command)
        except refusals as e:
            raise translate(self.name, e) from e
        except CAUGHT as e:
            raise AmbiguousError(f"{translate(self.name, e)}; part of it may have been done") from e


def _switch(on: bool) -> str:
    return "on" if on else "off"


def _columns(row: asyncpg.Record) -> tuple[IndexColumn, ...] | None:
    if row["columns"] is None:
        return None
    pairs = zip(row["columns"], row["descending"], strict=False)
    return tuple(IndexColumn(column=name, descending=descending) for name, descending in pairs)
