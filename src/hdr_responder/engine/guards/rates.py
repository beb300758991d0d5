"""How often and how much at once: rest, budgets, and one run at a time."""

from __future__ import annotations

from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.runs import GuardVerdict
from hdr_responder.engine.guards.question import ASK_AGAIN, Question, verdict, whole


def cooldown(q: Question) -> GuardVerdict:
    """A target rests between runs, counted from a run's end."""
    ends = [t.last_ended_at + q.rules.cooldown for t in q.facts.targets if t.last_ended_at]
    until = max(ends, default=None)
    if until is None or until <= q.now:
        return verdict("cooldown", allowed=True, reason="the target is rested")
    left = format_duration(whole(until - q.now))
    return verdict("cooldown", False, f"the target rests for another {left} after its last run", until)


def budget(q: Question) -> GuardVerdict:
    """A target is acted on only so often; then a person has to look for the cause."""
    rule = q.rules.budget
    since = q.now - rule.per
    for target in q.facts.targets:
        starts = sorted((s for s in target.recent_starts if s > since), reverse=True)
        if len(starts) >= rule.runs:
            again = starts[rule.runs - 1] + rule.per
            reason = f"{len(starts)} runs in the last {format_duration(rule.per)}, at most {rule.runs} are allowed"
            return verdict("budget", False, reason, again)
    return verdict("budget", True, f"within {rule.runs} runs per {format_duration(rule.per)}")


def target(q: Question) -> GuardVerdict:
    """One run at a time per target."""
    for item in q.facts.targets:
        if item.held_by_run is not None and item.held_by_run != str(q.run.id):
            reason = f"run {item.held_by_run[:8]} is working on {item.key}"
            return verdict("target", False, reason, q.now + ASK_AGAIN)
    return verdict("target", allowed=True, reason="nothing else works on the target")
