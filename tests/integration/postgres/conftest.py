"""One PostgreSQL with prepared transactions and the roles of the tests, and a database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.postgres.helping import Helped, help_database
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


@pytest.fixture(scope="session")
def contrib_server() -> Iterator[PostgresServer]:
    """The distribution's PostgreSQL, an older version than the wheel's, with pg_stat_statements loaded."""
    with run_postgres(
        max_connections=40, distribution=True, settings={"shared_preload_libraries": "pg_stat_statements"}
    ) as started:
        yield started


@pytest.fixture(params=["newest", "distribution"])
def helped(request: pytest.FixtureRequest) -> Iterator[Helped]:
    """A database of somebody's tables, and the script that makes our role there; on every version that can be had."""
    server: PostgresServer = request.getfixturevalue("server" if request.param == "newest" else "contrib_server")
    with help_database(server) as made:
        yield made


@pytest.fixture
def contrib(contrib_server: PostgresServer) -> Iterator[Helped]:
    """As ``helped``, where contrib extensions can be had."""
    with help_database(contrib_server) as made:
        yield made
