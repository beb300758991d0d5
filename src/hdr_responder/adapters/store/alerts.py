"""Alert occurrences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from hdr_responder.adapters.store.rows import document, names, parsed, pick, read
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.alerts import AlertStatus, Occurrence
from hdr_responder.domain.ports.store import AlertTotals

SQL = load("alerts")
COLUMNS = names(Occurrence, without=("changed",))
_TOTALS = names(AlertTotals)


def to_occurrence(row: asyncpg.Record) -> Occurrence:
    """Return the occurrence that a row holds, marked unchanged."""
    values = read(row, COLUMNS)
    return Occurrence(
        **values
        | {
            "labels": parsed(row["labels"]),
            "annotations": parsed(row["annotations"]),
            "status": AlertStatus(row["status"]),
            "starts": tuple(row["starts"]),
            "changed": False,
        }
    )


def _to_row(occurrence: Occurrence) -> dict[str, Any]:
    return pick(occurrence, COLUMNS) | {
        "labels": dict(occurrence.labels),
        "annotations": dict(occurrence.annotations),
        "starts_at": occurrence.starts_at,
        "correlation": occurrence.correlation,
    }


class PostgresAlerts:
    """The `Alerts` port."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def history(self, identities: Sequence[tuple[str, str]], since: datetime) -> list[Occurrence]:
        """Return the occurrences of these (source, fingerprint) that fire or ended at ``since`` or later."""
        distinct = sorted(set(identities))
        sources, fingerprints = [source for source, _ in distinct], [fingerprint for _, fingerprint in distinct]
        return [to_occurrence(row) for row in await self._session.fetch(SQL["history"], sources, fingerprints, since)]

    async def save(self, occurrences: Sequence[Occurrence]) -> None:
        """Update the known ones, then insert the new ones: a new firing may follow one that ends in the same batch."""
        known = [o for o in occurrences if o.id is not None]
        if known:
            await self._session.execute(SQL["update"], document([_to_row(o) for o in known]))
        new = [o for o in occurrences if o.id is None]
        if new:
            for occurrence, row in zip(new, await self._session.fetch(SQL["new_ids"], len(new)), strict=True):
                occurrence.id = row[0]
            await self._session.execute(SQL["insert"], document([_to_row(o) for o in new]))

    async def totals(self, incident_ids: Sequence[int]) -> Mapping[int, AlertTotals]:
        """Count the alerts of these incidents; an incident without alerts is absent."""
        rows = await self._session.fetch(SQL["totals"], list(incident_ids))
        return {row["incident_id"]: AlertTotals(**read(row, _TOTALS)) for row in rows}

    async def of_incident(self, incident_id: int, *, firing_only: bool, limit: int) -> list[Occurrence]:
        """Return an incident's occurrences, firing and oldest first."""
        return await self._list("of_incident", incident_id, firing_only, limit)

    async def quiet(self, before: datetime, limit: int) -> list[Occurrence]:
        """Return firing ones last received before ``before``, those longest without a `mark_absent` first."""
        return await self._list("quiet", before, limit)

    async def mark_absent(self, ids: Sequence[int], at: datetime | None) -> None:
        """Record Alertmanager's answer: unknown to it since ``at``, of which the first counts, or known (None)."""
        await self._session.execute(SQL["mark_absent"], list(ids), at)

    async def absent(self, since: datetime, quiet_since: datetime, limit: int) -> list[Occurrence]:
        """Return firing ones unknown to Alertmanager since ``since`` or earlier, or silent since ``quiet_since``."""
        return await self._list("absent", since, quiet_since, limit)

    async def _list(self, name: str, *arguments: object) -> list[Occurrence]:
        return [to_occurrence(row) for row in await self._session.fetch(SQL[name], *arguments)]
