"""What one command needs: the records and operations of the database that a service uses, for as long as it takes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hdr_responder.adapters.artifacts import ObjectStoreArtifacts
from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import open_pool
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.app.database import joined_database
from hdr_responder.app.documents import load_documents
from hdr_responder.app.engine import Engine, Parts, build_engine
from hdr_responder.app.people import PeopleLanes, build_people
from hdr_responder.app.systems import Outside, build_outside
from hdr_responder.domain.clock import Clock, SystemClock
from hdr_responder.domain.ports.artifacts import ArtifactBytes
from hdr_responder.domain.ports.operations import Operations
from hdr_responder.domain.ports.records import Records
from hdr_responder.domain.ports.store import Store
from hdr_responder.settings import Settings
from hdr_responder.telemetry import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open session."""

    settings: Settings
    store: Store
    records: Records
    operations: Operations
    artifacts: ArtifactBytes
    outside: Outside
    people: PeopleLanes
    engine: Engine
    clock: Clock


@asynccontextmanager
async def open_session(settings: Settings) -> AsyncIterator[Session]:
    """Join the database.

    Raises UnavailableError when there is none to join, ConfigError when settings or documents are wrong.
    """
    url = await joined_database(settings)
    pool = await open_pool(url, max_size=4)
    clock = SystemClock()
    store, records = PostgresStore(pool), PostgresRecords(pool)
    people = build_people(settings)
    outside = build_outside(settings, store=store, people=None, clock=clock)
    artifacts = ObjectStoreArtifacts.open(settings.artifacts_url)
    try:
        parts = Parts(
            settings=settings,
            documents=load_documents(settings),
            store=store,
            records=records,
            artifacts=artifacts,
            outside=outside,
            people=people,
            metrics=Metrics(),
            clock=clock,
            new_id=uuid.uuid4,
        )
        engine = build_engine(parts)
        yield Session(
            settings=settings,
            store=store,
            records=records,
            operations=engine.operations,
            artifacts=artifacts,
            outside=outside,
            people=people,
            engine=engine,
            clock=clock,
        )
    finally:
        await outside.close()
        await people.close()
        await pool.close()
