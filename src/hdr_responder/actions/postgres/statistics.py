"""What a database tells of its load, its size and its upkeep; none of this reads a row of any table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.postgres.rights import rights
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.postgres import READ_ROLE, SCAN_ROLE, Need
from hdr_responder.domain.ports.postgres.statistics import (
    BloatMethod,
    Counted,
    IdleTransaction,
    IndexSize,
    RelationBloat,
    ReplicationSlot,
    RunningVacuum,
    Standby,
    Statement,
    StatementOrder,
    TableSize,
    TableUpkeep,
)

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class TargetParameters(Parameters):
    """Where to look."""

    target: str = Field(description="A name under targets.postgres.")


class ListingParameters(TargetParameters):
    """Where to look, and how much to tell."""

    limit: int = Field(default=10, ge=1, le=50, description="Most entries of a listing; the largest are told.")


class ConnectionsResult(Result):
    """The clients of the whole server, since its limit is for all of them; groups hold the 20 largest of a kind."""

    used: int
    maximum: int = Field(description="max_connections of the server.")
    reserved: int = Field(description="Slots of the maximum that only superusers and reserved roles get.")
    free: int = Field(description="What is left for everybody else.")
    used_ratio: float = Field(description="Used of what is for everybody, 0 to 1 and beyond.")
    by_state: tuple[Counted, ...]
    by_application: tuple[Counted, ...]
    by_role: tuple[Counted, ...]
    idle_in_transaction: int
    oldest_idle_seconds: float = Field(description="How long the oldest of these has done nothing; 0 without one.")
    idle_transactions: tuple[IdleTransaction, ...] = Field(description="The oldest 20 of these.")
    summary: str


class Connections(Read[TargetParameters, ConnectionsResult]):
    """Counts connections (manual C1: if the database is the trouble, count them)."""

    name = "postgres.connections"
    summary = "Count the server's connections by state, application and role, against its limit."
    example = """
id: connections
action: postgres.connections
with: {target: hdr_empire}
"""
    parameters = TargetParameters
    result = ConnectionsResult
    default_timeout_seconds = 30.0

    def permissions(self, params: TargetParameters) -> tuple[Permission, ...]:
        """Return the right to see the sessions of other roles."""
        return rights(params.target, Need(READ_ROLE))

    async def execute(self, ctx: StepContext, params: TargetParameters) -> ConnectionsResult:
        """Raise UnavailableError also when the server has no connection left for us, which it then says."""
        found = await ctx.systems.database(params.target).connections()
        general = max(found.maximum - found.reserved, 1)
        oldest = found.idle_transactions[0].seconds if found.idle_transactions else 0.0
        idle = f", {found.idle_in_transaction} idle in a transaction, the oldest for {oldest:.0f} s"
        return ConnectionsResult(
            used=found.used,
            maximum=found.maximum,
            reserved=found.reserved,
            free=max(general - found.used, 0),
            used_ratio=found.used / general,
            by_state=found.by_state,
            by_application=found.by_application,
            by_role=found.by_role,
            idle_in_transaction=found.idle_in_transaction,
            oldest_idle_seconds=oldest,
            idle_transactions=found.idle_transactions,
            summary=f"{found.used} of {general} connections are used" + (idle if found.idle_in_transaction else ""),
        )


class SlowStatementsParameters(ListingParameters):
    """Which statements are slow: by all the time they took, or by the time of one call."""

    by: StatementOrder = "total"
    min_calls: int = Field(default=1, ge=1, description="Statements called less often are left out.")


class SlowStatementsResult(Result):
    """Normalised statements, the slowest first; times in milliseconds."""

    statements: tuple[Statement, ...]
    reset_at: datetime | None = Field(description="Since when the server counts; None when nothing was found.")
    summary: str


class SlowStatements(Read[SlowStatementsParameters, SlowStatementsResult]):
    """Asks pg_stat_statements (manual C7: by total_exec_time, as it is called since PostgreSQL 13)."""

    name = "postgres.slow_statements"
    summary = "Find the statements that took most time, from pg_stat_statements."
    example = """
id: slow
action: postgres.slow_statements
with: {target: hdr_empire, by: total}
"""
    parameters = SlowStatementsParameters
    result = SlowStatementsResult
    default_timeout_seconds = 30.0

    def permissions(self, params: SlowStatementsParameters) -> tuple[Permission, ...]:
        """Return the right to see the statements of other roles."""
        return rights(params.target, Need(READ_ROLE))

    async def execute(self, ctx: StepContext, params: SlowStatementsParameters) -> SlowStatementsResult:
        """Raise PermanentError when the extension is absent or not preloaded."""
        server = ctx.systems.database(params.target)
        found = await server.slow_statements(params.by, params.limit, params.min_calls)
        summary = "no statement was counted"
        if found.statements:
            first = found.statements[0]
            summary = (
                f"the slowest of {len(found.statements)}: {first.calls} calls, {first.mean_ms:.1f} ms each, "
                f"{first.share:.0%} of all time: {first.query[:120]}"
            )
        return SlowStatementsResult(statements=found.statements, reset_at=found.reset_at, summary=summary)


class SizesResult(Result):
    """Bytes on disk."""

    database: str
    database_bytes: int
    tables: tuple[TableSize, ...]
    indexes: tuple[IndexSize, ...]
    summary: str


class Sizes(Read[ListingParameters, SizesResult]):
    """Tells how large a database is (manual D2)."""

    name = "postgres.sizes"
    summary = "Tell the size of a database, its largest tables and its largest indexes."
    example = """
id: sizes
action: postgres.sizes
with: {target: hdr_empire}
"""
    parameters = ListingParameters
    result = SizesResult
    default_timeout_seconds = 30.0

    def permissions(self, params: ListingParameters) -> tuple[Permission, ...]:
        """Return the right to see sizes."""
        return rights(params.target, Need(READ_ROLE))

    async def execute(self, ctx: StepContext, params: ListingParameters) -> SizesResult:
        """Raise UnavailableError also when a table is locked exclusively for longer than we wait."""
        found = await ctx.systems.database(params.target).sizes(params.limit)
        largest = f", the largest table {_named(found.tables[0])}" if found.tables else ""
        size = f" with {readable(found.tables[0].total_bytes)}" if found.tables else ""
        summary = f"database {found.database} has {readable(found.database_bytes)}{largest}{size}"
        return SizesResult(**dict(found), summary=summary)


class VacuumStateResult(Result):
    """The upkeep of a database, the tables with most dead rows first."""

    autovacuum: bool = Field(description="Whether the server vacuums by itself at all.")
    xid_age: int = Field(description="Age of the database's oldest row in transactions.")
    freeze_max_age: int = Field(description="From which age on the server vacuums whatever the settings say.")
    freeze_ratio: float = Field(description="The age of this age; well above 1 autovacuum does not keep up.")
    dead_ratio: float = Field(description="The highest share of dead rows among the listed tables, 0 to 1.")
    tables: tuple[TableUpkeep, ...]
    running: tuple[RunningVacuum, ...]
    summary: str


class VacuumState(Read[ListingParameters, VacuumStateResult]):
    """Tells whether the vacuum keeps up (manual D2)."""

    name = "postgres.vacuum_state"
    summary = "Tell when tables were last vacuumed and analyzed, how many rows are dead, and what vacuums run."
    example = """
id: upkeep
action: postgres.vacuum_state
with: {target: hdr_empire}
"""
    parameters = ListingParameters
    result = VacuumStateResult
    default_timeout_seconds = 30.0

    def permissions(self, params: ListingParameters) -> tuple[Permission, ...]:
        """Return the right to see the progress of other roles' vacuums."""
        return rights(params.target, Need(READ_ROLE))

    async def execute(self, ctx: StepContext, params: ListingParameters) -> VacuumStateResult:
        """Raise ForbiddenError without pg_read_all_stats."""
        found = await ctx.systems.database(params.target).vacuum_state(params.limit)
        freeze = found.xid_age / found.freeze_max_age
        worst = found.tables[0] if found.tables else None
        dead = f"; {_named(worst)} has most dead rows, {worst.dead_rows} ({worst.dead_ratio:.0%})" if worst else ""
        off = "" if found.autovacuum else "autovacuum is off; "
        return VacuumStateResult(
            **dict(found),
            freeze_ratio=freeze,
            dead_ratio=max((t.dead_ratio for t in found.tables), default=0.0),
            summary=f"{off}{len(found.running)} vacuums run, age {freeze:.0%} of the limit{dead}",
        )


class BloatParameters(ListingParameters):
    """How to judge: by the planner's statistics, or by reading the tables with the extension pgstattuple."""

    method: BloatMethod = "statistics"
    within: Annotated[Duration, Field(gt=timedelta(), le=timedelta(minutes=10))] = timedelta(seconds=30)


class BloatResult(Result):
    """What tables and indexes waste, most first."""

    estimate: bool = Field(description="True by statistics; measured otherwise, tables approximately.")
    relations: tuple[RelationBloat, ...]
    wasted_bytes: int = Field(description="Of all that could be judged.")
    unjudged: int = Field(description="How many gave no answer: never analyzed, or their columns may not be seen.")
    summary: str


class Bloat(Read[BloatParameters, BloatResult]):
    """Judges how much of the largest tables and B-tree indexes is not in use (manual D6)."""

    name = "postgres.bloat"
    summary = "Estimate by statistics, or measure with pgstattuple, what the largest tables and indexes waste."
    example = """
id: bloat
action: postgres.bloat
with: {target: hdr_empire}
"""
    parameters = BloatParameters
    result = BloatResult
    default_timeout_seconds = 90.0

    def permissions(self, params: BloatParameters) -> tuple[Permission, ...]:
        """Return the right to read tables for their measures, none for an estimate."""
        return rights(params.target, Need(SCAN_ROLE)) if params.method == "pgstattuple" else ()

    async def execute(self, ctx: StepContext, params: BloatParameters) -> BloatResult:
        """Raise PermanentError when pgstattuple is asked for and absent."""
        found = await ctx.systems.database(params.target).bloat(params.method, params.limit, params.within)
        wasted = sum(r.wasted_bytes or 0 for r in found.relations)
        estimate = found.method == "statistics"
        judged = len(found.relations) - found.unjudged
        told = "by an estimate, " if estimate else ""
        unjudged = f"; {found.unjudged} could not be judged" if found.unjudged else ""
        return BloatResult(
            estimate=estimate,
            relations=found.relations,
            wasted_bytes=wasted,
            unjudged=found.unjudged,
            summary=f"{told}{judged} tables and indexes waste {readable(wasted)}{unjudged}",
        )


class ReplicationLagResult(Result):
    """How replication stands, as the asked server sees it."""

    primary: bool
    standbys: tuple[Standby, ...] = Field(description="Those that the asked server feeds.")
    slots: tuple[ReplicationSlot, ...]
    receiving: bool | None = Field(description="Whether a standby is connected to its primary; None on a primary.")
    lag_bytes: int = Field(description="Of the slowest standby, or of the asked one itself.")
    lag_seconds: float | None = Field(
        description="As lag_bytes, of a standby the age of what it replayed last; or unknown."
    )
    summary: str


class ReplicationLag(Read[TargetParameters, ReplicationLagResult]):
    """Tells how far standbys are behind."""

    name = "postgres.replication_lag"
    summary = "Tell how far standbys are behind the primary, in bytes and seconds; of a standby its own lag."
    example = """
id: replication
action: postgres.replication_lag
with: {target: hdr_empire}
"""
    parameters = TargetParameters
    result = ReplicationLagResult
    default_timeout_seconds = 30.0

    def permissions(self, params: TargetParameters) -> tuple[Permission, ...]:
        """Return the right to see the positions of standbys."""
        return rights(params.target, Need(READ_ROLE))

    async def execute(self, ctx: StepContext, params: TargetParameters) -> ReplicationLagResult:
        """Raise ForbiddenError without pg_read_all_stats."""
        found = await ctx.systems.database(params.target).replication()
        behind = [s.lag_bytes or 0 for s in found.standbys] if found.primary else [found.lag_bytes or 0]
        late = [_lateness(s) for s in found.standbys] if found.primary else [found.lag_seconds]
        known = [seconds for seconds in late if seconds is not None]
        lag_bytes, lag_seconds = max([0, *behind]), max(known, default=None if late else 0.0)
        who = f"{len(found.standbys)} standbys, the slowest" if found.primary else "this standby is"
        seconds = "an unknown time" if lag_seconds is None else f"{lag_seconds:.1f} s"
        lost = " and is not connected to its primary" if found.receiving is False else ""
        return ReplicationLagResult(
            primary=found.primary,
            standbys=found.standbys,
            slots=found.slots,
            receiving=found.receiving,
            lag_bytes=lag_bytes,
            lag_seconds=lag_seconds,
            summary=f"{who} {readable(lag_bytes)} and {seconds} behind{lost}",
        )


def _lateness(standby: Standby) -> float | None:
    """Return how late a standby is; the server tells nothing of one that is even and idle."""
    return 0.0 if standby.lag_seconds is None and standby.lag_bytes == 0 else standby.lag_seconds


def readable(size: int) -> str:
    """Return a number of bytes as people read it (``12.3 GiB``)."""
    amount, unit = float(size), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{size} {_UNITS[0]}"


def _named(table: TableSize | TableUpkeep) -> str:
    return f"{table.schema_name}.{table.table}"
