"""Our jobs in PgQueuer's tables: enqueued in our own transactions, named by `Job`, the key as payload.

PgQueuer reads the names of its tables from the environment, also from variables as common as ``CHANNEL``: they are
given here instead, so that replicas and migrations always mean the same tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel
from pgqueuer.ports.driver import Driver

from hdr_responder.adapters.store.failures import translated
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.ports.store import Job

SQL = load("jobs")
CHANNEL = Channel("ch_pgqueuer")

SETTINGS = DBSettings(
    prefix="",
    db_schema=None,
    channel=CHANNEL,
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
    durability=Durability.durable,
)

_URGENT = {Job.NOTIFY_PAGERDUTY: 2, Job.INTAKE: 1, Job.DEADLINE: 1}
"""Workers take jobs of a higher number first: waking people must not wait behind a storm's other work."""


def queries(driver: Driver) -> Queries:
    """Return PgQueuer's statements on a driver."""
    return Queries(
        driver,
        qbe=QueryBuilderEnvironment(SETTINGS),
        qbq=QueryQueueBuilder(SETTINGS),
        qbs=QuerySchedulerBuilder(SETTINGS),
    )


async def enqueue_one(session: Session, job: Job) -> None:
    """Make sure that a job without a key runs after this transaction, sharing one that is still queued.

    A burst of commits would otherwise leave thousands of jobs of which the first does the work of all.
    """
    if await session.value(SQL["claim_queued"], job.value) is None:
        await enqueue(session, [(job, "")])


async def enqueue(session: Session, jobs: Sequence[tuple[Job, str]], after: timedelta | None = None) -> None:
    """Enqueue jobs with their keys in the session's transaction, to be run ``after`` from now.

    Never deduplicated: a job that was picked may already have read its rows, so each commit needs a job of its own.
    """
    if not jobs:
        return
    with translated():
        await queries(AsyncpgDriver(session.connection)).enqueue(  # type: ignore[arg-type]
            [job.value for job, _ in jobs],
            [key.encode() for _, key in jobs],
            [_URGENT.get(job, 0) for job, _ in jobs],
            [after] * len(jobs),
        )
