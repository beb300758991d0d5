"""One transaction: the nouns on one connection, and the jobs that are enqueued with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hdr_responder.adapters.store.alerts import PostgresAlerts
from hdr_responder.adapters.store.artifacts import PostgresArtifacts
from hdr_responder.adapters.store.controls import SQL, PostgresControls
from hdr_responder.adapters.store.deliveries import PostgresDeliveries
from hdr_responder.adapters.store.incidents import PostgresIncidents
from hdr_responder.adapters.store.jobs import enqueue
from hdr_responder.adapters.store.notifications import PostgresNotifications
from hdr_responder.adapters.store.pool import Connection
from hdr_responder.adapters.store.runs import PostgresRuns
from hdr_responder.adapters.store.schedules import PostgresSchedules
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.timeline import PostgresTimeline
from hdr_responder.domain.ports.runs import Runs
from hdr_responder.domain.ports.store import (
    Alerts,
    Artifacts,
    Controls,
    Deliveries,
    Incidents,
    Job,
    Notifications,
    Schedules,
    Timeline,
)


class PostgresTransaction:
    """The `Transaction` port on a connection inside a transaction."""

    def __init__(self, connection: Connection) -> None:
        self.session = Session(connection)
        self.deliveries: Deliveries = PostgresDeliveries(self.session)
        self.alerts: Alerts = PostgresAlerts(self.session)
        self.incidents: Incidents = PostgresIncidents(self.session)
        self.timeline: Timeline = PostgresTimeline(self.session)
        self.runs: Runs = PostgresRuns(self.session)
        self.notifications: Notifications = PostgresNotifications(self.session)
        self.controls: Controls = PostgresControls(self.session)
        self.schedules: Schedules = PostgresSchedules(self.session)
        self.artifacts: Artifacts = PostgresArtifacts(self.session)

    async def wake(self, job: Job, keys: Sequence[str] = ("",), after: timedelta | None = None) -> None:
        """Enqueue jobs in this transaction, one a key; ``after`` delays them."""
        await enqueue(self.session, [(job, key) for key in keys], after)

    async def serialise(self, name: str) -> None:
        """Wait for other transactions of this name, and keep later ones waiting until this one ends."""
        await self.session.execute(SQL["serialise"], name)
