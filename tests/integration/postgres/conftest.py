"""One PostgreSQL with prepared transactions and the roles of the tests, and a database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.postgres.sessions import ROLES, TABLES, Database
from tests.services.postgres import PostgresServer, run_postgres


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with run_postgres(max_connections=40) as started:
        started.execute("ALTER SYSTEM SET max_prepared_transactions = 8")
        started.execute(ROLES)
        started.restart()
        yield started


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    with server.fresh_database() as dsn:
        server.execute(TABLES, database=dsn.rsplit("/", 1)[1])
        made = Database(server, dsn)
        try:
            yield made
        finally:
            await made.close()
