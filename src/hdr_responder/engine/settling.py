"""How an incident ends when its alerts do."""

from __future__ import annotations

from datetime import datetime

from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.notifications import NotificationKind
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.ledger import Ledger


def resolve_by_alerts(incident: Incident, ledger: Ledger, *, at: datetime) -> None:
    """Resolve an incident because none of its alerts fires since ``at``; runs that waited are no longer needed."""
    incident.move(IncidentStatus.RESOLVED, at=at, by=None)
    incident.page_at = incident.escalate_at = None
    ledger.entry(incident, EntryKind.RESOLVED, "Resolved: none of its alerts fires any more")
    ledger.page_state(incident, NotificationKind.PAGE_RESOLVE)
    ledger.plan(incident)
