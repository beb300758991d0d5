"""What the outside says: how much would be taken away, what the service stands on, and who else owns the target."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from hdr_responder.documents.guard_rules import NumberOrShare, percent
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.runs import GuardVerdict, PlannedStep
from hdr_responder.domain.survey import SurveyedStep, TargetSurvey
from hdr_responder.engine.guards.question import ASK_AGAIN, Question, verdict


def blast_radius(q: Question) -> GuardVerdict:
    """A step takes no more away at a time than the playbook allows; more is refused, never trimmed."""
    rule = q.rules.blast_radius
    if rule is None:
        return verdict("blast_radius", True, "the playbook sets no limit")
    told = []
    for step, seen, found in _surveyed(q):
        impact = found.impact if found else None
        if found is None:
            told.append(f"what {step.action} would take away of {_name(step)} is not known ({_why(seen)})")
        elif impact is not None and impact.taken > (limit := _limit(rule.max_unavailable, impact.healthy)):
            share = f" ({rule.max_unavailable})" if isinstance(rule.max_unavailable, str) else ""
            would = (
                f"{step.action} would take away {impact.taken} of {impact.healthy} healthy replicas of {_name(step)}"
            )
            told.append(f"{would}, at most {limit}{share} may be")
    if told:
        return _refused(q, "blast_radius", told)
    return verdict("blast_radius", True, f"no more than {rule.max_unavailable} of what is healthy is taken away")


def dependency(q: Question) -> GuardVerdict:
    """Nothing is repaired while something that it stands on is proved down: its alerts are symptoms (manual S20)."""
    if not any(step.mutates for step in q.run.plan.steps):
        return verdict("dependency", True, "it changes nothing")
    if q.survey.dependencies is None:
        return verdict("dependency", False, "nobody asked what the service depends on", q.now + ASK_AGAIN)
    silent = [f"{d.service} ({d.detail})" for d in q.survey.dependencies if d.healthy is None]
    unsure = f"; no answer about {', '.join(silent)}" if silent else ""
    down = [f"{d.service} is down ({d.detail})" for d in q.survey.dependencies if d.healthy is False]
    if not down:
        return verdict("dependency", True, f"nothing that it depends on is proved down{unsure}")
    limit = q.rules.dependency.max_hold
    ends = q.run.plan.refused_since.get("dependency", q.now) + limit
    told = f"{', '.join(down)}{unsure}"
    if q.now >= ends:
        return verdict(
            "dependency", False, f"{told}, and {q.run.playbook} waits no longer than {format_duration(limit)}"
        )
    reason = f"{told}; until then these alerts are taken for symptoms, at most until {ends:%H:%M} UTC"
    return verdict("dependency", False, reason, min(ends, q.now + ASK_AGAIN))


def gitops(q: Question) -> GuardVerdict:
    """What a GitOps controller would take back needs a person, who changes it at its source or knows why not."""
    reverted, unknown, stays = [], [], []
    for step, seen, found in _surveyed(q):
        if found is None:
            unknown.append(f"whether a GitOps controller owns {_name(step)} is not known ({_why(seen)})")
        elif found.owner is not None:
            told = f"{found.owner.name} owns {_name(step)}"
            reverted.append(told) if found.owner.reverts else stays.append(told)
    if reverted:
        told = f"{_listed(reverted)}: the change would be reverted"
        if q.approved:
            return verdict("gitops", True, f"{told}, but {', '.join(sorted(q.run.approvers))} approved it")
        refusal = verdict("gitops", False, f"{told}; needs a person's approval")
        return refusal.model_copy(update={"approvable": True})
    if unknown:
        return _refused(q, "gitops", unknown)
    if stays:
        return verdict("gitops", True, f"{_listed(stays)}, and leaves this change alone")
    return verdict("gitops", True, "no GitOps controller would revert it")


def hold_annotation(q: Question) -> GuardVerdict:
    """Whoever looks after a workload can keep automation away from it by an annotation on it."""
    told, again = [], q.now + ASK_AGAIN
    for step, seen, found in _surveyed(q):
        if found is None:
            told.append(f"whether an annotation holds {_name(step)} is not known ({_why(seen)})")
        elif found.hold is not None and found.hold.holds_at(q.now):
            until = f" until {found.hold.until:%Y-%m-%d %H:%M %Z}" if found.hold.until else ""
            told.append(f"{_name(step)} is held by its annotation{until}: {found.hold.reason or 'no reason given'}")
            again = min(again, found.hold.until or again)
    if told:
        return _refused(q, "hold_annotation", told, again)
    return verdict("hold_annotation", True, "no annotation holds its targets")


def _refused(q: Question, guard: str, told: list[str], again: datetime | None = None) -> GuardVerdict:
    """Refuse for these reasons; a person is called at once where a target could not be looked at."""
    blind = any(found is None for _, _, found in _surveyed(q))
    return verdict(guard, False, _listed(told), again or q.now + ASK_AGAIN).model_copy(update={"blind": blind})


def _surveyed(q: Question) -> Iterator[tuple[PlannedStep, SurveyedStep | None, TargetSurvey | None]]:
    """Yield each step that changes something, with what was seen of its target; None where nobody could look."""
    for step in q.run.plan.steps:
        if step.mutates:
            seen = q.survey.of(step.id)
            yield step, seen, seen.found if seen else None


def _name(step: PlannedStep) -> str:
    return step.target.title if step.target else step.id


def _why(seen: SurveyedStep | None) -> str:
    return seen.problem if seen else "nobody looked"


def _listed(told: list[str]) -> str:
    return "; ".join(dict.fromkeys(told))


def _limit(written: NumberOrShare, healthy: int) -> int:
    """Return how many may be taken away; shares are rounded down."""
    return written if isinstance(written, int) else healthy * percent(written) // 100
