"""When the calendar keeps automation from acting: change freezes, windows to keep to, and maintenance."""

from __future__ import annotations

from datetime import datetime

from hdr_responder.domain.runs import GuardVerdict, Run, Trigger
from hdr_responder.engine.guards.question import ASK_AGAIN, Question, verdict


def freeze(q: Question) -> GuardVerdict:
    """In a change freeze a change needs a person's approval, or waits for its end; what only reads goes on."""
    if not _changes(q.run):
        return verdict("freeze", allowed=True, reason="it changes nothing")
    found = q.calendar.freezes_at(q.now, service=q.incident.service, environment=q.environment)
    strict = [each for each in found if each[0].allows == "nothing"]
    if not found or (q.approved and not strict):
        names = ", ".join(each.name for each, _ in found)
        return verdict("freeze", True, f"approved in change freeze {names}" if found else "no change freeze")
    met, until = max(strict or found, key=lambda each: each[1])
    ask = "" if strict else "; a person may approve it"
    return GuardVerdict(
        guard="freeze",
        allowed=False,
        reason=f"change freeze {met.name} until {_moment(until)} ({met.reason}){ask}",
        ask_again_at=until,
        approvable=not strict,
    )


def window(q: Question) -> GuardVerdict:
    """A playbook that names a window of the calendar runs inside of it only; outside it waits for the next opening."""
    name = q.rules.window
    if name is None:
        return verdict("window", allowed=True, reason="it may run at any time")
    recurring = q.calendar.window(name)
    if recurring is None:
        return verdict("window", False, f"the calendar has no window {name} any more", q.now + ASK_AGAIN)
    until = recurring.open_until(q.now)
    if until is not None:
        return verdict("window", True, f"window {name} is open until {_moment(until)}")
    opening = recurring.next_opening(q.now)
    return GuardVerdict(
        guard="window",
        allowed=False,
        reason=f"window {name} opens at {_moment(opening)}",
        ask_again_at=opening,
        wait_until=recurring.next_opening(q.run.created_at),
    )


def maintenance(q: Question) -> GuardVerdict:
    """While maintenance causes alerts, they start no remediation (manual D6); people and the clock still start runs."""
    if q.run.trigger is not Trigger.ALERT:
        return verdict("maintenance", allowed=True, reason="no alert started it")
    if not _changes(q.run):
        return verdict("maintenance", allowed=True, reason="it changes nothing")
    service = q.incident.service
    found = q.calendar.maintenance_at(q.now, service=service)
    if found is None:
        return verdict("maintenance", allowed=True, reason="no maintenance window")
    met, until = found
    begun_in = q.calendar.maintenance_at(q.run.created_at, service=service)
    return GuardVerdict(
        guard="maintenance",
        allowed=False,
        reason=f"maintenance window {met.name} until {_moment(until)}",
        ask_again_at=until,
        wait_until=begun_in[1] if begun_in else None,
    )


def _changes(run: Run) -> bool:
    return any(step.mutates for step in run.plan.steps)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
