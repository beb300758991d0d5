"""The initial schema: deliveries, alerts, incidents, timeline, runs, outbox, switches and the job queue."""

from hdr_responder.adapters.store.migrations.script import run_queue_install, run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    run_sql("0001_initial.sql")
    run_queue_install()
