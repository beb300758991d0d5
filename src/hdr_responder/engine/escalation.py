"""When somebody is woken: by priority at once or later, when automation fails, when nobody answers."""

from __future__ import annotations

from datetime import timedelta

from hdr_responder.documents.escalation import EscalationPolicy
from hdr_responder.documents.triage import Triage
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.ports.store import Job, Store
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.ledger import Lanes, Ledger

MAX_DUE = 100


class Escalation:
    """Decides about paging; the due times stand in the incident's row."""

    def __init__(self, triage: Triage, policy: EscalationPolicy) -> None:
        self._triage = triage
        self._policy = policy

    def opened(self, incident: Incident, ledger: Ledger) -> None:
        """Set the times for a new, reopened or raised incident: page now, later, or not at all (manual P01-P04)."""
        if incident.paged_at is None:
            after = self._policy.page_after(incident.priority)
            if after == timedelta(0):
                self.page_now(incident, ledger, incident.title)
            elif after is not None:
                incident.page_at = ledger.now + after
                ledger.wake(Job.DEADLINE, after=after)
        if incident.status is IncidentStatus.TRIGGERED:
            self._escalate_later(incident, ledger)

    def lowered(self, incident: Incident, ledger: Ledger) -> None:
        """Move what is still to come to the times of a less urgent priority, or drop it; nobody is called back."""
        if incident.page_at is not None:
            after = self._policy.page_after(incident.priority)
            due = None if after is None else max(incident.page_at, ledger.now + after)
            incident.page_at = due
            if due is not None:
                ledger.wake(Job.DEADLINE, after=due - ledger.now)
        if incident.escalate_at is not None and incident.status is IncidentStatus.TRIGGERED:
            incident.escalate_at = None
            self._escalate_later(incident, ledger)

    def page_now(self, incident: Incident, ledger: Ledger, reason: str) -> None:
        """Page, once per episode."""
        if incident.paged_at is not None:
            return
        incident.page_at, incident.paged_at = None, ledger.now
        ledger.entry(incident, EntryKind.PAGED, f"Paged: {reason}"[:500])
        ledger.page(incident, reason)

    def pages(self, incident: Incident) -> bool:
        """Tell whether incidents of this priority wake anybody."""
        return self._policy.page_after(incident.priority) is not None

    def verified(self, incident: Incident, ledger: Ledger) -> None:
        """Drop what would have woken people for an incident that automation has proved to have remedied.

        Evidence can deceive: when its alerts still fire some time later, a person looks after all.
        """
        incident.escalate_at = ledger.now + self._policy.incidents.still_firing_after
        ledger.wake(Job.DEADLINE, after=self._policy.incidents.still_firing_after)
        rule = self._policy.paging.get(incident.priority)
        if rule is not None and rule.unless == "verified":
            incident.page_at = None

    def escalate(self, incident: Incident, ledger: Ledger, reason: str) -> None:
        """Hand the incident to a person because automation or waiting did not do; it pages where its priority does."""
        ledger.entry(incident, EntryKind.ESCALATED, f"Escalated: {reason}"[:500])
        ledger.say(incident, f"Needs a person: {reason}"[:2000])
        if incident.status.is_open and self.pages(incident):
            self.page_now(incident, ledger, reason)

    def _escalate_later(self, incident: Incident, ledger: Ledger) -> None:
        escalate_after = self._triage.escalate_after(incident.priority)
        if escalate_after is not None:
            wait = max(escalate_after, self._policy.acknowledge_within)
            incident.escalate_at = ledger.now + wait
            ledger.wake(Job.DEADLINE, after=wait)


class Deadlines:
    """Acts on due times: late pages and unanswered incidents."""

    def __init__(self, *, store: Store, escalation: Escalation, lanes: Lanes, clock: Clock) -> None:
        self._store = store
        self._escalation = escalation
        self._lanes = lanes
        self._clock = clock

    async def process(self) -> None:
        """Page and escalate what is due, at most `MAX_DUE`; another job brings the rest."""
        async with self._store.transaction() as tx:
            now = self._clock.now()
            ledger = Ledger(self._lanes, now)
            due = await tx.incidents.due(now, MAX_DUE)
            for incident in due:
                if incident.page_at and incident.page_at <= now:
                    self._escalation.page_now(incident, ledger, f"{incident.title}: not remedied in time")
                if incident.escalate_at and incident.escalate_at <= now:
                    incident.escalate_at = None
                    self._overdue(incident, ledger)
            if due:
                await tx.incidents.update(due)
                await ledger.flush(tx)
            if len(due) == MAX_DUE:
                await tx.wake(Job.DEADLINE)

    def _overdue(self, incident: Incident, ledger: Ledger) -> None:
        """Escalate; where somebody was woken before and has not answered, they are woken once more."""
        if incident.status is IncidentStatus.TRIGGERED:
            reason = "nobody has acknowledged it in time"
        elif incident.status is IncidentStatus.MITIGATED and incident.alerts_firing:
            reason = "the remediation was verified, but its alerts still fire"
        else:
            return
        unanswered = incident.paged_at is not None and incident.acknowledged_at is None
        again = unanswered and self._escalation.pages(incident)
        self._escalation.escalate(incident, ledger, reason)
        if again:
            ledger.page(incident, f"{incident.title}: {reason}")
