"""Incidents: what people work on, and the rules by which alerts become, join and end them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hdr_responder.domain.priorities import Priority
from hdr_responder.errors import ConflictError, InvalidInputError

PLAYBOOK_RULE = "playbook"
"""Stands where the triage rule does when a playbook has set the priority."""


class IncidentStatus(StrEnum):
    """Where an incident stands; the order is the way forward."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    CLOSED = "closed"

    @property
    def is_open(self) -> bool:
        """Whether somebody or something still has to act on it."""
        return self in OPEN_STATUSES


OPEN_STATUSES = frozenset({IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED, IncidentStatus.MITIGATED})

_FORWARD: dict[IncidentStatus, frozenset[IncidentStatus]] = {
    IncidentStatus.TRIGGERED: frozenset(
        {IncidentStatus.ACKNOWLEDGED, IncidentStatus.MITIGATED, IncidentStatus.RESOLVED}
    ),
    IncidentStatus.ACKNOWLEDGED: frozenset({IncidentStatus.MITIGATED, IncidentStatus.RESOLVED}),
    IncidentStatus.MITIGATED: frozenset({IncidentStatus.RESOLVED}),
    IncidentStatus.RESOLVED: frozenset({IncidentStatus.CLOSED, IncidentStatus.TRIGGERED}),
    IncidentStatus.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageDecision:
    """What triage decided for one alert, with the rule and the reason that people are shown."""

    priority: Priority
    rule: str
    reason: str
    problem: str

    @property
    def order(self) -> tuple[int, str]:
        """Sort key: the most urgent first, ties by the rule's name, so that arrival order does not matter."""
        return (self.priority.rank, self.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentKey:
    """What makes two alerts one incident: cluster, service and problem.

    ``service`` is the catalogue's name; for a service that the catalogue does not know, ``discriminator`` (the alert's
    correlation) keeps unknown services from ever merging.
    """

    cluster: str
    service: str
    problem: str
    discriminator: str = ""

    @property
    def digest(self) -> str:
        """Fixed-length form for the unique index: labels are unbounded text."""
        parts = json.dumps([self.cluster, self.service, self.problem, self.discriminator])
        return hashlib.sha256(parts.encode()).hexdigest()


@dataclass(slots=True, kw_only=True)
class Incident:
    """An incident as stored. ``id`` is 0 until stored; ``ref`` is how people name it.

    ``episode`` counts the reopenings: automation runs a playbook at most once per episode. Times are aware UTC.
    """

    id: int = 0
    key: str
    cluster: str
    service: str
    problem: str
    title: str
    priority: Priority
    priority_rule: str
    priority_reason: str
    status: IncidentStatus
    started_at: datetime
    opened_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    closed_at: datetime | None = None
    commander: str | None = None
    priority_set_by: str | None = None
    episode: int = 1
    alerts_total: int = 0
    alerts_firing: int = 0
    lower_bound: bool = False
    page_at: datetime | None = None
    paged_at: datetime | None = None
    escalate_at: datetime | None = None
    plan_at: datetime | None = None
    """Since when it waits to be planned for, None when there is nothing to plan."""

    @property
    def ref(self) -> str:
        """The name that people use (``INC-142``)."""
        return format_ref(self.id)

    def distance(self, starts_at: datetime, ends_at: datetime | None) -> timedelta:
        """Return the gap between this incident and an occurrence; zero when they overlap."""
        if not self.status.is_open and self.resolved_at and starts_at > self.resolved_at:
            return starts_at - self.resolved_at
        if ends_at and ends_at < self.started_at:
            return self.started_at - ends_at
        return timedelta(0)

    def move(self, to: IncidentStatus, *, at: datetime, by: str | None) -> None:
        """Change the status.

        Raises ConflictError when the state machine has no such transition.
        """
        if to not in _FORWARD[self.status]:
            raise ConflictError(f"{self.ref} is {self.status}: it cannot become {to}")
        if to is IncidentStatus.ACKNOWLEDGED:
            self.acknowledged_at, self.acknowledged_by = at, by
        elif to is IncidentStatus.MITIGATED:
            self.mitigated_at = at
        elif to is IncidentStatus.RESOLVED:
            self.resolved_at, self.resolved_by = at, by
        elif to is IncidentStatus.CLOSED:
            self.closed_at = at
        self.status = to

    def reopen(self) -> None:
        """Start a new episode after a re-fire: nobody has acknowledged this one yet."""
        self.status = IncidentStatus.TRIGGERED
        self.episode += 1
        self.acknowledged_at = self.acknowledged_by = None
        self.mitigated_at = self.resolved_at = self.resolved_by = None
        self.page_at = self.paged_at = self.escalate_at = None

    def raise_priority(self, decision: TriageDecision) -> bool:
        """Take a more urgent decision over, unless a person set the priority. Return whether the priority changed."""
        if self.priority_set_by or decision.order >= (self.priority.rank, self.priority_rule):
            return False
        changed = self.priority is not decision.priority
        self.priority, self.priority_rule = decision.priority, decision.rule
        self.priority_reason = decision.reason
        return changed


def format_ref(number: int) -> str:
    """Return the public reference of an incident number (``INC-142``)."""
    return f"INC-{number}"


def parse_ref(ref: str) -> int:
    """Return the number of ``INC-142`` (also ``inc-142`` and ``142``).

    Raises InvalidInputError when it is none of these.
    """
    digits = ref.strip().upper().removeprefix("INC-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise InvalidInputError(f"{ref[:40]!r} is not an incident reference; expected INC-<number>", field="ref")
    return int(digits)
