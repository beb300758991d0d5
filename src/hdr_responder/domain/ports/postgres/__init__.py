"""What the responder may ask of a target database, so that actions know sessions and tables but no driver.

Every method raises UnavailableError when the server cannot be reached in time, ForbiddenError when the server refuses
us or a right is missing, and names the target, never its address or secrets.
"""

from typing import Protocol

from hdr_responder.domain.ports.postgres.access import (
    READ_ROLE,
    SCAN_ROLE,
    SIGNAL_ROLE,
    AccessCalls,
    Need,
    Right,
    ServerInfo,
)
from hdr_responder.domain.ports.postgres.configuration import ConfigurationCalls, ParameterState
from hdr_responder.domain.ports.postgres.maintenance import (
    Call,
    Identifier,
    IndexColumn,
    IndexState,
    Leftover,
    MaintenanceCalls,
    Relation,
    TableState,
)
from hdr_responder.domain.ports.postgres.sessions import (
    PREPARED_PID,
    Blocker,
    Blocking,
    Judged,
    LongQueries,
    QueryId,
    QueryRules,
    QueryVerdict,
    RunningQuery,
    Safety,
    SessionCalls,
    SessionId,
    Standing,
    WaitingSession,
)
from hdr_responder.domain.ports.postgres.statistics import StatisticsCalls


class PostgresServer(AccessCalls, SessionCalls, StatisticsCalls, MaintenanceCalls, ConfigurationCalls, Protocol):
    """One target database: all families of calls."""

    @property
    def name(self) -> str:
        """The name in ``targets.postgres``."""


__all__ = [
    "PREPARED_PID",
    "READ_ROLE",
    "SCAN_ROLE",
    "SIGNAL_ROLE",
    "Blocker",
    "Blocking",
    "Call",
    "Identifier",
    "IndexColumn",
    "IndexState",
    "Judged",
    "Leftover",
    "LongQueries",
    "Need",
    "ParameterState",
    "PostgresServer",
    "QueryId",
    "QueryRules",
    "QueryVerdict",
    "Relation",
    "Right",
    "RunningQuery",
    "Safety",
    "ServerInfo",
    "SessionId",
    "Standing",
    "TableState",
    "WaitingSession",
]
