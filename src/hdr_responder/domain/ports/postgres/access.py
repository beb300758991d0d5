"""Who answers, and what our role there may do: too little fails a step at night, too much is a danger all day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from hdr_responder.domain.ports.postgres.facts import Fact

READ_ROLE = "pg_read_all_stats"
SIGNAL_ROLE = "pg_signal_backend"
SCAN_ROLE = "pg_stat_scan_tables"

EXECUTE = "execute"
SELECT = "select"
CREATE = "create"
USAGE = "usage"
MAINTAIN = "maintain"
OWNER = "owner"
ALTER_SYSTEM = "alter system"


class ServerInfo(Fact):
    """What a server says of itself; ``latency_seconds`` includes connecting."""

    version: str
    primary: bool
    started_at: datetime
    latency_seconds: float


class Right(Protocol):
    """A right to ask about; a step's `Permission` is one.

    Without a resource the verb is a role to be a member of (``pg_signal_backend``). Else it is a privilege:
    ``execute`` on a function with its signature, ``select`` on a relation, ``usage`` of and ``create`` in a schema,
    ``alter system`` on a parameter, ``maintain`` on a table. Before PostgreSQL 17, which has no such privilege, that
    means ``owner``: a member of the role that owns the table.
    """

    @property
    def verb(self) -> str:
        """The role or privilege."""

    @property
    def resource(self) -> str:
        """What the privilege is held on, quoted as in SQL where needed; empty for a role."""


class Need(NamedTuple):
    """A right by itself."""

    verb: str
    resource: str = ""


class AccessCalls(Protocol):
    """Asks who answers, and about ourselves."""

    async def ping(self) -> ServerInfo:
        """Connect, ask one question, leave."""

    async def missing(self, permissions: Sequence[Right]) -> tuple[str, ...]:
        """Return those of ``permissions`` that we lack, as text and in their order; what does not exist is lacking."""

    async def excess(self, needed: Sequence[Right] = ()) -> tuple[str, ...]:
        """Return what our role could do beyond ``needed`` that an intruder would use, as text; empty when nothing.

        Attributes (superuser, createrole ...), predefined roles that read or write all data or run programs, tables
        that it may write, what it owns, and parameters that it may alter.
        """
