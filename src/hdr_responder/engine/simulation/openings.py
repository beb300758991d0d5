"""Which incidents some alerts would open, all at once: grouping without a store and without a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hdr_responder.documents.catalogue import Documents
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.domain.alerts import AlertEvent, AlertStatus, History, Occurrence
from hdr_responder.domain.incidents import Incident
from hdr_responder.engine.grouping import IncidentBook, Placer
from hdr_responder.engine.planner import Planner

RECEIVED_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""Any fixed time: plans do not depend on when an alert came."""


@dataclass(slots=True)
class Opening:
    """An incident that would be opened, with its firing alerts, oldest first."""

    incident: Incident
    firing: list[Occurrence] = field(default_factory=list)

    def alerts_for(self, playbook: CompiledPlaybook, planner: Planner) -> list[Occurrence] | None:
        """Return the alerts that a playbook is planned with, the one that starts it first; None when none does."""
        chosen = planner.choose([playbook], self.firing, self.incident.priority)
        return [chosen[1], *(a for a in self.firing if a is not chosen[1])] if chosen else None


def openings(documents: Documents, events: Sequence[AlertEvent], *, late_window: timedelta) -> list[Opening]:
    """Group the events as intake does; those of the watchdog open nothing."""
    book = IncidentBook(now=RECEIVED_AT, reopen_window=documents.escalation.incidents.reopen_window)
    placer = Placer(documents.services, documents.triage)
    opened: dict[int, Opening] = {}
    for occurrence in _occurrences(documents, events, late_window):
        placement = placer.place(occurrence)
        incident, _ = book.attach(occurrence, placement)
        incident.raise_priority(placement.decision)
        incident.alerts_total += 1
        opening = opened.setdefault(id(incident), Opening(incident))
        if occurrence.status is AlertStatus.FIRING:
            incident.alerts_firing += 1
            opening.firing.append(occurrence)
    for opening in opened.values():
        opening.firing.sort(key=lambda o: o.starts_at)
    return list(opened.values())


def why_not(planner: Planner, documents: Documents, playbook: CompiledPlaybook, opened: Sequence[Opening]) -> str:
    """Return why a playbook runs for none of these incidents, and which other would."""
    firing = [o for o in opened if o.firing]
    if not firing:
        return "none of the alerts fires"
    other = next(
        (c[0].name for o in firing if (c := planner.choose(documents.playbooks, o.firing, o.incident.priority))), None
    )
    instead = f"; {other} would" if other else "; no other playbook would either"
    model, matchers = playbook.model, playbook.matchers
    if model.environments is not None and planner.environment not in model.environments:
        return f"it is not for environment {planner.environment}{instead}"
    if matchers is None:
        return f"no alert starts it{instead}"
    matching = [o for o in firing if any(matchers.matches(a.labels) for a in o.firing)]
    if not matching:
        return f"its matchers match none of the firing alerts{instead}"
    incident, wanted = matching[0].incident, ", ".join(model.priorities or ())
    return f"the incident is {incident.priority} ({incident.priority_reason}), and it is for {wanted}{instead}"


def _occurrences(documents: Documents, events: Sequence[AlertEvent], late_window: timedelta) -> list[Occurrence]:
    watchdog = documents.escalation.watchdog
    histories: dict[tuple[str, str], History] = {}
    for event in events:
        if watchdog is None or not watchdog.matches(event.labels):
            histories.setdefault(event.identity, History(late_window=late_window)).apply(event)
    return [occurrence for history in histories.values() for occurrence in history.occurrences]
