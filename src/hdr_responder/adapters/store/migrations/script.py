"""Lets a migration run whole SQL files: asyncpg takes several statements at once only outside prepared statements."""

from importlib import resources
from typing import Any

from alembic import op
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment

from hdr_responder.adapters.store.jobs import SETTINGS

_VERSIONS = "hdr_responder.adapters.store.migrations.versions"


def run_sql(name: str) -> None:
    """Run the SQL file ``name`` of the versions folder in the migration's transaction."""
    _execute((resources.files(_VERSIONS) / name).read_text(encoding="utf-8"))


def run_queue_install() -> None:
    """Create PgQueuer's tables as the locked version of the library declares them."""
    _execute(QueryBuilderEnvironment(SETTINGS).build_install_query(create_schema=False))


def _execute(sql: str) -> None:
    async def run(connection: Any) -> None:
        await connection.execute(sql)

    dbapi_connection: Any = op.get_bind().connection.dbapi_connection
    dbapi_connection.run_async(run)
