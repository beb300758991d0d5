"""The metrics that dashboards and alerts of others depend on: names and labels are fixed, values are set by the engine.

One object, injected, with a registry of its own, so that two services in one process do not share counts.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector

from hdr_responder.domain.alerts import EventKind
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.notifications import Lane
from hdr_responder.domain.ports.records import StoreHealth
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Run, Step, Verification

CONTENT_TYPE = CONTENT_TYPE_LATEST
_PREFIX = "hdr_responder"
_CHILDREN = 1000
_MOST_SOURCES = 100
"""How many sources get a label of their own: any name may be in a webhook's path."""
_OTHER = "other"
_MINUTE, _HOUR = 60, 3600
_PEOPLE = (15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, _HOUR, 4 * _HOUR, 24 * _HOUR)
_RUNS = (1, 5, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, _HOUR)
_INGEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """All metrics of one service."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._delivered: dict[tuple[str, str], Counter] = {}
        self._sources: set[str] = set()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.deliveries = self._counter(
            "deliveries", "Inbound deliveries by how they were answered.", "source", "result"
        )
        self.alerts = self._counter("alerts", "Alert messages by what they meant.", "source", "kind")
        self.incidents_open = self._gauge("incidents_open", "Open incidents.", "priority")
        self.incident_ack_seconds = self._histogram(
            "incident_ack_seconds", "From an incident's opening to its acknowledgement.", _PEOPLE
        )
        self.incident_resolve_seconds = self._histogram(
            "incident_resolve_seconds", "From an incident's opening to its end.", _PEOPLE
        )
        self.runs = self._counter("runs", "Ended runs by what became of them.", "playbook", "mode", "outcome")
        self.run_seconds = self._histogram(
            "run_seconds", "From a run's start to its end, verification included.", _RUNS
        )
        self.steps = self._counter("steps", "Ended steps by what became of them.", "action", "outcome")
        self.guard_refusals = self._counter("guard_refusals", "Runs that a guard refused or held.", "guard")
        self.notifications = self._counter("notifications", "Attempts to deliver a notification.", "lane", "outcome")
        self.notification_lag_seconds = self._gauge(
            "notification_lag_seconds", "How long the oldest due notification of a lane has been waiting.", "lane"
        )
        self.queue_depth = self._gauge("queue_depth", "Jobs that wait for a worker.", "entrypoint")
        self.ingest_seconds = self._histogram(
            "ingest_seconds", "From a delivery's receipt to its alerts being recorded.", _INGEST
        )
        self.lost_alerts = self._counter(
            "lost_alerts", "Alerts that a source could not hand over, as far as it says so.", "source"
        )
        self.paused = self._gauge("paused", "1 while automation is paused.")
        for job in Job:
            self.queue_depth.labels(job)
        for priority in Priority:
            self.incidents_open.labels(priority)
        for lane in Lane:
            self.notification_lag_seconds.labels(lane)

    def delivery(self, source: str, result: str) -> None:
        """Count a delivery by how it was answered."""
        child = self._delivered.get((source, result))
        if child is None:
            child = self.deliveries.labels(self._bounded(source), result)
            if len(self._delivered) < _CHILDREN:
                self._delivered[source, result] = child
        child.inc()

    def alert(self, source: str, kind: EventKind, count: int) -> None:
        """Count alert messages by what they meant."""
        self.alerts.labels(self._bounded(source), kind).inc(count)

    def ingested(self, took: timedelta) -> None:
        """Measure from a delivery's receipt to its alerts being recorded."""
        self.ingest_seconds.observe(max(took.total_seconds(), 0))

    def alerts_cut(self, source: str, count: int) -> None:
        """Count alerts that a source says it left out of a delivery."""
        self.lost_alerts.labels(self._bounded(source)).inc(count)

    def guard_refused(self, guard: str) -> None:
        """Count a run that a guard refused."""
        self.guard_refusals.labels(guard).inc()

    def notification(self, lane: Lane, outcome: str) -> None:
        """Count an attempt to deliver a notification."""
        self.notifications.labels(lane, outcome).inc()

    def run_ended(self, run: Run) -> None:
        """Count an ended run; a verification says more about it than its status."""
        verified = run.verification not in {Verification.NONE, Verification.PENDING}
        self.runs.labels(run.playbook, run.mode, run.verification if verified else run.status).inc()
        if run.started_at and run.ended_at:
            self.run_seconds.observe((run.ended_at - run.started_at).total_seconds())

    def step_ended(self, step: Step) -> None:
        """Count an ended step."""
        self.steps.labels(step.action, step.status).inc()

    def incident_acknowledged(self, incident: Incident) -> None:
        """Measure how long people took to take note."""
        if incident.acknowledged_at:
            self.incident_ack_seconds.observe((incident.acknowledged_at - incident.opened_at).total_seconds())

    def incident_resolved(self, incident: Incident) -> None:
        """Measure how long it lasted."""
        if incident.resolved_at:
            self.incident_resolve_seconds.observe((incident.resolved_at - incident.opened_at).total_seconds())

    def read_health(self, health: StoreHealth, now: datetime) -> None:
        """Set the gauges that tell how far behind the work is."""
        for priority in Priority:
            self.incidents_open.labels(priority).set(health.open_incidents.get(priority, 0))
        for job in Job:
            self.queue_depth.labels(job).set(health.queue_depth.get(job, 0))
        for lane in Lane:
            oldest = health.oldest_notification.get(lane)
            self.notification_lag_seconds.labels(lane).set(max((now - oldest).total_seconds(), 0) if oldest else 0)
        self.paused.set(health.paused)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)

    def _bounded(self, source: str) -> str:
        if source not in self._sources:
            if len(self._sources) >= _MOST_SOURCES:
                return _OTHER
            self._sources.add(source)
        return source

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace=_PREFIX, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace=_PREFIX, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, namespace=_PREFIX, registry=self.registry, buckets=buckets)
