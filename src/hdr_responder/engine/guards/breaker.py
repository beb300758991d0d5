"""Whether repeating it still makes sense: runs that fail or do not help make automation rest, and in the end ask."""

from __future__ import annotations

from datetime import datetime, timedelta

from hdr_responder.documents.guard_rules import Breaker
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.guards import TargetHistory
from hdr_responder.domain.runs import GuardVerdict
from hdr_responder.engine.guards.question import Question, verdict, whole

LONGEST_REST = timedelta(days=7)
"""A rest that doubles stops growing here."""


def breaker(q: Question) -> GuardVerdict:
    """After runs in a row that failed or did not help automation rests, longer each time; then a person decides.

    A refusal without a time ends by a person's word alone. A person who asks for the run has seen what failed.
    """
    rule = q.rules.breaker
    opened = [t for t in q.facts.targets if t.failures >= rule.after and t.last_failed_at is not None]
    if not opened:
        return verdict("breaker", allowed=True, reason=f"fewer than {rule.after} runs in a row failed or did not help")
    worst = max(opened, key=lambda t: t.failures)
    runs = "run" if worst.failures == 1 else f"{worst.failures} runs"
    failed = f"the last {runs} on {worst.key} failed or did not help"
    if q.run.requested_by is not None:
        return verdict("breaker", True, f"{q.run.requested_by} asked for it, although {failed}")
    if worst.failures >= rule.person_after:
        return _by_a_person(q, failed, max(t.last_failed_at for t in opened if t.last_failed_at))
    until = max(_rested_at(rule, t) for t in opened)
    if until <= q.now:
        return verdict("breaker", True, f"{failed}, but it has rested since")
    left = format_duration(whole(until - q.now))
    return verdict("breaker", False, f"{failed}: automation rests for another {left}", until)


def _by_a_person(q: Question, failed: str, since: datetime) -> GuardVerdict:
    people = q.consents(since)
    if len(people) >= q.approval.approvers:
        return verdict("breaker", True, f"{failed}, but {', '.join(sorted(people))} approved since")
    return verdict("breaker", False, f"{failed}: only a person's word starts another")


def _rested_at(rule: Breaker, target: TargetHistory) -> datetime:
    """Return when the target is rested: each run beyond the first that opened it has doubled the pause."""
    assert target.last_failed_at is not None
    doubled: int = 2 ** (target.failures - rule.after)
    return target.last_failed_at + min(rule.pause * doubled, LONGEST_REST)
