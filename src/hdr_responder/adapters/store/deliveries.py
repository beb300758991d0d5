"""Raw inbound requests, as intake takes them up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from hdr_responder.adapters.store.rows import names, read, text
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.domain.ports.store import Pending
from hdr_responder.errors import ConflictError, NotFoundError

SQL = load("deliveries")
COLUMNS = names(Delivery)
TAKEN_BYTES = 4 * 1024 * 1024


def to_delivery(row: asyncpg.Record) -> Delivery:
    """Return the delivery that a row holds."""
    return Delivery(**read(row, COLUMNS))


class PostgresDeliveries:
    """The `Deliveries` port. Rows that another transaction works on are skipped, so that two intakes share the work."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def pending(self) -> Pending:
        """Tell what there is to do, without locking anything."""
        row = await self._session.row(SQL["pending"])
        assert row is not None, "the query always gives one row"
        return Pending(waiting=row["waiting"], rejects=row["rejects"])

    async def waiting(self, limit: int) -> list[Delivery]:
        """Return the oldest unprocessed ones, locked; those beyond `TAKEN_BYTES` wait for the next call."""
        return [to_delivery(row) for row in await self._session.fetch(SQL["waiting"], limit, TAKEN_BYTES)]

    async def unreported_rejects(self, limit: int) -> list[Delivery]:
        """Return the oldest rejected ones without an incident, locked."""
        return [to_delivery(row) for row in await self._session.fetch(SQL["unreported_rejects"], limit)]

    async def mark_processed(self, ids: Sequence[int], at: datetime) -> None:
        """Record that intake is done with them; rejected and parked ones keep their status."""
        await self._session.execute(SQL["mark_processed"], list(ids), at)

    async def park(self, delivery_id: int, error: str, field: str, at: datetime) -> None:
        """Set one aside with what is wrong with it."""
        await self._session.execute(SQL["park"], delivery_id, text(error), text(field), at)

    async def replay(self, delivery_id: int) -> None:
        """Let a parked or rejected one wait again; raises NotFoundError, ConflictError when it is neither."""
        if await self._session.execute(SQL["replay"], delivery_id):
            return
        status = await self._session.value(SQL["status"], delivery_id)
        if status is None:
            raise NotFoundError(f"delivery {delivery_id} does not exist")
        raise ConflictError(f"delivery {delivery_id} is {status}: only parked or rejected ones can be replayed")

    async def record_attempt(self, ids: Sequence[int]) -> None:
        """Count a failed attempt."""
        await self._session.execute(SQL["record_attempt"], list(ids))
