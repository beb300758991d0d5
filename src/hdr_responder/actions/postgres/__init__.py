"""Actions and checks on the databases under ``targets.postgres``."""

from hdr_responder.actions.contract import AnyAction, AnyCheck
from hdr_responder.actions.postgres.blocking import BlockingChain, Unblocked
from hdr_responder.actions.postgres.configuration import SetConfig
from hdr_responder.actions.postgres.health import Ping, Reachable
from hdr_responder.actions.postgres.index_creation import CreateIndex
from hdr_responder.actions.postgres.queries import CancelQuery, LongQueries
from hdr_responder.actions.postgres.reindexing import Reindex
from hdr_responder.actions.postgres.statistics import (
    Bloat,
    Connections,
    ReplicationLag,
    Sizes,
    SlowStatements,
    VacuumState,
)
from hdr_responder.actions.postgres.termination import TerminateBlocker
from hdr_responder.actions.postgres.upkeep import Analyze, Vacuum

POSTGRES_ACTIONS: tuple[AnyAction, ...] = (
    Ping(),
    Connections(),
    BlockingChain(),
    TerminateBlocker(),
    LongQueries(),
    CancelQuery(),
    SlowStatements(),
    Sizes(),
    VacuumState(),
    Bloat(),
    ReplicationLag(),
    Analyze(),
    Vacuum(),
    Reindex(),
    CreateIndex(),
    SetConfig(),
)
POSTGRES_CHECKS: tuple[AnyCheck, ...] = (Unblocked(), Reachable())

__all__ = ["POSTGRES_ACTIONS", "POSTGRES_CHECKS"]
