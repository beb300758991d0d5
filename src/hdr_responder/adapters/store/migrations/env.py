"""Alembic's entry: one transaction under one advisory lock, so that replicas starting together migrate once."""

from alembic import context
from sqlalchemy import Connection, text

MIGRATION_LOCK = 0x6864_7200
"""Key of the advisory lock; any constant of our own does."""


def _run(connection: Connection) -> None:
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    context.configure(connection=connection, transaction_per_migration=False)
    context.run_migrations()


_run(context.config.attributes["connection"])
