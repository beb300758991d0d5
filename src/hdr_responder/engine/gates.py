"""What a run's frozen playbook says about going on: its guards, its alerts, and whose word counts where.

A gate is where a run waits for people's word: its start, or one of its ``approve`` steps.
"""

from __future__ import annotations

from pydantic import TypeAdapter

from hdr_responder.documents.guard_rules import ApprovalRule, Guards
from hdr_responder.documents.playbook_document import StepApproval
from hdr_responder.documents.strict import MatchList
from hdr_responder.domain.runs import Run, Trigger

_MATCH: TypeAdapter[MatchList] = TypeAdapter(MatchList)


def guard_rules(run: Run) -> Guards:
    """Return the guards that the run's playbook asks for, as they were when it was planned."""
    return Guards.model_validate(run.plan.document["guards"])


def approval_rule(run: Run, gate: str | None = None) -> ApprovalRule:
    """Return who must agree at a gate of the run, by default the one that it stands at."""
    gate = run.gate if gate is None else gate
    own = guard_rules(run).approval
    if not gate:
        return own
    planned = next(s for s in run.plan.steps if s.id == gate)
    asked = StepApproval.model_validate(planned.parameters)
    return ApprovalRule(group=asked.group or own.group, approvers=asked.approvers, expires=asked.expires)


def frozen_match(run: Run) -> MatchList:
    """Return the matchers of the run's playbook, as they were when it was planned; empty without."""
    return _MATCH.validate_python(run.plan.document["match"]) if run.plan.document.get("match") else ()


def stops_when_resolved(run: Run) -> bool:
    """Tell whether the run leaves out what it has not begun when the alerts that it is for are over."""
    return run.trigger is Trigger.ALERT and run.plan.document.get("if_resolved") != "finish"
