"""What intake, triage and planning would make of a delivery: in memory, without a clock, asking nothing outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hdr_responder.documents.catalogue import Documents
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.domain.alerts import AlertEvent, AlertStatus, History, Occurrence
from hdr_responder.domain.deliveries import BadAlert, Delivery, parse
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.runs import Plan
from hdr_responder.engine.grouping import IncidentBook, Placer
from hdr_responder.engine.planner import Automation, Planner
from hdr_responder.errors import ConflictError
from hdr_responder.settings import DEFAULT_SOURCE, Settings

RECEIVED_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""Any fixed time: plans do not depend on when an alert came."""


@dataclass(slots=True)
class Rehearsed:
    """An incident that would be opened, with its firing alerts, oldest first."""

    incident: Incident
    firing: list[Occurrence] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The plan, the incident that it is for, how many more would get one of their own, and unreadable alerts."""

    incident: Incident
    plan: Plan
    others: int
    bad: tuple[BadAlert, ...]


def rehearse(settings: Settings, documents: Documents, playbook: CompiledPlaybook, body: bytes) -> Rehearsal:
    """Plan a playbook for the first incident of a delivery that it is for.

    Raises InvalidInputError for a body that is no delivery, ConflictError saying why the playbook would not run, and
    PlanError when it cannot be planned.
    """
    parsed = parse(Delivery(id=0, source=DEFAULT_SOURCE, received_at=RECEIVED_AT, body=body))
    opened = _incidents(settings, documents, parsed.events)
    automation = Automation(environment=settings.environment, cap=settings.mode_cap)
    planner = Planner(services=documents.services, automation=automation)
    applying = [r for r in opened if planner.choose([playbook], r.firing, r.incident.priority)]
    if not applying:
        raise ConflictError(_why_not(planner, documents, playbook, opened, settings.environment))
    first = applying[0]
    chosen = planner.choose([playbook], first.firing, first.incident.priority)
    assert chosen is not None, "it applies"
    alerts = [chosen[1], *(a for a in first.firing if a is not chosen[1])]
    plan = planner.plan(playbook, first.incident, alerts)
    return Rehearsal(incident=first.incident, plan=plan, others=len(applying) - 1, bad=parsed.bad)


def _incidents(settings: Settings, documents: Documents, events: Sequence[AlertEvent]) -> list[Rehearsed]:
    """Group the events as intake does; those of the watchdog open nothing."""
    book = IncidentBook(now=RECEIVED_AT, reopen_window=documents.escalation.incidents.reopen_window)
    placer = Placer(documents.services, documents.triage)
    opened: dict[int, Rehearsed] = {}
    for occurrence in _occurrences(settings, documents, events):
        placement = placer.place(occurrence)
        incident, _ = book.attach(occurrence, placement)
        incident.raise_priority(placement.decision)
        incident.alerts_total += 1
        rehearsed = opened.setdefault(id(incident), Rehearsed(incident))
        if occurrence.status is AlertStatus.FIRING:
            incident.alerts_firing += 1
            rehearsed.firing.append(occurrence)
    for rehearsed in opened.values():
        rehearsed.firing.sort(key=lambda o: o.starts_at)
    return list(opened.values())


def _occurrences(settings: Settings, documents: Documents, events: Sequence[AlertEvent]) -> list[Occurrence]:
    watchdog = documents.escalation.watchdog
    histories: dict[tuple[str, str], History] = {}
    for event in events:
        if watchdog is None or not watchdog.matches(event.labels):
            window = settings.alertmanager.late_window
            histories.setdefault(event.identity, History(late_window=window)).apply(event)
    return [occurrence for history in histories.values() for occurrence in history.occurrences]


def _why_not(
    planner: Planner,
    documents: Documents,
    playbook: CompiledPlaybook,
    opened: Sequence[Rehearsed],
    environment: str,
) -> str:
    firing = [r for r in opened if r.firing]
    if not firing:
        return f"{playbook.name} would not run: none of the alerts fires"
    other = next(
        (c[0].name for r in firing if (c := planner.choose(documents.playbooks, r.firing, r.incident.priority))), None
    )
    instead = f"; {other} would" if other else "; no other playbook would either"
    model = playbook.model
    if model.environments is not None and environment not in model.environments:
        return f"{playbook.name} would not run in environment {environment}{instead}"
    matchers = playbook.matchers
    if matchers is None:
        return f"{playbook.name} would not run: no alert starts it{instead}"
    matching = [r for r in firing if any(matchers.matches(a.labels) for a in r.firing)]
    if not matching:
        return f"{playbook.name} would not run: its matchers match none of the firing alerts{instead}"
    incident = matching[0].incident
    wanted = ", ".join(model.priorities or ())
    return (
        f"{playbook.name} would not run: the incident is {incident.priority} ({incident.priority_reason}), "
        f"and it is for {wanted}{instead}"
    )
