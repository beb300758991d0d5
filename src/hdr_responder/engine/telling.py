"""A transaction on one incident: what is told is committed with what is changed, or neither is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from hdr_responder.domain.clock import Clock
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.ports.store import Store, Transaction
from hdr_responder.engine.ledger import Lanes, Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """An open transaction, its incident, locked, and the ledger that is written at the end."""

    tx: Transaction
    incident: Incident
    ledger: Ledger


@asynccontextmanager
async def telling(store: Store, lanes: Lanes, clock: Clock, incident_id: int) -> AsyncIterator[Telling]:
    """Open a transaction with the incident locked; the incident and the ledger are stored at the end of the block.

    Locks are always taken in the order incident, run, pause switch, targets. Raises NotFoundError.
    """
    async with store.transaction() as tx:
        incident = await tx.incidents.get(incident_id, lock=True)
        before = replace(incident)
        told = Telling(tx=tx, incident=incident, ledger=Ledger(lanes, clock.now()))
        yield told
        if incident != before:
            await tx.incidents.update([incident])
        await told.ledger.flush(tx)
