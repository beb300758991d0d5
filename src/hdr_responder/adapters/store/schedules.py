"""What starts by the clock: due times in a table of our own, each claimed by one replica."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.schedules import Scheduled

SQL = load("schedules")


class PostgresSchedules:
    """The `Schedules` port."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def expect(self, scheduled: Sequence[Scheduled]) -> None:
        """Keep these due times, where none is kept yet."""
        columns = _columns(scheduled, "playbook", "cron", "time_zone", "next_at")
        await self._session.execute(SQL["expect"], *columns)

    async def due(self, wanted: Sequence[Scheduled], now: datetime) -> list[Scheduled]:
        """Return those of ``wanted`` that are due, the longest overdue first; others may be about to claim them too."""
        rows = await self._session.fetch(SQL["due"], *_columns(wanted, "playbook", "cron", "time_zone"), now)
        return [Scheduled(**dict(row)) for row in rows]

    async def claim(self, scheduled: Scheduled, now: datetime) -> datetime | None:
        """Lock it and return when it was due; None when it is not, or another transaction holds it."""
        found: datetime | None = await self._session.value(SQL["claim"], *_key(scheduled), now)
        return found

    async def move(self, scheduled: Scheduled, next_at: datetime) -> None:
        """Set when it is due next."""
        await self._session.execute(SQL["move"], *_key(scheduled), next_at)

    async def forget(self, before: datetime) -> None:
        """Drop what was due before this time and nobody claimed: no document names it any more."""
        await self._session.execute(SQL["forget"], before)

    async def open_incident(self, key: str) -> int | None:
        """Return the open incident of this key."""
        found: int | None = await self._session.value(SQL["open_incident"], key)
        return found

    async def unfinished(self, playbook: str) -> int | None:
        """Return the incident of a run of this playbook that the clock started and that has not ended."""
        found: int | None = await self._session.value(SQL["unfinished"], playbook)
        return found

    async def to_settle(self, limit: int) -> list[int]:
        """Return open incidents that stand for scheduled runs and whose newest run needs nobody any more."""
        return [row["id"] for row in await self._session.fetch(SQL["to_settle"], limit)]


def _columns(scheduled: Sequence[Scheduled], *names: str) -> list[list[object]]:
    return [[getattr(each, name) for each in scheduled] for name in names]


def _key(scheduled: Scheduled) -> tuple[str, str, str]:
    return scheduled.playbook, scheduled.cron, scheduled.time_zone
