"""The outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from hdr_responder.adapters.store.rows import document, names, parsed, pick, read, text
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind, NotificationStatus
from hdr_responder.domain.ports.store import Message, QueuedTest

SQL = load("notifications")
COLUMNS = names(Notification)


def to_notification(row: asyncpg.Record) -> Notification:
    """Return the notification that a row holds."""
    return Notification(
        **read(row, COLUMNS)
        | {"lane": Lane(row["lane"]), "kind": NotificationKind(row["kind"]), "payload": parsed(row["payload"])}
    )


class PostgresNotifications:
    """The `Notifications` port."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add(self, notifications: Sequence[Notification]) -> None:
        """Queue these in this order."""
        if notifications:
            rows = [pick(n, COLUMNS) | {"payload": dict(n.payload)} for n in notifications]
            await self._session.execute(SQL["add"], document(rows))

    async def claim_due(self, lane: Lane, now: datetime, visibility: timedelta) -> Notification | None:
        """Claim the lane's next due one; a claimed card supersedes the cards of its incident that wait behind it.

        A card is rendered after its claim, so it shows what the superseded ones were queued for; one queued later waits
        its turn. Incidents that page are served before others.
        """
        row = await self._session.row(SQL["claim_due"], lane, now, visibility)
        if row is None:
            return None
        claimed = to_notification(row)
        if claimed.kind is NotificationKind.CARD:
            await self._session.execute(SQL["collapse_cards"], claimed.incident_id, lane, claimed.id)
        return claimed

    async def mark_sent(self, notification: Notification, at: datetime) -> None:
        """Record delivery."""
        await self._session.execute(SQL["mark_sent"], notification.id, at)

    async def mark_retry(self, notification: Notification, error: str, due_at: datetime) -> None:
        """Record a failed attempt and when to try again; nothing when another worker has delivered it since."""
        await self._session.execute(SQL["mark_retry"], notification.id, text(error), due_at)

    async def mark_failed(self, notification: Notification, error: str, at: datetime) -> None:
        """Give up on it: it no longer keeps the younger ones of its incident waiting."""
        await self._session.execute(SQL["mark_failed"], notification.id, text(error), at)

    async def tests(self, queued_at: datetime) -> list[QueuedTest]:
        """Return what became of test messages."""
        return [
            QueuedTest(
                lane=Lane(row["lane"]),
                status=NotificationStatus(row["status"]),
                attempts=row["attempts"],
                error=row["error"],
            )
            for row in await self._session.fetch(SQL["tests"], queued_at)
        ]

    async def message(self, incident_id: int, lane: Lane) -> Message | None:
        """Return where the incident's message stands in a lane."""
        row = await self._session.row(SQL["message"], incident_id, lane)
        return None if row is None else Message(channel=row["channel"], message_id=row["message_id"])

    async def incident_of_message(self, channel: str, message_id: str) -> int | None:
        """Return which incident a message shows."""
        found: int | None = await self._session.value(SQL["incident_of_message"], channel, message_id)
        return found

    async def save_message(self, incident_id: int, lane: Lane, message: Message) -> None:
        """Remember where it stands."""
        await self._session.execute(SQL["save_message"], incident_id, lane, message.channel, message.message_id)
