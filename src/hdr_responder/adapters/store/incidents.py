"""Incidents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from hdr_responder.adapters.store.rows import document, names, pick, read
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.incidents import Incident, IncidentStatus, format_ref
from hdr_responder.domain.priorities import Priority
from hdr_responder.errors import NotFoundError

SQL = load("incidents")
COLUMNS = names(Incident)


def to_incident(row: asyncpg.Record) -> Incident:
    """Return the incident that a row holds."""
    return Incident(
        **read(row, COLUMNS) | {"priority": Priority(row["priority"]), "status": IncidentStatus(row["status"])}
    )


def not_found(incident_id: int) -> NotFoundError:
    """Return the error for an incident that does not exist."""
    return NotFoundError(f"{format_ref(incident_id)} does not exist")


class PostgresIncidents:
    """The `Incidents` port. Locks let others refer to the incident meanwhile (timeline, alerts), not change it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, incident_id: int, *, lock: bool = False) -> Incident:
        """Return one; raises NotFoundError."""
        row = await self._session.row(SQL["get_locked" if lock else "get"], incident_id)
        if row is None:
            raise not_found(incident_id)
        return to_incident(row)

    async def by_keys(self, keys: Sequence[str], ids: Sequence[int] = ()) -> list[Incident]:
        """Return those of these keys that are not closed, and those with these ids, locked, newest first."""
        return await self._list("by_keys", list(keys), list(ids))

    async def insert(self, incidents: Sequence[Incident]) -> None:
        """Store new ones and set their ids, numbered in this order."""
        if not incidents:
            return
        for incident, row in zip(incidents, await self._session.fetch(SQL["new_ids"], len(incidents)), strict=True):
            incident.id = row[0]
        await self._session.execute(SQL["insert"], document([pick(i, COLUMNS) for i in incidents]))

    async def update(self, incidents: Sequence[Incident]) -> None:
        """Store their present state; key, cluster, service, problem and opening time stay."""
        if incidents:
            await self._session.execute(SQL["update"], document([pick(i, COLUMNS) for i in incidents]))

    async def due(self, now: datetime, limit: int) -> list[Incident]:
        """Return open ones whose paging or escalation time has come, locked; those that others work on are skipped."""
        return await self._list("due", now, limit)

    async def to_close(self, resolved_before: datetime, limit: int) -> list[Incident]:
        """Return those resolved before, locked; those that others work on are skipped."""
        return await self._list("to_close", resolved_before, limit)

    async def _list(self, name: str, *arguments: object) -> list[Incident]:
        return [to_incident(row) for row in await self._session.fetch(SQL[name], *arguments)]
