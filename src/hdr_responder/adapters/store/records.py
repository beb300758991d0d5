"""Reading records back, page by page; every method shows one moment."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TypeVar

import asyncpg

from hdr_responder.adapters.store import alerts, artifacts, cursors, deliveries, incidents, runs, timeline
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.adapters.store.transact import transact
from hdr_responder.domain.alerts import Occurrence
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.ports.records import IncidentFilter, IncidentRecord, Page, PageRequest, StoreHealth
from hdr_responder.domain.ports.store import Artifact
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Run, RunStatus, Step
from hdr_responder.domain.timeline import TimelineEntry
from hdr_responder.errors import NotFoundError

SQL = load("records")

FIRST_ALERTS = 100
"""How many alerts an incident is shown with."""

T = TypeVar("T")


class PostgresRecords:
    """The `Records` port on a pool, which stays its owner's."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def incidents(self, which: IncidentFilter, page: PageRequest) -> Page[Incident]:
        """Return incidents, newest first."""
        limit, before = cursors.checked_limit(page), cursors.number("incidents", page.cursor)
        asked = (list(which.statuses), list(which.priorities), which.service, before, limit + 1)
        async with self._reading() as session:
            rows = await session.fetch(incidents.SQL["page"], *asked)
        return _page(rows, limit, incidents.to_incident, lambda row: cursors.encode("incidents", row["id"]))

    async def incident(self, incident_id: int) -> IncidentRecord:
        """Return one with its details in five queries; raises NotFoundError."""
        async with self._reading() as session:
            row = await session.row(incidents.SQL["get"], incident_id)
            if row is None:
                raise incidents.not_found(incident_id)
            first = await session.fetch(alerts.SQL["page"], incident_id, None, FIRST_ALERTS)
            found = [runs.to_run(r) for r in await session.fetch(runs.SQL["of_incident"], incident_id)]
            steps = [runs.to_step(r) for r in await session.fetch(runs.SQL["steps_of_incident"], incident_id)]
            evidence = await session.fetch(artifacts.SQL["of_incident"], incident_id)
        return IncidentRecord(
            incident=incidents.to_incident(row),
            alerts=tuple(alerts.to_occurrence(r) for r in first),
            runs=tuple((run, tuple(s for s in steps if s.run_id == run.id)) for run in found),
            artifacts=tuple(artifacts.to_artifact(r) for r in evidence),
        )

    async def alerts(self, incident_id: int, page: PageRequest) -> Page[Occurrence]:
        """Return an incident's alerts, oldest first."""
        limit, after = cursors.checked_limit(page), cursors.number("alerts", page.cursor)
        async with self._reading() as session:
            rows = await session.fetch(alerts.SQL["page"], incident_id, after, limit + 1)
        return _page(rows, limit, alerts.to_occurrence, lambda row: cursors.encode("alerts", row["id"]))

    async def timeline(self, incident_id: int, page: PageRequest) -> Page[TimelineEntry]:
        """Return an incident's timeline in order."""
        limit, after = cursors.checked_limit(page), cursors.number("timeline", page.cursor)
        async with self._reading() as session:
            rows = await session.fetch(timeline.SQL["of_incident"], incident_id, after or 0, limit + 1)
        return _page(rows, limit, timeline.to_entry, lambda row: cursors.encode("timeline", row["id"]))

    async def runs(self, statuses: tuple[RunStatus, ...], page: PageRequest) -> Page[Run]:
        """Return runs, newest first."""
        limit, before = cursors.checked_limit(page), cursors.moment("runs", page.cursor)
        async with self._reading() as session:
            rows = await session.fetch(runs.SQL["page"], list(statuses), *before, limit + 1)
        return _page(rows, limit, runs.to_run, lambda row: cursors.encode("runs", row["created_at"], row["id"]))

    async def run(self, run_id: uuid.UUID) -> tuple[Run, tuple[Step, ...]]:
        """Return one run and its steps; raises NotFoundError."""
        async with self._reading() as session:
            row = await session.row(runs.SQL["get"], run_id)
            if row is None:
                raise runs.run_not_found(run_id)
            steps = await session.fetch(runs.SQL["steps"], run_id)
        return runs.to_run(row), tuple(runs.to_step(step) for step in steps)

    async def runs_between(self, since: datetime, until: datetime, limit: int) -> list[tuple[Run, Incident]]:
        """Return the runs created in a period (``until`` excluded) with their incidents, oldest first."""
        async with self._reading() as session:
            found = [runs.to_run(row) for row in await session.fetch(runs.SQL["between"], since, until, limit)]
            rows = await session.fetch(incidents.SQL["by_ids"], sorted({run.incident_id for run in found}))
        of = {row["id"]: incidents.to_incident(row) for row in rows}
        return [(run, of[run.incident_id]) for run in found]

    async def deliveries(self, statuses: tuple[str, ...], page: PageRequest) -> Page[Delivery]:
        """Return deliveries without their bodies, newest first."""
        limit, before = cursors.checked_limit(page), cursors.number("deliveries", page.cursor)
        async with self._reading() as session:
            rows = await session.fetch(deliveries.SQL["page"], list(statuses), before, limit + 1)
        return _page(rows, limit, deliveries.to_delivery, lambda row: cursors.encode("deliveries", row["id"]))

    async def delivery(self, delivery_id: int) -> Delivery:
        """Return one with its body; raises NotFoundError."""
        async with self._reading() as session:
            row = await session.row(deliveries.SQL["get"], delivery_id)
        if row is None:
            raise NotFoundError(f"delivery {delivery_id} does not exist")
        return deliveries.to_delivery(row)

    async def artifact(self, artifact_id: uuid.UUID) -> Artifact:
        """Return one artifact's record; raises NotFoundError."""
        async with self._reading() as session:
            row = await session.row(artifacts.SQL["get"], artifact_id)
        if row is None:
            raise NotFoundError(f"artifact {artifact_id} does not exist")
        return artifacts.to_artifact(row)

    async def health(self) -> StoreHealth:
        """Return how far behind the work is; five small queries on partial indexes."""
        async with self._reading() as session:
            waiting = await session.value(SQL["oldest_waiting_delivery"])
            depth = await session.fetch(SQL["queue_depth"])
            opened = await session.fetch(SQL["open_incidents"])
            oldest = await session.fetch(SQL["oldest_notification"])
            paused = await session.value(SQL["paused"])
        return StoreHealth(
            oldest_waiting_delivery=waiting,
            queue_depth={row["entrypoint"]: row["jobs"] for row in depth},
            open_incidents={Priority(row["priority"]): row["incidents"] for row in opened},
            oldest_notification={row["lane"]: row["created_at"] for row in oldest},
            paused=bool(paused),
        )

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[Session]:
        async with transact(self._pool, isolation="repeatable_read") as connection:
            yield Session(connection)


def _page(
    rows: Sequence[asyncpg.Record],
    limit: int,
    read: Callable[[asyncpg.Record], T],
    cursor: Callable[[asyncpg.Record], str],
) -> Page[T]:
    """Return the page of rows that were asked for with one more than ``limit``."""
    shown = rows[:limit]
    return Page(items=tuple(read(row) for row in shown), next_cursor=cursor(shown[-1]) if len(rows) > limit else None)
