"""What people switch off, and what is over."""

from __future__ import annotations

from hdr_responder.domain.runs import GuardVerdict, Trigger
from hdr_responder.engine.guards.question import Question, verdict


def pause(q: Question) -> GuardVerdict:
    """Nothing starts while automation is paused."""
    state = q.facts.pause
    why = f"automation is paused by {state.by or 'somebody'}" + (f": {state.reason}" if state.reason else "")
    return verdict("pause", not state.engaged, why if state.engaged else "automation is not paused")


def hold(q: Question) -> GuardVerdict:
    """Nothing starts on a service that a person holds."""
    held = q.facts.hold
    if held is None or held.until <= q.now:
        return verdict("hold", allowed=True, reason="the service is not held")
    return verdict("hold", False, f"{held.service} is held by {held.by} until {held.until:%H:%M} UTC", held.until)


def resolved(q: Question) -> GuardVerdict:
    """Nothing starts for an incident that is over."""
    if q.run.trigger is Trigger.ALERT and not q.facts.alerts_firing:
        return verdict("resolved", allowed=False, reason="none of the incident's alerts fires any more")
    if q.run.episode != q.incident.episode:
        return verdict("resolved", allowed=False, reason="the alert it was for is over; what fires now is planned anew")
    over = not q.facts.incident_open
    return verdict("resolved", not over, "the incident is over" if over else "the incident is open")
