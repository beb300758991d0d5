"""What the engine counts and measures, so that it knows no metrics library."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from hdr_responder.domain.alerts import EventKind
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.notifications import Lane
from hdr_responder.domain.runs import Run, Step


class Measures(Protocol):
    """Takes every count and measurement; called after the commit that made it true."""

    def alert(self, source: str, kind: EventKind, count: int) -> None:
        """Count alert messages by what they meant."""
        ...

    def ingested(self, took: timedelta) -> None:
        """Measure from a delivery's receipt to its alerts being recorded."""
        ...

    def alerts_cut(self, source: str, count: int) -> None:
        """Count alerts that a source says it left out of a delivery (Alertmanager contract rule 10)."""
        ...

    def incident_acknowledged(self, incident: Incident) -> None:
        """Measure how long people took to take note."""
        ...

    def incident_resolved(self, incident: Incident) -> None:
        """Measure how long an incident lasted."""
        ...

    def guard_refused(self, guard: str) -> None:
        """Count a run that a guard refused."""
        ...

    def run_ended(self, run: Run) -> None:
        """Count an ended run and measure how long it took."""
        ...

    def step_ended(self, step: Step) -> None:
        """Count an ended step."""
        ...

    def notification(self, lane: Lane, outcome: str) -> None:
        """Count an attempt to deliver a notification."""
        ...
