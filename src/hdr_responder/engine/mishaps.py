"""Incidents about the responder's own input: what could not be read is a person's business, never silence."""

from __future__ import annotations

from hdr_responder.domain.incidents import Incident, IncidentKey, IncidentStatus
from hdr_responder.domain.ports.store import Transaction
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.ledger import Ledger

OWN_SERVICE = "hdr-responder"


async def open_mishap(
    tx: Transaction,
    ledger: Ledger,
    escalation: Escalation,
    *,
    problem: str,
    discriminator: str,
    text: str,
    priority: Priority = Priority.P2,
) -> None:
    """Open an incident of our own, or add to the one that is open; it pages at once."""
    key = IncidentKey(cluster="", service=OWN_SERVICE, problem=problem, discriminator=discriminator).digest
    found = [i for i in await tx.incidents.by_keys([key]) if i.status.is_open]
    if found:
        ledger.entry(found[0], EntryKind.PROBLEM, text)
        return
    incident = Incident(
        key=key,
        cluster="",
        service=OWN_SERVICE,
        problem=problem,
        title=f"{problem.capitalize()}: {OWN_SERVICE} cannot do its work",
        priority=priority,
        priority_rule="built-in",
        priority_reason="alerts may be missing: a person has to look",
        status=IncidentStatus.TRIGGERED,
        started_at=ledger.now,
        opened_at=ledger.now,
    )
    await tx.incidents.insert([incident])
    ledger.entry(incident, EntryKind.OPENED, text)
    escalation.page_now(incident, ledger, text)
    await tx.incidents.update([incident])
