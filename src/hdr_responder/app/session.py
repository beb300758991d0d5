"""What one command needs: the records and operations of the database that a service uses, for as long as it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import open_pool
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.app.database import joined_database
from hdr_responder.app.documents import load_documents
from hdr_responder.domain.clock import Clock, SystemClock
from hdr_responder.domain.ports.operations import Operations
from hdr_responder.domain.ports.records import Records
from hdr_responder.domain.ports.store import Store
from hdr_responder.engine.ledger import Lanes
from hdr_responder.engine.operations import PeopleOperations
from hdr_responder.engine.starter import Starter
from hdr_responder.errors import ConflictError
from hdr_responder.settings import Settings
from hdr_responder.telemetry import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open session."""

    settings: Settings
    store: Store
    records: Records
    operations: Operations
    clock: Clock


@asynccontextmanager
async def open_session(settings: Settings) -> AsyncIterator[Session]:
    """Join the database; documents are read only by what needs them, so that pausing works while one is broken.

    Raises UnavailableError when there is no database to join.
    """
    pool = await open_pool(await joined_database(settings), max_size=4)
    clock, store = SystemClock(), PostgresStore(pool)
    operations = PeopleOperations(
        store=store,
        documents=lambda: load_documents(settings),
        starter=_no_starter,
        clock=clock,
        lanes=Lanes(slack=settings.slack.bot_token is not None, pagerduty=settings.pagerduty.routing_key is not None),
        measures=Metrics(),
    )
    try:
        yield Session(settings=settings, store=store, records=PostgresRecords(pool), operations=operations, clock=clock)
    finally:
        await pool.close()


def _no_starter() -> Starter:
    raise ConflictError("a run is asked for in Slack or through the API: the service plans it")
