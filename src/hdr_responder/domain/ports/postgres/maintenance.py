"""Upkeep of single tables and indexes: what they are, and the commands that PostgreSQL runs outside transactions.

Every command runs in a session that carries a name (`Call.session`), by which a later look finds it: a session holds no
fence, and a worker that dies leaves the server working.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Protocol

from pydantic import AfterValidator, Field

from hdr_responder.domain.ports.postgres.facts import Fact

_NAME_BYTES = 63


def _name(text: str) -> str:
    if not text or len(text.encode("utf-8", "replace")) > _NAME_BYTES:
        raise ValueError(f"a PostgreSQL name has 1 to {_NAME_BYTES} bytes")
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


Identifier = Annotated[str, AfterValidator(_name)]
"""The name of a schema, table, index or column exactly as the server stores it: never quoted, never folded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table or an index by its schema and name, as the server stores them."""

    schema_name: str
    name: str

    def __str__(self) -> str:
        return f"{quoted(self.schema_name)}.{quoted(self.name)}"


def quoted(name: str) -> str:
    """Return a name as SQL reads it, for messages and for the resources of rights; statements quote on the server."""
    plain = name.isascii() and name.isidentifier() and name == name.lower()
    return name if plain else '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How a command runs: the name of its session, and how long it may run and wait for each lock."""

    session: str
    within: timedelta
    lock_timeout: timedelta


class TableState(Fact):
    """A table at one moment of the server's clock; ``oid`` tells it from a later one of the same name.

    ``last_vacuum`` and ``last_analyze`` are those that somebody ordered, not autovacuum's. ``partitioned`` ones have no
    storage of their own.
    """

    oid: int
    partitioned: bool
    last_vacuum: datetime | None
    last_analyze: datetime | None
    now: datetime
    server_started_at: datetime


class IndexColumn(Fact):
    """A column of a B-tree index."""

    column: Identifier
    descending: bool = Field(default=False, description="Whether the largest values come first.")


class IndexState(Fact):
    """An index; ``oid`` changes when it is rebuilt concurrently. ``columns`` is None when it indexes expressions.

    ``plain`` is whether it is a B-tree over all rows that enforces nothing and adds no columns. ``comment`` is empty
    without one.
    """

    oid: int
    schema_name: str
    name: str
    table_oid: int
    table: str
    valid: bool
    partitioned: bool
    plain: bool
    columns: tuple[IndexColumn, ...] | None
    comment: str
    bytes: int


class Leftover(Fact):
    """An invalid index, as an interrupted build leaves it on a table: it costs every write and serves no query."""

    oid: int
    schema_name: str
    name: str


class MaintenanceCalls(Protocol):
    """Looks at tables and indexes and looks after them.

    What names a table or index raises ForbiddenError for a schema that is not among ``targets.postgres.<name>.schemas``
    and NotFoundError for what is not there. Commands raise what the server refuses before it begins as it is; after
    that, whatever goes wrong is AmbiguousError. They need to maintain the table, or to own it (indexes that are made or
    dropped), and the use of its schema.
    """

    async def table(self, table: Relation) -> TableState:
        """Look at a table or materialised view; raises ConflictError for another kind of relation."""

    async def index(self, index: Relation) -> IndexState:
        """Look at an index; raises ConflictError for another kind of relation."""

    async def leftovers(self, table_oid: int) -> tuple[Leftover, ...]:
        """Return the invalid indexes of a table, none while somebody builds an index on it; needs pg_read_all_stats."""

    async def session(self, name: str) -> str | None:
        """Tell what the session of that name does and how far it is, None when there is none.

        Needs pg_read_all_stats.
        """

    async def analyze(self, table: Relation, call: Call) -> None:
        """Gather the planner's statistics."""

    async def vacuum(self, table: Relation, call: Call, *, analyze: bool, truncate: bool, gentle: bool) -> None:
        """Reclaim dead rows without locking anybody out.

        ``truncate`` also gives empty pages at the end back, for which it locks the table for a moment; ``gentle``
        pauses as autovacuum does.
        """

    async def reindex(self, index: Relation, call: Call) -> None:
        """Build the index anew beside the old one and swap them, without locking out writes."""

    async def create_index(
        self, index: Relation, table: Relation, columns: tuple[IndexColumn, ...], comment: str, call: Call
    ) -> None:
        """Build a B-tree without locking out writes, then comment on it; one that exists already keeps what it is."""

    async def drop_index(self, oid: int, call: Call) -> None:
        """Drop the index with that ``oid`` without locking out writes; raises NotFoundError when it is gone."""
