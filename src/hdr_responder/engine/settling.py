"""What several stages settle alike: how an incident ends when its alerts do, and how a run gives its targets back."""

from __future__ import annotations

import uuid
from datetime import datetime

from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.notifications import NotificationKind
from hdr_responder.domain.ports.store import Job, Transaction
from hdr_responder.domain.runs import RunStatus
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.ledger import Ledger

HELD_READ = 200
"""How many held runs are looked at when targets are given back; the others ask again by the clock."""


def resolve_by_alerts(incident: Incident, ledger: Ledger, *, at: datetime) -> None:
    """Resolve an incident because none of its alerts fires since ``at``; runs that waited are no longer needed."""
    incident.move(IncidentStatus.RESOLVED, at=at, by=None)
    incident.page_at = incident.escalate_at = None
    ledger.entry(incident, EntryKind.RESOLVED, "Resolved: none of its alerts fires any more")
    ledger.page_state(incident, NotificationKind.PAGE_RESOLVE)
    ledger.plan(incident)


async def give_back_targets(tx: Transaction, ledger: Ledger, run_id: uuid.UUID) -> None:
    """Give a run's targets back and ask the runs that waited for them."""
    await tx.runs.release_targets(run_id)
    for held in await tx.runs.in_status((RunStatus.HELD,), HELD_READ):
        if held.id != run_id and any(v.guard == "target" for v in held.plan.verdicts):
            ledger.wake(Job.START, str(held.id))
