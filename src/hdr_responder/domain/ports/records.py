"""Reading records back, page by page, for the API, the command line, Slack and the post-mortem."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from hdr_responder.domain.alerts import Occurrence
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.ports.store import Artifact
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Run, RunStatus, Step
from hdr_responder.domain.timeline import TimelineEntry

T = TypeVar("T")

MAX_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some items and where the next ones begin; ``next_cursor`` None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which page: at most ``limit`` items (1 to `MAX_PAGE`) after ``cursor``."""

    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFilter:
    """Which incidents; an empty tuple means any."""

    statuses: tuple[IncidentStatus, ...] = ()
    priorities: tuple[Priority, ...] = ()
    service: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecord:
    """An incident with what it is shown with: its first 100 alerts, its runs with their steps, its artifacts."""

    incident: Incident
    alerts: tuple[Occurrence, ...]
    runs: tuple[tuple[Run, tuple[Step, ...]], ...]
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """How far behind the work is; read for metrics, readiness and back-pressure."""

    oldest_waiting_delivery: datetime | None
    queue_depth: dict[str, int]
    open_incidents: dict[Priority, int]
    oldest_notification: dict[str, datetime]
    paused: bool


class Records(Protocol):
    """Read access. A cursor that was not made here raises InvalidInputError(field="cursor")."""

    async def incidents(self, which: IncidentFilter, page: PageRequest) -> Page[Incident]:
        """Return incidents, newest first."""
        ...

    async def incident(self, incident_id: int) -> IncidentRecord:
        """Return one with its details in a fixed number of queries; raises NotFoundError."""
        ...

    async def alerts(self, incident_id: int, page: PageRequest) -> Page[Occurrence]:
        """Return an incident's alerts, oldest first."""
        ...

    async def timeline(self, incident_id: int, page: PageRequest) -> Page[TimelineEntry]:
        """Return an incident's timeline in order."""
        ...

    async def runs(self, statuses: tuple[RunStatus, ...], page: PageRequest) -> Page[Run]:
        """Return runs, newest first."""
        ...

    async def run(self, run_id: uuid.UUID) -> tuple[Run, tuple[Step, ...]]:
        """Return one run and its steps; raises NotFoundError."""
        ...

    async def runs_between(self, since: datetime, until: datetime, limit: int) -> list[tuple[Run, Incident]]:
        """Return the runs created in a period with their incidents, oldest first (reports)."""
        ...

    async def deliveries(self, statuses: tuple[str, ...], page: PageRequest) -> Page[Delivery]:
        """Return deliveries, newest first."""
        ...

    async def delivery(self, delivery_id: int) -> Delivery:
        """Return one with its body; raises NotFoundError."""
        ...

    async def artifact(self, artifact_id: uuid.UUID) -> Artifact:
        """Return one artifact's record; raises NotFoundError."""
        ...

    async def health(self) -> StoreHealth:
        """Return how far behind the work is."""
        ...
