"""The store as the engine sees it: transactions, and in each the records by their nouns.

Everything inside one ``async with store.transaction()`` is committed together or not at all, jobs included; that is
what makes "2xx means committed", "started before acted" and "decided in the transaction that starts" true.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from hdr_responder.domain.alerts import Occurrence
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.domain.guards import Hold, PauseState
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.notifications import Lane, Notification, NotificationStatus
from hdr_responder.domain.ports.runs import Runs
from hdr_responder.domain.schedules import Scheduled
from hdr_responder.domain.timeline import TimelineEntry


class Job(StrEnum):
    """What a worker can be woken for; the payload names the row, the row says what is due."""

    INTAKE = "intake"
    PLAN = "plan"
    START = "start"
    RUN = "run"
    VERIFY = "verify"
    UNDO = "undo"
    DEADLINE = "deadline"
    NOTIFY_SLACK = "notify_slack"
    NOTIFY_PAGERDUTY = "notify_pagerduty"
    NOTIFY_CONSOLE = "notify_console"

    @staticmethod
    def notify(lane: Lane) -> Job:
        """Return the job that delivers one lane."""
        return Job(f"notify_{lane}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertTotals:
    """An incident's alerts, counted."""

    total: int
    firing: int
    first_starts_at: datetime
    last_ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Evidence kept with an incident; its bytes are in the object store at ``path``."""

    id: uuid.UUID
    incident_id: int
    run_id: uuid.UUID | None
    step_id: str
    name: str
    media_type: str
    size: int
    sha256: bytes
    path: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An incident's message in a lane, to be edited in place."""

    channel: str
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedTest:
    """A test message and what became of it so far; ``error`` is of the last failed attempt."""

    lane: Lane
    status: NotificationStatus
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Whether intake has anything to do: deliveries that wait, rejected ones that nobody was told of."""

    waiting: bool
    rejects: bool


class Deliveries(Protocol):
    """Raw inbound requests."""

    async def pending(self) -> Pending:
        """Tell what there is to do, without locking anything."""
        ...

    async def waiting(self, limit: int) -> list[Delivery]:
        """Return the oldest deliveries that intake has not processed, locked, at most ``limit``."""
        ...

    async def unreported_rejects(self, limit: int) -> list[Delivery]:
        """Return rejected deliveries for which no incident was opened yet."""
        ...

    async def mark_processed(self, ids: Sequence[int], at: datetime) -> None:
        """Record that intake is done with them; rejected ones stay rejected."""
        ...

    async def park(self, delivery_id: int, error: str, field: str, at: datetime) -> None:
        """Record that one cannot be processed; its bytes are kept."""
        ...

    async def replay(self, delivery_id: int) -> None:
        """Let a parked or rejected one wait again, as if it had just come.

        Raises NotFoundError, and ConflictError when it waits already or was processed.
        """
        ...


class Alerts(Protocol):
    """Occurrences."""

    async def history(self, identities: Sequence[tuple[str, str]], since: datetime) -> list[Occurrence]:
        """Return the occurrences of these (source, fingerprint) that fire or ended at ``since`` or later."""
        ...

    async def save(self, occurrences: Sequence[Occurrence]) -> None:
        """Insert the new ones (setting their ids) and update the others."""
        ...

    async def totals(self, incident_ids: Sequence[int]) -> Mapping[int, AlertTotals]:
        """Count the alerts of these incidents."""
        ...

    async def of_incident(self, incident_id: int, *, firing_only: bool, limit: int) -> list[Occurrence]:
        """Return an incident's occurrences, firing and oldest first."""
        ...

    async def quiet(self, before: datetime, limit: int) -> list[Occurrence]:
        """Return firing occurrences last received before ``before``, those asked about longest ago first."""
        ...

    async def mark_absent(self, ids: Sequence[int], at: datetime | None) -> None:
        """Record that Alertmanager does not know them since ``at`` (an earlier time stays); None: it does again."""
        ...

    async def absent(self, since: datetime, quiet_since: datetime, limit: int) -> list[Occurrence]:
        """Return firing occurrences unknown to Alertmanager by ``since``, or last received by ``quiet_since``."""
        ...


class Incidents(Protocol):
    """Incidents."""

    async def get(self, incident_id: int, *, lock: bool = False) -> Incident:
        """Return one; ``lock`` keeps others from changing it until the transaction ends.

        Raises NotFoundError.
        """
        ...

    async def by_keys(self, keys: Sequence[str], ids: Sequence[int] = ()) -> list[Incident]:
        """Return the incidents of these keys that are not closed, and those with these ids, locked, newest first."""
        ...

    async def insert(self, incidents: Sequence[Incident]) -> None:
        """Store new ones and set their ids, numbered in this order."""
        ...

    async def update(self, incidents: Sequence[Incident]) -> None:
        """Store the present state of these."""
        ...

    async def due(self, now: datetime, limit: int) -> list[Incident]:
        """Return open incidents whose paging or escalation time has come, locked."""
        ...

    async def to_close(self, resolved_before: datetime, limit: int) -> list[Incident]:
        """Return resolved incidents whose reopen window has long passed, locked."""
        ...


class Timeline(Protocol):
    """The append-only account."""

    async def append(self, entries: Sequence[TimelineEntry]) -> None:
        """Add entries in this order."""
        ...

    async def of_incident(self, incident_id: int, *, after: int = 0, limit: int = 1000) -> list[TimelineEntry]:
        """Return an incident's entries in order, those with an id above ``after``."""
        ...


class Notifications(Protocol):
    """The outbox."""

    async def add(self, notifications: Sequence[Notification]) -> None:
        """Queue these."""
        ...

    async def claim_due(self, lane: Lane, now: datetime, visibility: timedelta) -> Notification | None:
        """Claim the lane's next due notification for ``visibility``, never overtaking an older one of its incident.

        A claim counts as an attempt and moves ``due_at`` past the claim, so that a worker that dies gives it back. A
        claimed card supersedes the cards of its incident that wait behind it.
        """
        ...

    async def mark_sent(self, notification: Notification, at: datetime) -> None:
        """Record delivery."""
        ...

    async def mark_retry(self, notification: Notification, error: str, due_at: datetime) -> None:
        """Record a failed attempt and when to try again."""
        ...

    async def mark_failed(self, notification: Notification, error: str, at: datetime) -> None:
        """Give up on it."""
        ...

    async def message(self, incident_id: int, lane: Lane) -> Message | None:
        """Return where the incident's message stands in a lane."""
        ...

    async def incident_of_message(self, channel: str, message_id: str) -> int | None:
        """Return which incident a message shows."""
        ...

    async def save_message(self, incident_id: int, lane: Lane, message: Message) -> None:
        """Remember where it stands."""
        ...

    async def tests(self, queued_at: datetime) -> list[QueuedTest]:
        """Return what became of the test messages that were queued at exactly this time."""
        ...


class Controls(Protocol):
    """Switches that people set, and signs of life."""

    async def pause_state(self) -> PauseState:
        """Return the pause switch under a share lock: while it is held, `set_pause` waits."""
        ...

    async def set_pause(self, state: PauseState) -> None:
        """Set the pause switch; waits until nothing that read it is still starting."""
        ...

    async def set_hold(self, hold: Hold) -> None:
        """Hold a service, or move its end."""
        ...

    async def watchdog_seen(self, source: str, at: datetime) -> None:
        """Record that a source's watchdog alert was heard."""
        ...

    async def watchdog_expected(self, sources: Sequence[str], at: datetime) -> None:
        """Expect a watchdog from these sources from ``at`` on, where none was heard or expected before."""
        ...

    async def watchdogs_missing(self, before: datetime) -> list[str]:
        """Return, once each, the sources whose watchdog was last heard before ``before``, and mark them missing."""
        ...

    async def first_time(self, key: str, at: datetime) -> bool:
        """Record an inbound event; False when it was already taken."""
        ...

    async def take_slots(self, name: str, limit: int, wanted: int, at: datetime) -> int:
        """Take up to ``wanted`` of the ``limit`` slots of this name that are still free; return how many were taken."""
        ...


class Schedules(Protocol):
    """What starts by the clock."""

    async def expect(self, scheduled: Sequence[Scheduled]) -> None:
        """Keep these due times, where none is kept yet."""
        ...

    async def due(self, wanted: Sequence[Scheduled], now: datetime) -> list[Scheduled]:
        """Return those of ``wanted`` that are due, the longest overdue first; others may be about to claim them too."""
        ...

    async def claim(self, scheduled: Scheduled, now: datetime) -> datetime | None:
        """Lock it and return when it was due; None when it is not, or another transaction holds it."""
        ...

    async def move(self, scheduled: Scheduled, next_at: datetime) -> None:
        """Set when it is due next."""
        ...

    async def forget(self, before: datetime) -> None:
        """Drop what was due before this time and nobody claimed: no document names it any more."""
        ...

    async def open_incident(self, key: str) -> int | None:
        """Return the open incident of this key."""
        ...

    async def unfinished(self, playbook: str) -> int | None:
        """Return the incident of a run of this playbook that the clock started and that has not ended."""
        ...

    async def to_settle(self, limit: int) -> list[int]:
        """Return open incidents that stand for scheduled runs and whose newest run needs nobody any more."""
        ...


class Artifacts(Protocol):
    """Evidence."""

    async def add(self, artifact: Artifact) -> None:
        """Record one whose bytes are stored."""
        ...

    async def of_incident(self, incident_id: int) -> list[Artifact]:
        """Return an incident's artifacts, oldest first."""
        ...


class Transaction(Protocol):
    """One transaction."""

    deliveries: Deliveries
    alerts: Alerts
    incidents: Incidents
    timeline: Timeline
    runs: Runs
    notifications: Notifications
    controls: Controls
    schedules: Schedules
    artifacts: Artifacts

    async def wake(self, job: Job, keys: Sequence[str] = ("",), after: timedelta | None = None) -> None:
        """Enqueue jobs in this transaction, one a key; ``after`` delays them."""
        ...

    async def serialise(self, name: str) -> None:
        """Wait until no other transaction of this name is under way, and keep others waiting until this one ends."""
        ...


class Store(Protocol):
    """Where records are kept."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction; it is committed when the block ends and rolled back when it raises."""
        ...
