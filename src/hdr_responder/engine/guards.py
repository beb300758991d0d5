"""Guards: every reason not to act now, each a small function that gives a named verdict.

They are asked when the plan is written and again in the transaction that starts the run, on facts read under locks,
so that no two replicas can pass one between them. What cannot be read raises, and what raises does not start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from hdr_responder.documents.playbook_document import Guards
from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.guards import GuardFacts
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.runs import GuardVerdict, Mode, Run

log = structlog.get_logger(__name__)

STARTS_SEEN_FOR = timedelta(days=7)
"""How far back starts are read for budgets; `check` refuses longer periods."""

ASK_AGAIN = timedelta(minutes=1)
"""When a refusal is asked again whose end nothing announces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a guard is asked about."""

    run: Run
    incident: Incident
    """The run's incident, locked."""
    rules: Guards
    facts: GuardFacts
    cap: Mode
    """The most that the environment allows now; it may have become stricter since the run was planned."""
    presence: Presence
    """What Alertmanager says of the alert, asked just before the transaction."""

    @property
    def now(self) -> datetime:
        """The present."""
        return self.facts.now

    @property
    def approved(self) -> bool:
        """Whether enough people agreed."""
        people = {a.person for a in self.run.approvals if a.decision == "approve"}
        return len(people) >= self.rules.approval.approvers


Guard = Callable[[Question], GuardVerdict]


def pause(q: Question) -> GuardVerdict:
    """Nothing starts while automation is paused."""
    state = q.facts.pause
    why = f"automation is paused by {state.by or 'somebody'}" + (f": {state.reason}" if state.reason else "")
    return _verdict("pause", not state.engaged, why if state.engaged else "automation is not paused")


def hold(q: Question) -> GuardVerdict:
    """Nothing starts on a service that a person holds."""
    held = q.facts.hold
    if held is None or held.until <= q.now:
        return _verdict("hold", allowed=True, reason="the service is not held")
    return _verdict("hold", False, f"{held.service} is held by {held.by} until {held.until:%H:%M} UTC", held.until)


def resolved(q: Question) -> GuardVerdict:
    """Nothing starts for an incident that is over."""
    if q.run.requested_by is None and not q.facts.alerts_firing:
        return _verdict("resolved", allowed=False, reason="none of the incident's alerts fires any more")
    if q.run.episode != q.incident.episode:
        return _verdict(
            "resolved", allowed=False, reason="the alert it was for is over; what fires now is planned anew"
        )
    over = not q.facts.incident_open
    return _verdict("resolved", not over, "the incident is over" if over else "the incident is open")


def approval(q: Question) -> GuardVerdict:
    """Mode approve, a commander, and news that may be stale need a person's word."""
    why = _needs_approval(q)
    if why is None:
        return _verdict("approval", allowed=True, reason="no approval is needed")
    people = sorted({a.person for a in q.run.approvals if a.decision == "approve"})
    if q.approved:
        return _verdict("approval", True, f"approved by {', '.join(people)}")
    needed = q.rules.approval.approvers - len(people)
    group = f" of group {q.rules.approval.group}" if q.rules.approval.group else ""
    return _verdict("approval", False, f"waits for {needed} approval{'s' if needed > 1 else ''}{group}: {why}")


def _needs_approval(q: Question) -> str | None:
    if q.run.mode is Mode.APPROVE:
        return q.run.plan.mode_reason
    if q.cap is Mode.APPROVE:
        return "the environment now asks for it"
    if q.incident.priority in q.rules.approval.required_for:
        return f"approval is required for {q.incident.priority}"
    if q.facts.commander:
        return f"{q.facts.commander} has command of the incident"
    if q.facts.uncertain:
        return "an alert may be old news and Alertmanager could not be asked"
    return None


def staleness(q: Question) -> GuardVerdict:
    """Only fresh news is acted on: the alert fires now, or its last message is young, or a person approved."""
    if q.run.requested_by is not None:
        return _verdict("staleness", True, f"{q.run.requested_by} asked for it")
    if q.presence is Presence.UNKNOWN:
        return _age(q)
    allowed, reason = _PRESENCE[q.presence]
    return _verdict("staleness", allowed, reason, None if allowed else q.now + ASK_AGAIN)


_PRESENCE = {
    Presence.FIRING: (True, "Alertmanager says that it fires now"),
    Presence.SUPPRESSED: (False, "the alert is silenced or inhibited in Alertmanager"),
    Presence.ABSENT: (False, "Alertmanager does not know the alert any more"),
}


def _age(q: Question) -> GuardVerdict:
    """Judge by the last message, since Alertmanager could not be asked."""
    last = q.facts.last_alert_at
    heard = f"last heard {format_duration(_whole(q.now - last))} ago" if last else "never heard firing"
    if last is not None and q.now - last <= q.rules.max_age:
        return _verdict("staleness", True, heard)
    if q.approved:
        return _verdict("staleness", True, f"{heard}, but a person approved")
    limit = format_duration(q.rules.max_age)
    reason = f"{heard}, over {limit}, and Alertmanager could not be asked: needs approval"
    return _verdict("staleness", False, reason, q.now + ASK_AGAIN)


def cooldown(q: Question) -> GuardVerdict:
    """A target rests between runs, counted from a run's end."""
    ends = [t.last_ended_at + q.rules.cooldown for t in q.facts.targets if t.last_ended_at]
    until = max(ends, default=None)
    if until is None or until <= q.now:
        return _verdict("cooldown", allowed=True, reason="the target is rested")
    left = format_duration(_whole(until - q.now))
    return _verdict("cooldown", False, f"the target rests for another {left} after its last run", until)


def budget(q: Question) -> GuardVerdict:
    """A target is acted on only so often; then a person has to look for the cause."""
    rule = q.rules.budget
    since = q.now - rule.per
    for target in q.facts.targets:
        starts = sorted((s for s in target.recent_starts if s > since), reverse=True)
        if len(starts) >= rule.runs:
            again = starts[rule.runs - 1] + rule.per
            reason = f"{len(starts)} runs in the last {format_duration(rule.per)}, at most {rule.runs} are allowed"
            return _verdict("budget", False, reason, again)
    return _verdict("budget", True, f"within {rule.runs} runs per {format_duration(rule.per)}")


def target(q: Question) -> GuardVerdict:
    """One run at a time per target."""
    for item in q.facts.targets:
        if item.held_by_run is not None and item.held_by_run != str(q.run.id):
            reason = f"run {item.held_by_run[:8]} is working on {item.key}"
            return _verdict("target", False, reason, q.now + ASK_AGAIN)
    return _verdict("target", allowed=True, reason="nothing else works on the target")


GUARDS: tuple[Guard, ...] = (pause, hold, resolved, approval, staleness, cooldown, budget, target)
"""All guards, in the order in which people read them; every one is asked every time."""


def ask(question: Question) -> tuple[GuardVerdict, ...]:
    """Ask every guard; one that cannot decide refuses."""
    return tuple(_answer(guard, question) for guard in GUARDS)


def unreadable(error: Exception, now: datetime) -> GuardVerdict:
    """Return the refusal for facts that could not be read: what cannot be read blocks."""
    return _verdict("facts", False, f"what the guards ask could not be read: {error}"[:500], now + ASK_AGAIN)


def is_over(verdict: GuardVerdict) -> bool:
    """Tell whether this refusal says that the run is no longer needed, rather than that it has to wait."""
    return verdict.guard == "resolved" and not verdict.allowed and verdict.ask_again_at is None


def _answer(guard: Guard, question: Question) -> GuardVerdict:
    try:
        return guard(question)
    except Exception as error:
        name = guard.__name__
        log.exception("guard_failed", guard=name)
        return _verdict(name, False, f"it could not be decided ({type(error).__name__})", question.now + ASK_AGAIN)


def _verdict(guard: str, allowed: bool, reason: str, ask_again_at: datetime | None = None) -> GuardVerdict:
    return GuardVerdict(guard=guard, allowed=allowed, reason=reason, ask_again_at=ask_again_at)


def _whole(duration: timedelta) -> timedelta:
    return timedelta(seconds=max(1, round(duration.total_seconds())))
