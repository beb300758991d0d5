"""Reads what a target tells of its load, its size and its upkeep."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import asyncpg

from hdr_responder.adapters.postgres_target.calls import APPLICATION_NAME, Calls, Connection
from hdr_responder.adapters.postgres_target.literals import without_literals
from hdr_responder.adapters.postgres_target.statements import statement
from hdr_responder.domain.ports.postgres import READ_ROLE, SCAN_ROLE, Call, Need
from hdr_responder.domain.ports.postgres.statistics import (
    Bloat,
    BloatMethod,
    Connections,
    Counted,
    IdleTransaction,
    IndexSize,
    RelationBloat,
    Replication,
    ReplicationSlot,
    RunningVacuum,
    Sizes,
    Standby,
    Statement,
    StatementOrder,
    Statements,
    TableSize,
    TableUpkeep,
    VacuumState,
)
from hdr_responder.errors import ConflictError, PermanentError

STATEMENTS = "pg_stat_statements"
STATEMENTS_VERSION = [1, 9]
"""PostgreSQL 14's, which also tells since when it counts."""
MEASURING = "pgstattuple"

_CONNECTIONS = statement("connections")
_CONNECTION_LIMITS = statement("connection_limits")
_IDLE_TRANSACTIONS = statement("idle_transactions")
_EXTENSION = statement("extension")
_SLOW_STATEMENTS = statement("slow_statements")
_TABLE_SIZES = statement("table_sizes")
_INDEX_SIZES = statement("index_sizes")
_DATABASE_SIZE = "select current_database() as database, pg_database_size(current_database()) as database_bytes"
_UPKEEP = statement("upkeep")
_RUNNING_VACUUMS = statement("running_vacuums")
_FREEZING = statement("freezing")
_BLOAT_ESTIMATE = statement("bloat_estimate")
_BLOAT_MEASURED = statement("bloat_measured")
_STANDBYS = statement("standbys")
_SLOTS = statement("replication_slots")
_OWN_LAG = statement("own_lag")


class Statistics(Calls):
    """Reads statistics."""

    async def connections(self) -> Connections:
        """Count the clients of the server."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            limits = await self._row(connection, _CONNECTION_LIMITS)
            groups = await self._rows(connection, _CONNECTIONS)
            idle = await self._rows(connection, _IDLE_TRANSACTIONS)
        return Connections(
            **dict(limits.items()),
            by_state=_counted(groups, "state"),
            by_application=_counted(groups, "application"),
            by_role=_counted(groups, "role"),
            idle_in_transaction=idle[0]["total"] if idle else 0,
            idle_transactions=_facts(IdleTransaction, idle),
        )

    async def slow_statements(self, order: StatementOrder, limit: int, min_calls: int) -> Statements:
        """Return the slowest statements of this database."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            schema = await self._schema_of(connection, STATEMENTS, STATEMENTS_VERSION)
            rows = await self._statement_rows(connection, schema, order, min_calls, limit)
        statements = tuple(_fact(Statement, row, query=without_literals(row["query"])) for row in rows)
        return Statements(reset_at=rows[0]["reset_at"] if rows else None, statements=statements)

    async def sizes(self, limit: int) -> Sizes:
        """Return the size of the database and its largest tables and indexes."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            database = await self._row(connection, _DATABASE_SIZE)
            tables = await self._rows(connection, _TABLE_SIZES, limit)
            indexes = await self._rows(connection, _INDEX_SIZES, limit)
        return Sizes(**dict(database.items()), tables=_facts(TableSize, tables), indexes=_facts(IndexSize, indexes))

    async def vacuum_state(self, limit: int) -> VacuumState:
        """Return the upkeep of the tables with most dead rows."""
        async with self._connection() as connection:
            await self._require(connection, Need(READ_ROLE))
            freezing = await self._row(connection, _FREEZING)
            tables = await self._rows(connection, _UPKEEP, limit)
            running = await self._rows(connection, _RUNNING_VACUUMS)
        return VacuumState(
            **dict(freezing.items()), tables=_facts(TableUpkeep, tables), running=_facts(RunningVacuum, running)
        )

    async def bloat(self, method: BloatMethod, limit: int, within: timedelta) -> Bloat:
        """Judge the largest tables and B-tree indexes."""
        call = Call(session=APPLICATION_NAME, within=within, lock_timeout=within)
        async with self._long_connection(call) as connection:
            if method == "pgstattuple":
                await self._require(connection, Need(SCAN_ROLE))
                schema = await self._schema_of(connection, MEASURING, [1, 4])
                sql = _BLOAT_MEASURED.replace("{schema}", schema)
            else:
                await self._require(connection)
                sql = _BLOAT_ESTIMATE
            rows = await self._rows(connection, sql, limit, within=within.total_seconds())
        relations = tuple(_fact(RelationBloat, row, ratio=_ratio(row)) for row in rows)
        return Bloat(method=method, relations=relations, unjudged=sum(r.wasted_bytes is None for r in relations))

    async def replication(self) -> Replication:
        """Tell how replication stands."""
        async with self._connection() as connection:
            server = await self._require(connection, Need(READ_ROLE))
            standbys = _facts(Standby, await self._rows(connection, _STANDBYS))
            slots = _facts(ReplicationSlot, await self._rows(connection, _SLOTS))
            own = None if server["primary"] else await self._row(connection, _OWN_LAG)
        return Replication(
            primary=server["primary"],
            standbys=standbys,
            slots=slots,
            receiving=own["receiving"] if own else None,
            lag_bytes=own["lag_bytes"] if own else None,
            lag_seconds=own["lag_seconds"] if own else None,
        )

    async def _schema_of(self, connection: Connection, extension: str, oldest: list[int]) -> str:
        """Return the schema of an extension as SQL reads it; raises PermanentError when it is absent or too old."""
        rows = await self._rows(connection, _EXTENSION, extension)
        if not rows:
            raise PermanentError(
                f"{self._where}: the extension {extension} is not in the database: CREATE EXTENSION {extension}"
            )
        if rows[0]["version"] < oldest:
            raise PermanentError(f"{self._where}: {extension} is too old: ALTER EXTENSION {extension} UPDATE")
        return str(rows[0]["schema"])

    async def _statement_rows(self, connection: Connection, schema: str, *arguments: object) -> list[asyncpg.Record]:
        try:
            return await self._rows(connection, _SLOW_STATEMENTS.replace("{schema}", schema), *arguments)
        except ConflictError as e:
            raise PermanentError(
                f"{self._where}: {STATEMENTS} is not loaded: add it to shared_preload_libraries and restart the server"
            ) from e


def _counted(groups: Iterable[asyncpg.Record], kind: str) -> tuple[Counted, ...]:
    return tuple(_fact(Counted, row) for row in groups if row["kind"] == kind)


def _ratio(row: asyncpg.Record) -> float | None:
    if row["wasted_bytes"] is None:
        return None
    return min(1.0, row["wasted_bytes"] / row["bytes"]) if row["bytes"] else 0.0


def _facts(model: Any, rows: Iterable[asyncpg.Record]) -> Any:
    return tuple(_fact(model, row) for row in rows)


def _fact(model: Any, row: asyncpg.Record, **more: object) -> Any:
    """Return a fact of a row that may have columns of no interest."""
    known = {**dict(row.items()), **more}
    return model(**{name: value for name, value in known.items() if name in model.model_fields})
