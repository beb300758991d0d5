"""The append-only account."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from hdr_responder.adapters.store.rows import document, names, parsed, pick, read
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.timeline import EntryKind, TimelineEntry

SQL = load("timeline")
COLUMNS = names(TimelineEntry)


def to_entry(row: asyncpg.Record) -> TimelineEntry:
    """Return the entry that a row holds."""
    return TimelineEntry(**read(row, COLUMNS) | {"kind": EntryKind(row["kind"]), "detail": parsed(row["detail"])})


class PostgresTimeline:
    """The `Timeline` port; the database refuses to change or remove entries."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def append(self, entries: Sequence[TimelineEntry]) -> None:
        """Add entries in this order."""
        if entries:
            rows = [pick(entry, COLUMNS) | {"detail": dict(entry.detail)} for entry in entries]
            await self._session.execute(SQL["append"], document(rows))

    async def of_incident(self, incident_id: int, *, after: int = 0, limit: int = 1000) -> list[TimelineEntry]:
        """Return an incident's entries in order, those with an id above ``after``."""
        return [to_entry(row) for row in await self._session.fetch(SQL["of_incident"], incident_id, after, limit)]
