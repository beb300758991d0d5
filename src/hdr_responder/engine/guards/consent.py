"""Whose word a run needs before it begins."""

from __future__ import annotations

from collections.abc import Iterator

from hdr_responder.documents.guard_rules import percent
from hdr_responder.domain.runs import GuardVerdict, Mode
from hdr_responder.engine.guards.question import Question, needs_another, same_person, verdict


def approval(q: Question) -> GuardVerdict:
    """Mode approve, a commander, a poor record, news that may be stale: a person's word is needed.

    What is destructive at P1 needs the word of somebody else than the one who asked for it, in whatever mode.
    """
    why = _needs_approval(q)
    if why is None:
        return verdict("approval", allowed=True, reason="no approval is needed")
    people = sorted(q.consents())
    if q.approved:
        return verdict("approval", True, f"approved by {', '.join(people)}")
    needed = q.approval.approvers - len(people)
    group = f" of group {q.approval.group}" if q.approval.group else ""
    return verdict("approval", False, f"waits for {needed} approval{'s' if needed > 1 else ''}{group}: {why}")


def _needs_approval(q: Question) -> str | None:
    return next((why for why in _reasons(q) if why is not None), None)


def _reasons(q: Question) -> Iterator[str | None]:
    """Yield why a word is needed, the reason that people are to read first."""
    if q.gate is not None:
        yield q.run.gate_question
    if needs_another(q.run, q.incident.priority):
        yield f"it is destructive at P1, and somebody else than {q.run.requested_by} has to agree"
    if q.run.mode is Mode.APPROVE:
        yield q.run.plan.mode_reason
    if q.cap is Mode.APPROVE:
        yield "the environment now asks for it"
    if q.incident.priority in q.rules.approval.required_for:
        yield f"approval is required for {q.incident.priority}"
    if q.facts.commander and not same_person(q.facts.commander, q.run.requested_by):
        yield f"{q.facts.commander} has command of the incident"
    if q.facts.uncertain:
        yield "an alert may be old news and Alertmanager could not be asked"
    yield _poor_record(q)


def _poor_record(q: Question) -> str | None:
    """Return why the playbook may not act by itself any more; a person who asks for a run takes it on themselves."""
    rule, record = q.rules.autonomy, q.facts.track_record
    if q.run.requested_by is not None or record.runs < rule.at_least:
        return None
    if record.verified * 100 >= percent(rule.floor) * record.runs:
        return None
    return f"verified in {record.verified} of its last {record.runs} runs, below {rule.floor}"
