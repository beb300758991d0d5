"""The dispatcher: delivers the outbox, each lane by itself, until every message is delivered or given up with a reason.

A lane is never waited for by another. What is given up is told on the incident, and a page that its lane refuses goes
to the chat instead, since somebody has to be woken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from hdr_responder.domain.clock import Clock
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.ports.people import LaneSender, Posted
from hdr_responder.domain.ports.records import IncidentRecord, Records
from hdr_responder.domain.ports.store import Job, Message, Store, Transaction
from hdr_responder.domain.timeline import EntryKind, TimelineEntry
from hdr_responder.engine.ledger import Lanes
from hdr_responder.engine.measures import Measures
from hdr_responder.errors import HdrError, NotFoundError, TemporaryError

log = structlog.get_logger(__name__)

BATCH = 50
"""Messages a job; more work enqueues another job."""
SEND_TIMEOUT_SECONDS = 30.0
CLAIMED_FOR = timedelta(seconds=60)
GIVE_UP_AFTER = timedelta(hours=24)
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
PAGE_ELSEWHERE_AT = 5
"""The attempt (after about 15 s) from which on a page that its lane does not take is told in the chat as well."""


class Dispatcher:
    """Delivers one lane's notifications."""

    def __init__(
        self,
        *,
        store: Store,
        records: Records,
        senders: Mapping[Lane, LaneSender],
        lanes: Lanes,
        clock: Clock,
        measures: Measures,
        random_: random.Random | None = None,
    ) -> None:
        self._store = store
        self._records = records
        self._senders = senders
        self._lanes = lanes
        self._clock = clock
        self._measures = measures
        self._random = random_ or random.Random()  # noqa: S311 - jitter, not a secret

    async def deliver(self, lane: Lane) -> None:
        """Deliver what is due, oldest first."""
        for _ in range(BATCH):
            async with self._store.transaction() as tx:
                notification = await tx.notifications.claim_due(lane, self._clock.now(), CLAIMED_FOR)
            if notification is None:
                return
            await self._deliver_one(notification)
        async with self._store.transaction() as tx:
            await tx.wake(Job.notify(lane))

    async def _deliver_one(self, notification: Notification) -> None:
        incident = f"INC-{notification.incident_id}" if notification.incident_id else ""
        with structlog.contextvars.bound_contextvars(incident=incident, lane=notification.lane):
            try:
                posted = await self._send(notification)
            except (TemporaryError, TimeoutError) as error:
                await self._retry(notification, error)
            except HdrError as error:
                await self._give_up(notification, str(error))
            except Exception as error:
                log.exception("notification_crashed", kind=notification.kind)
                await self._give_up(notification, f"unexpected {type(error).__name__}")
            else:
                await self._sent(notification, posted)

    async def _send(self, notification: Notification) -> Posted:
        sender = self._senders.get(notification.lane)
        if sender is None:
            raise NotFoundError(f"lane {notification.lane} is not configured any more")
        record, message = await self._context(notification)
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            return await sender.send(notification, record, message)

    async def _context(self, notification: Notification) -> tuple[IncidentRecord | None, Message | None]:
        if notification.incident_id is None:
            return None, None
        record = await self._records.incident(notification.incident_id)
        async with self._store.transaction() as tx:
            return record, await tx.notifications.message(notification.incident_id, notification.lane)

    async def _sent(self, notification: Notification, posted: Posted) -> None:
        now = self._clock.now()
        async with self._store.transaction() as tx:
            if posted.message is not None and notification.incident_id is not None:
                await tx.notifications.save_message(notification.incident_id, notification.lane, posted.message)
            await tx.notifications.mark_sent(notification, now)
        self._measures.notification(notification.lane, "sent")

    async def _retry(self, notification: Notification, error: Exception) -> None:
        now = self._clock.now()
        if now - notification.created_at > GIVE_UP_AFTER:
            return await self._give_up(notification, f"not delivered within {GIVE_UP_AFTER}: {error}")
        wished = error.retry_after if isinstance(error, TemporaryError) else None
        due = self._next_try(now, notification.attempts, wished)
        log.warning("notification_retried", kind=notification.kind, error=str(error), due_at=due.isoformat())
        async with self._store.transaction() as tx:
            await tx.notifications.mark_retry(notification, str(error)[:1000], due)
            await tx.wake(Job.notify(notification.lane), after=due - now)
            if notification.attempts == PAGE_ELSEWHERE_AT:
                await self._page_elsewhere(tx, notification)
        self._measures.notification(notification.lane, "retried")

    def _next_try(self, now: datetime, attempts: int, wished: float | None) -> datetime:
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 10))
        jittered = pause * (0.75 + self._random.random() / 2)
        return now + timedelta(seconds=max(wished, 0.05) if wished is not None else jittered)

    async def _give_up(self, notification: Notification, error: str) -> None:
        now = self._clock.now()
        log.error("notification_failed", kind=notification.kind, error=error)
        async with self._store.transaction() as tx:
            await tx.notifications.mark_failed(notification, error[:1000], now)
            if notification.incident_id is not None:
                text = f"{notification.lane} could not deliver {notification.kind}: {error}"[:1000]
                entry = TimelineEntry(
                    incident_id=notification.incident_id, at=now, kind=EntryKind.PROBLEM, summary=text
                )
                await tx.timeline.append([entry])
            if notification.attempts <= PAGE_ELSEWHERE_AT:
                await self._page_elsewhere(tx, notification)
        self._measures.notification(notification.lane, "failed")

    async def _page_elsewhere(self, tx: Transaction, notification: Notification) -> None:
        """Tell the chat about a page that its lane does not take, once: somebody has to be woken."""
        if notification.kind is not NotificationKind.PAGE or notification.lane is self._lanes.chat:
            return
        now = self._clock.now()
        page = Notification(
            lane=self._lanes.chat,
            kind=NotificationKind.PAGE,
            incident_id=notification.incident_id,
            created_at=now,
            due_at=now,
            payload={**notification.payload, "fallback_for": str(notification.lane)},
        )
        await tx.notifications.add([page])
        await tx.wake(Job.notify(self._lanes.chat))
