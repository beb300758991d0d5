"""Whose word a run needs before it begins."""

from __future__ import annotations

from hdr_responder.domain.runs import GuardVerdict, Mode
from hdr_responder.engine.guards.question import Question, verdict


def approval(q: Question) -> GuardVerdict:
    """Mode approve, a commander, and news that may be stale need a person's word."""
    why = _needs_approval(q)
    if why is None:
        return verdict("approval", allowed=True, reason="no approval is needed")
    people = sorted({a.person for a in q.run.approvals if a.decision == "approve"})
    if q.approved:
        return verdict("approval", True, f"approved by {', '.join(people)}")
    needed = q.rules.approval.approvers - len(people)
    group = f" of group {q.rules.approval.group}" if q.rules.approval.group else ""
    return verdict("approval", False, f"waits for {needed} approval{'s' if needed > 1 else ''}{group}: {why}")


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
