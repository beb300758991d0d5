"""How often and how much at once: rest, budgets, and one run at a time."""

from __future__ import annotations

from hdr_responder.documents.guard_rules import Budget, Guards
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.guards import Allowance, Allowances, Counted, FactsAsked, Limit
from hdr_responder.domain.runs import GuardVerdict, Run
from hdr_responder.engine.guards.question import ASK_AGAIN, Question, verdict, whole

BUDGETS = frozenset({"budget", "playbook_budget", "effect_budget", "fleet_budget"})
"""The guards whose refusal is told to a person: something causes more runs than anybody meant."""


def counted(run: Run, rules: Guards, allowances: Allowances) -> FactsAsked:
    """Return what has to be counted before this run may start; a run that changes nothing is bounded by none but its
    playbook's budget."""
    targets = run.plan.targets
    own = _allowance(rules.budget)
    limits = [Limit(counted=Counted.TARGET, allowance=own, name=t.effect_group, target_key=t.key) for t in targets]
    if rules.playbook_budget is not None:
        limits.append(Limit(counted=Counted.PLAYBOOK, allowance=_allowance(rules.playbook_budget), name=run.playbook))
    groups = sorted({t.effect_group for t in targets} & set(allowances.effects))
    limits.extend(Limit(counted=Counted.EFFECT, allowance=allowances.effects[group], name=group) for group in groups)
    if targets and allowances.fleet is not None:
        limits.append(Limit(counted=Counted.FLEET, allowance=allowances.fleet))
    return FactsAsked(limits=tuple(limits), track_record_of=rules.autonomy.of_last if targets else 0)


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
    return _within(q, "budget", Counted.TARGET)


def playbook_budget(q: Question) -> GuardVerdict:
    """A playbook runs only so often, on whatever targets."""
    return _within(q, "playbook_budget", Counted.PLAYBOOK)


def effect_budget(q: Question) -> GuardVerdict:
    """All playbooks together cause one kind of effect only so often."""
    return _within(q, "effect_budget", Counted.EFFECT)


def fleet_budget(q: Question) -> GuardVerdict:
    """All playbooks together act only so often, on whatever targets."""
    return _within(q, "fleet_budget", Counted.FLEET)


def target(q: Question) -> GuardVerdict:
    """One run at a time per target."""
    for item in q.facts.targets:
        if item.held_by_run is not None and item.held_by_run != str(q.run.id):
            reason = f"run {item.held_by_run[:8]} is working on {item.key}"
            return verdict("target", False, reason, q.now + ASK_AGAIN)
    return verdict("target", allowed=True, reason="nothing else works on the target")


def _within(q: Question, guard: str, kind: Counted) -> GuardVerdict:
    """Refuse while a limit of this kind is full, until there is room in all of them."""
    uses = [use for use in q.facts.limits if use.limit.counted is kind]
    full = [(use.full_since + use.limit.allowance.per, use.limit) for use in uses if use.full_since is not None]
    if full:
        again, limit = max(full, key=lambda one: one[0])
        reason = f"{_who(limit)} had {_runs(limit.allowance)}, as many as are allowed"
        return verdict(guard, False, reason, again)
    within = "; ".join(f"{_who(use.limit)}: fewer than {_runs(use.limit.allowance)}" for use in uses)
    return verdict(guard, True, within or "no such budget is set")


def _who(limit: Limit) -> str:
    match limit.counted:
        case Counted.TARGET:
            return "the target"
        case Counted.PLAYBOOK:
            return f"playbook {limit.name}"
        case Counted.EFFECT:
            return f"effect {limit.name}"
        case Counted.FLEET:
            return "the whole fleet"


def _runs(allowance: Allowance) -> str:
    plural = "" if allowance.runs == 1 else "s"
    return f"{allowance.runs} run{plural} in the last {format_duration(allowance.per)}"


def _allowance(budget: Budget) -> Allowance:
    return Allowance(runs=budget.runs, per=budget.per)
