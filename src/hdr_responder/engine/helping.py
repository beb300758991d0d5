"""What playbooks may do with people: tell, note, wake and hand over. Each happens once by its key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from pydantic import JsonValue

from hdr_responder.domain.clock import Clock
from hdr_responder.domain.incidents import PLAYBOOK_RULE, parse_ref
from hdr_responder.domain.ports.store import Store
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.ledger import Lanes
from hdr_responder.engine.telling import Telling, telling
from hdr_responder.errors import ConflictError, ForbiddenError


class Helping:
    """Implements the `People` port of the actions."""

    def __init__(
        self, *, store: Store, escalation: Escalation, lanes: Lanes, clock: Clock, channels: Iterable[str] = ()
    ) -> None:
        self._store = store
        self._escalation = escalation
        self._lanes = lanes
        self._clock = clock
        self._channels = frozenset(channels)

    async def escalate(self, incident_ref: str, reason: str, *, key: str) -> None:
        """Hand an incident to a person."""
        async with self._once(incident_ref, key) as (told, first):
            if first:
                self._escalation.escalate(told.incident, told.ledger, reason)

    async def note(self, incident_ref: str, text: str, *, key: str) -> None:
        """Write on the timeline and in the thread."""
        async with self._once(incident_ref, key) as (told, first):
            if first:
                told.ledger.entry(told.incident, EntryKind.NOTE, text)
                told.ledger.say(told.incident, text)

    async def post(self, incident_ref: str, text: str, *, key: str, channel: str | None = None) -> None:
        """Say it in the thread, or in one of the channels that the settings list."""
        if channel is not None and channel not in self._channels:
            listed = ", ".join(sorted(self._channels)) or "none"
            raise ForbiddenError(f"slack.channels does not list {channel[:80]!r} (listed: {listed})")
        async with self._once(incident_ref, key) as (told, first):
            if first:
                told.ledger.say(told.incident, text, channel)

    async def page(self, incident_ref: str, reason: str, *, key: str) -> None:
        """Wake somebody, once more where that was done before."""
        async with self._once(incident_ref, key) as (told, first):
            if not first:
                return
            incident, ledger = told.incident, told.ledger
            if not incident.status.is_open:
                raise ConflictError(f"{incident.ref} is {incident.status}: nobody is paged for it")
            if incident.paged_at is None:
                self._escalation.page_now(incident, ledger, reason)
            else:
                ledger.entry(incident, EntryKind.PAGED, f"Paged again: {reason}"[:500])
                ledger.page(incident, reason)

    async def set_priority(self, incident_ref: str, priority: Priority, reason: str, *, key: str) -> Priority:
        """Set the priority and return the one before; raising it pages and plans as triage does."""
        async with self._once(incident_ref, key) as (told, first):
            incident, before = told.incident, told.incident.priority
            if not first:
                return before
            if incident.priority_set_by is not None:
                raise ConflictError(f"{incident.ref}: its priority was set by {incident.priority_set_by}")
            if not incident.status.is_open:
                raise ConflictError(f"{incident.ref} is {incident.status}: its priority stays")
            if priority is before:
                return before
            raised = priority.rank < before.rank
            incident.priority, incident.priority_rule, incident.priority_reason = priority, PLAYBOOK_RULE, reason
            text = f"Priority {'raised' if raised else 'lowered'} from {before} to {priority} ({reason})"
            detail: dict[str, JsonValue] = {"rule": PLAYBOOK_RULE, "priority": priority}
            told.ledger.entry(incident, EntryKind.PRIORITY, text[:1000], detail=detail)
            told.ledger.say(incident, text)
            if raised:
                self._escalation.opened(incident, told.ledger)
                told.ledger.plan(incident)
            else:
                self._escalation.lowered(incident, told.ledger)
            return before

    @asynccontextmanager
    async def _once(self, incident_ref: str, key: str) -> AsyncIterator[tuple[Telling, bool]]:
        """Open a transaction on the incident, and tell whether this key has not been through before."""
        async with telling(self._store, self._lanes, self._clock, parse_ref(incident_ref)) as told:
            yield told, await told.tx.controls.first_time(f"told/{key}", told.ledger.now)
