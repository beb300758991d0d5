"""From alerts to incidents: which incident an occurrence belongs to, and what that does to the incident.

Everything here depends on what the alerts say, never on the order in which they came, so that replayed, doubled and
reordered deliveries end in the same incidents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.documents.triage import Triage
from hdr_responder.domain.alerts import AlertStatus, Occurrence, correlation
from hdr_responder.domain.incidents import Incident, IncidentKey, IncidentStatus, TriageDecision

_TITLE_MAX = 200
_NAME_MAX = 253
_PLACEMENTS = 4096
CLUSTER_LABEL = "cluster"


class Attachment(StrEnum):
    """How an occurrence came to its incident."""

    OPENED = "opened"
    RECORDED = "recorded"
    """The alert was already over: an incident that is already resolved, for the record."""
    REOPENED = "reopened"
    JOINED = "joined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an occurrence belongs, by its labels alone."""

    key: IncidentKey
    digest: str
    """Of the key."""
    decision: TriageDecision
    service_known: bool

    @property
    def title(self) -> str:
        """What people read first."""
        return f"{self.key.problem} on {self.key.service or 'unknown service'}"[:_TITLE_MAX]


class Placer:
    """Names the incident of an occurrence from the catalogue and the triage rules.

    Most messages repeat labels that were placed before, so placements are remembered by source and labels, which are
    all that they depend on.
    """

    def __init__(self, services: ServiceCatalogue, triage: Triage) -> None:
        self._services = services
        self._triage = triage
        self._placed = lru_cache(_PLACEMENTS)(self._place)

    def place(self, occurrence: Occurrence) -> Placement:
        """Return where the occurrence belongs; a service that the catalogue does not know never merges with others."""
        return self._placed(occurrence.source, tuple(occurrence.labels.items()))

    def _place(self, source: str, items: tuple[tuple[str, str], ...]) -> Placement:
        labels = dict(items)
        decision = self._triage.decide(labels)
        service = self._services.identify(labels)
        key = IncidentKey(
            cluster=labels.get(CLUSTER_LABEL, "")[:_NAME_MAX],
            service=service.name if service else self._named(labels)[:_NAME_MAX],
            problem=decision.problem[:_NAME_MAX],
            discriminator="" if service else correlation(source, labels),
        )
        return Placement(key=key, digest=key.digest, decision=decision, service_known=service is not None)

    def _named(self, labels: Mapping[str, str]) -> str:
        return next((labels[n] for n in self._services.identified_by if labels.get(n)), "")


@dataclass(slots=True)
class IncidentBook:
    """The incidents that a batch of occurrences may touch, and what the batch does to them."""

    now: datetime
    reopen_window: timedelta
    by_key: dict[str, list[Incident]] = field(default_factory=dict)
    by_id: dict[int, Incident] = field(default_factory=dict)
    new: list[Incident] = field(default_factory=list)
    touched: dict[int, Incident] = field(default_factory=dict)
    """By the object's identity, since new ones have no id yet."""

    def add(self, incidents: Iterable[Incident]) -> None:
        """Take stored incidents in, newest first."""
        for incident in incidents:
            self.by_id[incident.id] = incident
            if incident.status is not IncidentStatus.CLOSED:
                self.by_key.setdefault(incident.key, []).append(incident)

    def attach(self, occurrence: Occurrence, placement: Placement) -> tuple[Incident, Attachment]:
        """Find or make the incident of an occurrence; one that already has its incident stays with it."""
        incident, attachment = self._find(occurrence, placement)
        self.touched[id(incident)] = incident
        return incident, attachment

    def _find(self, occurrence: Occurrence, placement: Placement) -> tuple[Incident, Attachment]:
        if occurrence.incident_id is not None:
            return self.by_id[occurrence.incident_id], Attachment.JOINED
        digest = placement.digest
        for incident in self.by_key.get(digest, []):
            if incident.distance(occurrence.starts_at, occurrence.ends_at) <= self.reopen_window:
                return incident, self._join(incident, occurrence)
        incident = self._make(occurrence, placement, digest)
        self.by_key.setdefault(digest, []).insert(0, incident)
        self.new.append(incident)
        return incident, Attachment.OPENED if incident.status.is_open else Attachment.RECORDED

    def _join(self, incident: Incident, occurrence: Occurrence) -> Attachment:
        if incident.status is IncidentStatus.RESOLVED and occurrence.status is AlertStatus.FIRING:
            incident.reopen()
            return Attachment.REOPENED
        return Attachment.JOINED

    def _make(self, occurrence: Occurrence, placement: Placement, digest: str) -> Incident:
        firing = occurrence.status is AlertStatus.FIRING
        decision = placement.decision
        return Incident(
            key=digest,
            cluster=placement.key.cluster,
            service=placement.key.service,
            problem=placement.key.problem,
            title=placement.title,
            priority=decision.priority,
            priority_rule=decision.rule,
            priority_reason=decision.reason,
            status=IncidentStatus.TRIGGERED if firing else IncidentStatus.RESOLVED,
            started_at=occurrence.starts_at,
            opened_at=self.now,
            resolved_at=None if firing else occurrence.ends_at,
        )
