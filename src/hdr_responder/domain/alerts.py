"""Alert occurrences: what Alertmanager's repeated, late and reordered messages say about one alert.

Alertmanager delivers at least once and in no order across peers (Alertmanager contract rule 3), ``startsAt`` is no
identity (rule 8), and a resolve may come for an alert never seen firing (rule 4). `History` therefore treats each
message as a fact and keeps, per alert, the occurrences that all facts together describe: any order of arrival ends in
the same occurrences.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

SEVERITY_LABEL = "severity"
MAX_STARTS = 32
"""How many distinct ``startsAt`` of one occurrence are remembered; the oldest and the newest always are."""


class AlertStatus(StrEnum):
    """What Alertmanager says of one alert."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Presence(StrEnum):
    """Alertmanager's answer to "does this alert fire right now?"."""

    FIRING = "firing"
    SUPPRESSED = "suppressed"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """Alertmanager could not be asked."""


class EventKind(StrEnum):
    """What one message meant; the ``kind`` of the alerts_total metric."""

    OPENED = "opened"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    UNSEEN_RESOLVE = "unseen_resolve"
    OVERTAKEN = "overtaken"
    """A firing whose resolve had already come: it makes an already resolved occurrence."""
    LATE = "late"
    """A late copy of a firing that is known to be over."""
    UNCERTAIN = "uncertain"
    """Old or new cannot be told and Alertmanager cannot be asked: people are told, nothing is automated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvent:
    """One alert of one delivery, normalised: aware UTC times, ``ends_at`` None while firing (rule 5)."""

    source: str
    fingerprint: str
    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    received_at: datetime
    generator_url: str = ""
    truncated: bool = False
    """The delivery said that its group holds more alerts than it carries (rule 10)."""

    @property
    def identity(self) -> tuple[str, str]:
        """Fingerprints are shared between Alertmanager clusters, so the source is part of it (rule 11)."""
        return (self.source, self.fingerprint)


@dataclass(slots=True, kw_only=True)
class Occurrence:
    """One alert from firing to resolved; ``id`` is None until stored.

    ``starts`` are the distinct ``startsAt`` that messages gave; they tell to which occurrence a late resolve belongs.
    """

    source: str
    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    generator_url: str
    status: AlertStatus
    starts: tuple[datetime, ...]
    ends_at: datetime | None
    seen_firing: bool
    first_received_at: datetime
    last_received_at: datetime
    received_count: int = 1
    uncertain: bool = False
    id: int | None = None
    incident_id: int | None = None
    changed: bool = field(default=True, compare=False)

    @property
    def starts_at(self) -> datetime:
        """The earliest start that any message gave."""
        return self.starts[0]

    @property
    def correlation(self) -> str:
        """Identity without severity, which changes the fingerprint when it changes (rule 9)."""
        return correlation(self.source, self.labels)

    def saw(self, event: AlertEvent) -> None:
        """Count a further message about this occurrence."""
        self.starts = _with(self.starts, event.starts_at)
        self.received_count += 1
        self.last_received_at = max(self.last_received_at, event.received_at)
        self.changed = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What one event did to the history."""

    kind: EventKind
    occurrence: Occurrence


class History:
    """The occurrences of one alert (source and fingerprint), as far as they can still matter."""

    def __init__(self, occurrences: Iterable[Occurrence] = (), *, late_window: timedelta) -> None:
        self.occurrences: list[Occurrence] = sorted(occurrences, key=lambda o: o.starts_at)
        self._late_window = late_window

    @property
    def firing(self) -> Occurrence | None:
        """The occurrence that still fires, if any."""
        return next((o for o in self.occurrences if o.status is AlertStatus.FIRING), None)

    def is_ambiguous(self, event: AlertEvent) -> bool:
        """Tell whether only Alertmanager can say if this firing is a late copy or a new firing with its old start."""
        if event.status is AlertStatus.RESOLVED or self.firing:
            return False
        covering = self._covering(event.starts_at)
        return covering is not None and covering.seen_firing

    def apply(self, event: AlertEvent, presence: Presence = Presence.UNKNOWN) -> Applied:
        """Take one event in. ``presence`` is read only where `is_ambiguous` holds."""
        if event.status is AlertStatus.RESOLVED:
            return self._resolve(event)
        return self._fire(event, presence)

    def _fire(self, event: AlertEvent, presence: Presence) -> Applied:
        covering, firing = self._covering(event.starts_at), self.firing
        if covering is None:
            if firing is None:
                return Applied(kind=EventKind.OPENED, occurrence=self._open(event, event.starts_at))
            firing.saw(event)
            return Applied(kind=EventKind.REPEATED, occurrence=firing)
        if not firing and covering.seen_firing:
            return self._fire_again(event, covering, presence)
        kind = EventKind.LATE if covering.seen_firing else EventKind.OVERTAKEN
        covering.saw(event)
        covering.seen_firing = True
        return Applied(kind=kind, occurrence=covering)

    def _fire_again(self, event: AlertEvent, over: Occurrence, presence: Presence) -> Applied:
        if presence is Presence.FIRING:
            return Applied(kind=EventKind.OPENED, occurrence=self._open(event, event.received_at))
        if presence is Presence.UNKNOWN:
            if event.received_at - over.last_received_at > self._late_window:
                opened = self._open(event, event.received_at)
                opened.uncertain = True
                return Applied(kind=EventKind.UNCERTAIN, occurrence=opened)
            over.saw(event)
            return Applied(kind=EventKind.UNCERTAIN, occurrence=over)
        over.saw(event)
        return Applied(kind=EventKind.LATE, occurrence=over)

    def _resolve(self, event: AlertEvent) -> Applied:
        end = max(event.ends_at or event.received_at, event.starts_at)
        firing = self.firing
        if firing and firing.starts_at <= end:
            if firing.starts[-1] <= end:
                return self._end(firing, event, end)
            return self._split(firing, event, end)
        known = self._resolved_with(event.starts_at)
        if known and known.starts[-1] > end:
            return self._split(known, event, end)
        if known:
            known.saw(event)
            known.ends_at = max(end, known.ends_at or end)
            return Applied(kind=EventKind.REPEATED, occurrence=known)
        return Applied(kind=EventKind.UNSEEN_RESOLVE, occurrence=self._closed(event, (event.starts_at,), end))

    def _end(self, firing: Occurrence, event: AlertEvent, end: datetime) -> Applied:
        firing.saw(event)
        firing.status, firing.ends_at, firing.uncertain = AlertStatus.RESOLVED, end, False
        return Applied(kind=EventKind.RESOLVED, occurrence=firing)

    def _split(self, merged: Occurrence, event: AlertEvent, end: datetime) -> Applied:
        """End only the part before ``end``: a newer firing had already been merged into this occurrence."""
        ended = tuple(s for s in merged.starts if s <= end)
        merged.starts = tuple(s for s in merged.starts if s > end)
        merged.changed = True
        closed = self._closed(event, _with(ended, event.starts_at), end)
        closed.seen_firing, closed.incident_id = merged.seen_firing, merged.incident_id
        return Applied(kind=EventKind.RESOLVED, occurrence=closed)

    def _covering(self, start: datetime) -> Occurrence | None:
        """Return the resolved occurrence with the earliest end not before ``start``."""
        ended = [o for o in self.occurrences if o.ends_at is not None and o.ends_at >= start]
        return min(ended, key=lambda o: o.ends_at or start, default=None)

    def _resolved_with(self, start: datetime) -> Occurrence | None:
        return next((o for o in self.occurrences if o.ends_at is not None and start in o.starts), None)

    def _open(self, event: AlertEvent, start: datetime) -> Occurrence:
        return self._add(_occurrence(event, AlertStatus.FIRING, (start,), None))

    def _closed(self, event: AlertEvent, starts: tuple[datetime, ...], end: datetime) -> Occurrence:
        return self._add(_occurrence(event, AlertStatus.RESOLVED, starts, end))

    def _add(self, occurrence: Occurrence) -> Occurrence:
        self.occurrences.append(occurrence)
        return occurrence


def correlation(source: str, labels: Mapping[str, str]) -> str:
    """Return the digest of the labels without severity, within one source (rule 9)."""
    stable = sorted((k, v) for k, v in labels.items() if k != SEVERITY_LABEL)
    return hashlib.sha256(json.dumps([source, stable]).encode()).hexdigest()[:32]


def _occurrence(
    event: AlertEvent, status: AlertStatus, starts: tuple[datetime, ...], ends_at: datetime | None
) -> Occurrence:
    return Occurrence(
        source=event.source,
        fingerprint=event.fingerprint,
        labels=event.labels,
        annotations=event.annotations,
        generator_url=event.generator_url,
        status=status,
        starts=starts,
        ends_at=ends_at,
        seen_firing=status is AlertStatus.FIRING,
        first_received_at=event.received_at,
        last_received_at=event.received_at,
    )


def _with(starts: tuple[datetime, ...], start: datetime) -> tuple[datetime, ...]:
    merged = tuple(sorted({*starts, start}))
    return merged if len(merged) <= MAX_STARTS else (merged[0], *merged[-(MAX_STARTS - 1) :])
