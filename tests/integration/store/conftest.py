"""A migrated database and a store on it, for each test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.migrate import migrate
from hdr_responder.adapters.store.pool import Pool, open_pool
from tests.integration.pools import close_pool
from tests.services.postgres import PostgresServer


@pytest.fixture
def store_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Address of a migrated, empty database of the test's own."""
    postgres_server.ensure_running()
    template = postgres_server.template("store_template", _migrate)
    with postgres_server.fresh_database(template=template) as url:
        yield url


@pytest.fixture
async def pool(store_url: str) -> AsyncIterator[Pool]:
    """A pool on that database."""
    opened = await open_pool(store_url, max_size=16)
    yield opened
    await close_pool(opened)


@pytest.fixture
def store(pool: Pool) -> PostgresStore:
    """A store on that pool."""
    return PostgresStore(pool)


def _migrate(url: str) -> None:
    """Migrate in a thread of its own: a fixture may be set up where a loop already runs."""
    thread = threading.Thread(target=lambda: asyncio.run(migrate(url)))
    thread.start()
    thread.join()
