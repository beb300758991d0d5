"""Records in memory, as far as the stages that a simulation drives ask for them.

The stages are the service's own, so that a simulation cannot follow rules of its own; only the records are kept here,
for as long as one simulation takes. Nothing runs beside it: a transaction is over when its block is, and locks are
always free.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hdr_responder.domain.alerts import AlertStatus, Occurrence
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.notifications import Notification, NotificationKind
from hdr_responder.domain.ports.store import AlertTotals, Job, Pending
from hdr_responder.domain.timeline import EntryKind, TimelineEntry
from hdr_responder.engine.simulation.runs import MemoryRuns

_NOT_KEPT = frozenset({EntryKind.ALERTS})
"""Entries that nothing of the account is told from; there is one a delivery."""


@dataclass(slots=True)
class MemoryDeliveries:
    """Deliveries that wait for intake."""

    queue: deque[Delivery] = field(default_factory=deque)
    parked: list[tuple[int, str]] = field(default_factory=list)

    async def pending(self) -> Pending:
        """Tell whether any waits."""
        return Pending(waiting=bool(self.queue), rejects=False)

    async def waiting(self, limit: int) -> list[Delivery]:
        """Return the oldest."""
        return list(itertools.islice(self.queue, limit))

    async def mark_processed(self, ids: Sequence[int], at: datetime) -> None:
        """Forget them."""
        del at
        done = set(ids)
        while self.queue and self.queue[0].id in done:
            self.queue.popleft()

    async def park(self, delivery_id: int, error: str, field: str, at: datetime) -> None:
        """Set one aside."""
        del field
        self.parked.append((delivery_id, error))
        await self.mark_processed([delivery_id], at)


@dataclass(slots=True)
class _Counted:
    """An incident's alerts: counts that follow every change, and those that fire."""

    total: int = 0
    first_starts_at: datetime | None = None
    last_ends_at: datetime | None = None
    firing: dict[int, Occurrence] = field(default_factory=dict)


class _Alert:
    """The occurrences of one alert: those that fire, and the others by their end."""

    def __init__(self) -> None:
        self._firing: dict[int, Occurrence] = {}
        self._ended: list[tuple[datetime, int, Occurrence]] = []
        self._ends: dict[int, datetime] = {}

    def since(self, since: datetime) -> list[Occurrence]:
        """Return those that fire or ended at ``since`` or later."""
        first = bisect.bisect_left(self._ended, (since, 0))
        return [*(o for _, _, o in self._ended[first:]), *self._firing.values()]

    def save(self, number: int, occurrence: Occurrence) -> None:
        """Put an occurrence where it belongs now."""
        end = occurrence.ends_at
        if end is None:
            self._firing[number] = occurrence
            return
        self._firing.pop(number, None)
        before = self._ends.get(number)
        if before == end:
            return
        if before is not None:
            del self._ended[bisect.bisect_left(self._ended, (before, number))]
        bisect.insort(self._ended, (end, number, occurrence))
        self._ends[number] = end


class MemoryAlerts:
    """Occurrences by their identity, and their counts by incident."""

    def __init__(self) -> None:
        self._of_alert: dict[tuple[str, str], _Alert] = {}
        self._of_incident: dict[int, _Counted] = {}
        self._ids = itertools.count(1)

    async def history(self, identities: Sequence[tuple[str, str]], since: datetime) -> list[Occurrence]:
        """Return the occurrences of these alerts that fire or ended at ``since`` or later."""
        known = (self._of_alert[i] for i in identities if i in self._of_alert)
        return [occurrence for alert in known for occurrence in alert.since(since)]

    async def save(self, occurrences: Sequence[Occurrence]) -> None:
        """Take new ones in and count all of them anew."""
        for occurrence in occurrences:
            assert occurrence.incident_id is not None, "intake has placed it"
            counted = self._of_incident.setdefault(occurrence.incident_id, _Counted())
            if occurrence.id is None:
                occurrence.id = next(self._ids)
                counted.total += 1
            identity = (occurrence.source, occurrence.fingerprint)
            self._of_alert.setdefault(identity, _Alert()).save(occurrence.id, occurrence)
            _count(counted, occurrence)
            occurrence.changed = False

    async def totals(self, incident_ids: Sequence[int]) -> Mapping[int, AlertTotals]:
        """Return the counts of these incidents."""
        counts = ((i, self._of_incident[i]) for i in incident_ids if i in self._of_incident)
        return {
            i: AlertTotals(
                total=c.total, firing=len(c.firing), first_starts_at=c.first_starts_at, last_ends_at=c.last_ends_at
            )
            for i, c in counts
            if c.first_starts_at is not None
        }

    async def of_incident(self, incident_id: int, *, firing_only: bool, limit: int) -> list[Occurrence]:
        """Return those that fire, oldest first; nobody here asks for the others."""
        assert firing_only, "a simulation has no use for what is over"
        return list(itertools.islice(self.firing(incident_id), limit))

    def firing(self, incident_id: int) -> Iterator[Occurrence]:
        """Return the incident's firing alerts, oldest first."""
        counted = self._of_incident.get(incident_id)
        return iter(counted.firing.values()) if counted else iter(())


def _count(counted: _Counted, occurrence: Occurrence) -> None:
    assert occurrence.id is not None
    starts, ends = occurrence.starts_at, occurrence.ends_at
    counted.first_starts_at = min(counted.first_starts_at or starts, starts)
    if ends is not None:
        counted.last_ends_at = max(counted.last_ends_at or ends, ends)
    if occurrence.status is AlertStatus.FIRING:
        counted.firing[occurrence.id] = occurrence
    else:
        counted.firing.pop(occurrence.id, None)


class MemoryIncidents:
    """Incidents in the order of their numbers."""

    def __init__(self) -> None:
        self.all: list[Incident] = []
        self._of_key: dict[str, list[Incident]] = {}
        self._times: list[tuple[datetime, int]] = []
        self._told: dict[int, tuple[datetime | None, datetime | None]] = {}

    async def get(self, incident_id: int, *, lock: bool = False) -> Incident:
        """Return one."""
        del lock
        return self.all[incident_id - 1]

    async def by_keys(self, keys: Sequence[str], ids: Sequence[int] = ()) -> list[Incident]:
        """Return those of these keys and numbers, newest first; none is ever closed here."""
        found = {i.id: i for key in keys for i in self._of_key.get(key, ())}
        found |= {number: self.all[number - 1] for number in ids}
        return [found[number] for number in sorted(found, reverse=True)]

    async def insert(self, incidents: Sequence[Incident]) -> None:
        """Number new ones."""
        for incident in incidents:
            self.all.append(incident)
            incident.id = len(self.all)
            self._of_key.setdefault(incident.key, []).append(incident)
        await self.update(incidents)

    async def update(self, incidents: Sequence[Incident]) -> None:
        """Note their due times; all else is the object's own."""
        for incident in incidents:
            times = (incident.page_at, incident.escalate_at)
            if self._told.get(incident.id, (None, None)) != times:
                self._told[incident.id] = times
                for at in times:
                    if at is not None:
                        heapq.heappush(self._times, (at, incident.id))

    async def due(self, now: datetime, limit: int) -> list[Incident]:
        """Return open ones whose paging or escalation time has come, by number."""
        numbers: set[int] = set()
        while self._times and self._times[0][0] <= now and len(numbers) < limit:
            numbers.add(heapq.heappop(self._times)[1])
        return [i for n in sorted(numbers) if _is_due(i := self.all[n - 1], now)]


def _is_due(incident: Incident, now: datetime) -> bool:
    page = incident.page_at is not None and incident.page_at <= now and incident.paged_at is None
    escalate = incident.escalate_at is not None and incident.escalate_at <= now
    return incident.status.is_open and (page or escalate)


class MemoryControls:
    """Switches and slots; nobody pauses or holds anything."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    async def watchdog_seen(self, source: str, at: datetime) -> None:
        """Watchdogs are no part of a simulation: a recording need not hold theirs."""

    async def watchdog_expected(self, sources: Sequence[str], at: datetime) -> None:
        """Watchdogs are no part of a simulation."""

    async def first_time(self, key: str, at: datetime) -> bool:
        """Take an event once."""
        return await self.take_slots(key, 1, 1, at) == 1

    async def take_slots(self, name: str, limit: int, wanted: int, at: datetime) -> int:
        """Take what is left of the slots."""
        del at
        before = self._taken.get(name, 0)
        taken = min(wanted, max(limit - before, 0))
        self._taken[name] = before + taken
        return taken


@dataclass(slots=True)
class MemoryTimeline:
    """The entries that the account is told from, in order."""

    entries: list[TimelineEntry] = field(default_factory=list)

    async def append(self, entries: Sequence[TimelineEntry]) -> None:
        """Keep them."""
        self.entries += [e for e in entries if e.kind not in _NOT_KEPT]


@dataclass(slots=True)
class MemoryNotifications:
    """The pages; nothing is sent."""

    pages: list[Notification] = field(default_factory=list)

    async def add(self, notifications: Sequence[Notification]) -> None:
        """Keep those that wake somebody."""
        self.pages += [n for n in notifications if n.kind is NotificationKind.PAGE]


@dataclass(slots=True)
class Jobs:
    """What is to be done and when, in the order in which it comes due."""

    now: datetime
    _heap: list[tuple[datetime, int, Job, str]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)

    def add(self, job: Job, key: str, after: timedelta | None) -> None:
        """Note a job."""
        heapq.heappush(self._heap, (self.now + (after or timedelta(0)), next(self._order), job, key))

    def pop(self, until: datetime) -> tuple[datetime, Job, str] | None:
        """Return the next job that is due by ``until``, None when there is none."""
        if not self._heap or self._heap[0][0] > until:
            return None
        at, _, job, key = heapq.heappop(self._heap)
        return at, job, key


class MemoryStore:
    """Everything that one simulation keeps. It is its own transaction."""

    def __init__(self, start: datetime) -> None:
        self.jobs = Jobs(start)
        self.deliveries = MemoryDeliveries()
        self.alerts = MemoryAlerts()
        self.incidents = MemoryIncidents()
        self.timeline = MemoryTimeline()
        self.notifications = MemoryNotifications()
        self.controls = MemoryControls()
        self.runs = MemoryRuns(self._surroundings, self._ask_again)

    def now(self) -> datetime:
        """Return the virtual present."""
        return self.jobs.now

    def transaction(self) -> MemoryStore:
        """Begin."""
        return self

    async def __aenter__(self) -> MemoryStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def wake(self, job: Job, keys: Sequence[str] = ("",), after: timedelta | None = None) -> None:
        """Note jobs, one a key."""
        for key in keys:
            self.jobs.add(job, key, after)

    async def serialise(self, name: str) -> None:
        """Nothing else goes on."""

    def _ask_again(self, run: uuid.UUID, at: datetime) -> None:
        self.jobs.add(Job.START, str(run), at - self.now())

    def _surroundings(self, run_incident: int) -> tuple[Incident, list[Occurrence]]:
        return self.incidents.all[run_incident - 1], list(self.alerts.firing(run_incident))


def run_id(number: int) -> uuid.UUID:
    """Return the id of the n-th run: the same in every simulation, and told apart by its beginning."""
    return uuid.UUID(int=number << 96)
