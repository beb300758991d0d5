"""Retention: what only serves to repeat, check or explain recent work does not grow for ever.

Incidents, alerts, runs, timeline and artifacts are kept: they are the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.adapters.store.transact import transact
from hdr_responder.domain.clock import Clock

SQL = load("prune")

BATCH = 2000
"""Rows a transaction, so that nobody waits long for the locks of one."""
MAX_BATCHES = 50
"""Batches of one kind a call; what is left goes with the next call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long to keep. Deliveries that wait and notifications that are pending are kept whatever their age."""

    deliveries: timedelta = timedelta(days=30)
    notifications: timedelta = timedelta(days=30)
    inbound_events: timedelta = timedelta(days=1)
    jobs: timedelta = timedelta(days=1)


class Prune:
    """Deletes what is older than its retention, in small batches."""

    def __init__(self, pool: Pool, clock: Clock, retention: Retention) -> None:
        self._pool = pool
        self._clock = clock
        self._retention = retention

    async def __call__(self) -> Mapping[str, int]:
        """Return how many rows of each kind were deleted."""
        now, keep = self._clock.now(), self._retention
        ages = {
            "deliveries": keep.deliveries,
            "notifications": keep.notifications,
            "inbound_events": keep.inbound_events,
            "job_log": keep.jobs,
            "failed_jobs": keep.jobs,
        }
        return {kind: await self._delete(kind, now - age) for kind, age in ages.items()}

    async def _delete(self, kind: str, before: datetime) -> int:
        deleted = 0
        for _ in range(MAX_BATCHES):
            async with transact(self._pool) as connection:
                count = await Session(connection).execute(SQL[kind], before, BATCH)
            deleted += count
            if count < BATCH:
                break
        return deleted
