"""What a target database tells of its load, its size and its upkeep; nothing here reads a row of any table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, Protocol

from hdr_responder.domain.ports.postgres.facts import Fact

StatementOrder = Literal["total", "mean"]
BloatMethod = Literal["statistics", "pgstattuple"]


class Counted(Fact):
    """How many connections have something in common; ``name`` is empty where the client gave none."""

    name: str
    connections: int


class IdleTransaction(Fact):
    """A session that holds a transaction open and does nothing in it, for ``seconds``."""

    pid: int
    usename: str
    application_name: str
    seconds: float


class Connections(Fact):
    """The clients of the whole server: the limit is the server's, not the database's.

    ``reserved`` slots of ``maximum`` are kept for superusers and for roles that may use them. ``by_application`` and
    ``by_role`` hold the largest groups, at most 20 each. ``idle_transactions`` are the oldest 20 of
    ``idle_in_transaction``.
    """

    used: int
    maximum: int
    reserved: int
    by_state: tuple[Counted, ...]
    by_application: tuple[Counted, ...]
    by_role: tuple[Counted, ...]
    idle_in_transaction: int
    idle_transactions: tuple[IdleTransaction, ...]


class Statement(Fact):
    """One normalised statement of this database since the statistics were reset; times in milliseconds.

    ``share`` is of all time spent in this database's statements, 0 to 1. ``cache_hit_ratio`` is None when it read no
    block. ``query`` is cut at 1000 characters.
    """

    query_id: str
    usename: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float
    rows: int
    share: float
    cache_hit_ratio: float | None
    temp_blocks: int
    query: str


class Statements(Fact):
    """The slowest statements, the slowest first."""

    reset_at: datetime | None
    statements: tuple[Statement, ...]


class TableSize(Fact):
    """Bytes on disk of a table; ``total_bytes`` includes its indexes and TOAST. ``rows`` is the planner's estimate."""

    schema_name: str
    table: str
    total_bytes: int
    table_bytes: int
    index_bytes: int
    toast_bytes: int
    rows: int


class IndexSize(Fact):
    """Bytes on disk of one index; ``scans`` since the statistics were reset. An invalid one serves no query."""

    schema_name: str
    table: str
    index: str
    bytes: int
    scans: int
    valid: bool


class Sizes(Fact):
    """The size of the database and its largest tables and indexes, without those of the system."""

    database: str
    database_bytes: int
    tables: tuple[TableSize, ...]
    indexes: tuple[IndexSize, ...]


class TableUpkeep(Fact):
    """When a table was last looked after; ``dead_ratio`` is dead rows of all rows, 0 to 1, by the server's estimate.

    ``xid_age`` is how many transactions ago its oldest row could have been written.
    """

    schema_name: str
    table: str
    live_rows: int
    dead_rows: int
    dead_ratio: float
    changed_since_analyze: int
    last_vacuum: datetime | None
    last_autovacuum: datetime | None
    last_analyze: datetime | None
    last_autoanalyze: datetime | None
    xid_age: int


class RunningVacuum(Fact):
    """A vacuum at work in this database; ``scanned`` is the part of the table that was read, 0 to 1."""

    pid: int
    schema_name: str
    table: str
    application_name: str
    automatic: bool
    phase: str
    scanned: float
    seconds: float


class VacuumState(Fact):
    """The upkeep of a database: the tables with most dead rows first.

    At ``freeze_max_age`` the server vacuums on its own whatever the settings say; far beyond it, it stops taking
    writes. ``xid_age`` is the database's.
    """

    autovacuum: bool
    xid_age: int
    freeze_max_age: int
    tables: tuple[TableUpkeep, ...]
    running: tuple[RunningVacuum, ...]


class RelationBloat(Fact):
    """How much of a table or an index is not in use.

    ``index`` is empty for a table. ``wasted_bytes`` and ``ratio`` (of ``bytes``, 0 to 1) are None where the method gave
    no answer.
    """

    schema_name: str
    table: str
    index: str
    bytes: int
    wasted_bytes: int | None
    ratio: float | None


class Bloat(Fact):
    """The largest tables and B-tree indexes with what they waste, most first; ``unjudged`` counts those not judged."""

    method: BloatMethod
    relations: tuple[RelationBloat, ...]
    unjudged: int


class Standby(Fact):
    """A client that receives the write-ahead log, and how far its replay is behind; ``lag_seconds`` None when idle."""

    application_name: str
    state: str
    sync_state: str
    lag_bytes: int | None
    lag_seconds: float | None


class ReplicationSlot(Fact):
    """A slot and the write-ahead log that the server keeps for it."""

    name: str
    active: bool
    retained_bytes: int | None
    wal_status: str


class Replication(Fact):
    """How replication stands, as the asked server sees it.

    On a primary ``standbys`` and ``slots`` are those it serves. On a standby ``lag_bytes`` and ``lag_seconds`` are its
    own: what it received and has not replayed, and the age of the last transaction it replayed (0 when it is even with
    what it received). ``receiving`` is whether it is connected to a primary, None on a primary.
    """

    primary: bool
    standbys: tuple[Standby, ...]
    slots: tuple[ReplicationSlot, ...]
    receiving: bool | None
    lag_bytes: int | None
    lag_seconds: float | None


class StatisticsCalls(Protocol):
    """Reads statistics."""

    async def connections(self) -> Connections:
        """Count the clients of the server; needs pg_read_all_stats."""

    async def slow_statements(self, order: StatementOrder, limit: int, min_calls: int) -> Statements:
        """Return the slowest statements of this database; needs pg_read_all_stats.

        Raises PermanentError when the extension pg_stat_statements (PostgreSQL 13's or newer) is not in the database,
        or is not preloaded.
        """

    async def sizes(self, limit: int) -> Sizes:
        """Return the size of the database and its largest ``limit`` tables and indexes; needs pg_read_all_stats."""

    async def vacuum_state(self, limit: int) -> VacuumState:
        """Return the upkeep of the ``limit`` tables with most dead rows; needs pg_read_all_stats."""

    async def bloat(self, method: BloatMethod, limit: int, within: timedelta) -> Bloat:
        """Judge the largest ``limit`` tables and the largest ``limit`` B-tree indexes, taking at most ``within``.

        ``statistics`` needs no right, but cannot judge what has never been analyzed, nor what we may not read: the
        server hides the widths of such columns. ``pgstattuple`` reads what it measures, needs pg_stat_scan_tables, and
        raises PermanentError when that extension is not in the database.
        """

    async def replication(self) -> Replication:
        """Tell how replication stands; needs pg_read_all_stats."""
