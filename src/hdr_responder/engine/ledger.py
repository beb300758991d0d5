"""Collects what a transaction will tell: timeline entries, notifications and wake-ups, written together at its end.

Collecting first keeps a storm at a fixed number of statements, and keeps the rule that nothing is told that was not
committed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import JsonValue

from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.ports.store import Job, Transaction
from hdr_responder.domain.timeline import AUTOMATION, EntryKind, TimelineEntry

PAGES_A_MINUTE = 10
"""More pages than these wake nobody faster: one umbrella page a minute stands for the rest."""

_Message = tuple[Incident | None, Lane, NotificationKind, Mapping[str, JsonValue]]


class Lanes:
    """Which lane carries the incident's message and which one pages.

    Nothing configured: both are the console, so that a newcomer sees what people would get.
    """

    def __init__(self, *, slack: bool, pagerduty: bool) -> None:
        self.chat = Lane.SLACK if slack else Lane.CONSOLE
        self.pager = Lane.PAGERDUTY if pagerduty else self.chat

    @property
    def all(self) -> tuple[Lane, ...]:
        """The lanes in use."""
        return tuple(dict.fromkeys((self.chat, self.pager)))


class Ledger:
    """What one transaction will tell. Incidents may get their id until `flush`."""

    def __init__(self, lanes: Lanes, now: datetime) -> None:
        self.now = now
        self._lanes = lanes
        self._entries: list[tuple[Incident, TimelineEntry]] = []
        self._messages: list[_Message] = []
        self._cards: dict[int, Incident] = {}
        self._plans: dict[int, Incident] = {}
        self._wakes: dict[tuple[Job, timedelta | None], dict[str, None]] = {}

    def entry(
        self,
        incident: Incident,
        kind: EntryKind,
        summary: str,
        *,
        actor: str = AUTOMATION,
        detail: Mapping[str, JsonValue] | None = None,
        run_id: uuid.UUID | None = None,
    ) -> None:
        """Add a timeline entry; the incident's card is refreshed with it."""
        told = TimelineEntry(
            incident_id=0, at=self.now, kind=kind, summary=summary, actor=actor, detail=detail or {}, run_id=run_id
        )
        self._entries.append((incident, told))
        self._cards[id(incident)] = incident

    def say(self, incident: Incident, text: str, channel: str | None = None) -> None:
        """Add a line to the incident's thread, or to another channel."""
        self._cards[id(incident)] = incident
        payload = {"text": text} | ({"channel": channel} if channel else {})
        self._messages.append((incident, self._lanes.chat, NotificationKind.THREAD, payload))

    def page(self, incident: Incident, reason: str) -> None:
        """Wake somebody up."""
        payload: dict[str, JsonValue] = {"text": reason, "episode": incident.episode}
        self._messages.append((incident, self._lanes.pager, NotificationKind.PAGE, payload))

    def page_state(self, incident: Incident, kind: NotificationKind) -> None:
        """Tell the pager that the incident was acknowledged or resolved, if it was paged."""
        if incident.paged_at is None:
            return
        self._messages.append((incident, self._lanes.pager, kind, {"episode": incident.episode}))

    def test_messages(self) -> None:
        """Send a visible test message on every lane."""
        self._messages.extend((None, lane, NotificationKind.TEST, {}) for lane in self._lanes.all)

    def wake(self, job: Job, key: str = "", *, after: timedelta | None = None) -> None:
        """Enqueue a job with the transaction."""
        self._wakes.setdefault((job, after), {})[key] = None

    def plan(self, incident: Incident) -> None:
        """Enqueue planning for the incident, which is stored after this; it may not be stored yet."""
        incident.plan_at = self.now
        self._plans[id(incident)] = incident

    async def flush(self, tx: Transaction) -> None:
        """Write everything in a fixed number of statements."""
        await self._limit_pages(tx)
        entries = [replace(entry, incident_id=incident.id) for incident, entry in self._entries]
        if entries:
            await tx.timeline.append(entries)
        notifications = self._notifications()
        if notifications:
            await tx.notifications.add(notifications)
            for lane in {n.lane for n in notifications}:
                self.wake(Job.notify(lane))
        for incident in self._plans.values():
            self.wake(Job.PLAN, str(incident.id))
        for (job, after), keys in self._wakes.items():
            await tx.wake(job, list(keys), after)

    async def _limit_pages(self, tx: Transaction) -> None:
        """Let so many pages a minute through, the most urgent first; one umbrella page stands for the others."""
        pages = [m for m in self._messages if m[2] is NotificationKind.PAGE]
        if not pages:
            return
        pages.sort(key=lambda m: m[0].priority.rank if m[0] else 0)
        minute = f"{self.now:%Y-%m-%dT%H:%M}"
        free = await tx.controls.take_slots(f"page/{minute}", PAGES_A_MINUTE, len(pages), self.now)
        over = pages[free:]
        if not over:
            return
        left_out = {id(m) for m in over}
        self._messages = [m for m in self._messages if id(m) not in left_out]
        stands = await tx.controls.first_time(f"umbrella/{minute}", self.now)
        for incident, *_ in over[1:] if stands else over:
            if incident is not None:
                text = f"Not paged by itself: more than {PAGES_A_MINUTE} pages a minute; one page stands for them"
                self._entries.append((incident, self._problem(text)))
        first = over[0][0]
        if stands and first is not None:
            self.page(first, f"Page storm: {first.title}, and at least {len(over) - 1} more incidents page just now")

    def _problem(self, text: str) -> TimelineEntry:
        return TimelineEntry(incident_id=0, at=self.now, kind=EntryKind.PROBLEM, summary=text)

    def _notifications(self) -> list[Notification]:
        cards: list[_Message] = [(i, self._lanes.chat, NotificationKind.CARD, {}) for i in self._cards.values()]
        return [
            Notification(
                lane=lane,
                kind=kind,
                incident_id=incident.id if incident else None,
                created_at=self.now,
                due_at=self.now,
                payload=payload,
            )
            for incident, lane, kind, payload in (*cards, *self._messages)
        ]
