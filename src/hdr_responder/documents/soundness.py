"""What a playbook says correctly and yet cannot mean: guards that never let it pass, conditions that never change.

Found when documents are checked, not when they are compiled: a run that began with such a playbook goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain

from hdr_responder.documents.expressions import Condition, ExpressionError
from hdr_responder.documents.findings import Finding
from hdr_responder.documents.guard_rules import Guards
from hdr_responder.documents.matching import contradictions
from hdr_responder.documents.playbook_document import ActionStep, ApproveStep, ParallelStep, Playbook
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.reading import Reading, readings
from hdr_responder.documents.source import Loc
from hdr_responder.domain.durations import format_duration

MAX_STEP = timedelta(days=1)
"""How long a step may go on, all its tries and pauses together."""
_NOTHING = timedelta(0)


def soundness_findings(model: Playbook, compiled: CompiledPlaybook | None) -> Iterator[Finding]:
    """Return what cannot be meant; ``compiled`` None when the playbook has mistakes that keep it from being one."""
    yield from contradictions(model.match or (), ("match",))
    yield from _guards(model)
    for i, step in enumerate(model.steps):
        yield from _step(step, ("steps", i))
    if compiled:
        read = list(readings(compiled))
        yield from _unread_params(model, read)
        yield from _no_alert(model, read)
        yield from (finding for each in read if each.condition for finding in _constant(each.at, each.condition))


def _guards(model: Playbook) -> Iterator[Finding]:
    guards = model.guards
    limits = (
        (("approval", "expires"), guards.approval.expires, "an approval that expires at once can never be given"),
        (("max_age",), guards.max_age, "no news is as young as this: without Alertmanager's word it never runs"),
        (("dependency", "max_hold"), guards.dependency.max_hold, "a hold of no time never sees the dependency return"),
    )
    for key, value, message in limits:
        yield from _no_time(("guards", *key), value, message)
    yield from _required_for(model)
    yield from _unreachable_budget(guards)


def _required_for(model: Playbook) -> Iterator[Finding]:
    """An approval for priorities at which nothing starts the playbook; a person may start it at any."""
    if model.manual or not model.priorities:
        return
    known = {*model.priorities, *([model.schedule.priority] if model.schedule else [])}
    for i, priority in enumerate(model.guards.approval.required_for):
        if priority not in known:
            message = "the playbook is not for incidents of this priority"
            loc = ("guards", "approval", "required_for", i)
            yield Finding(loc=loc, message=message, value=priority.value, expected=f"one of {', '.join(sorted(known))}")


def _unreachable_budget(guards: Guards) -> Iterator[Finding]:
    if "budget" not in guards.model_fields_set or guards.cooldown <= _NOTHING:
        return
    budget, rest = guards.budget, guards.cooldown
    possible = -(-budget.per // rest)
    if possible < budget.runs:
        period, pause = format_duration(budget.per), format_duration(rest)
        message = f"the budget is never used up: a cooldown of {pause} leaves room for {possible} within {period}"
        loc = ("guards", "budget", "runs")
        yield Finding(loc=loc, message=message, value=str(budget.runs), expected=f"at most {possible}")


def _step(step: object, at: Loc) -> Iterator[Finding]:
    if isinstance(step, ApproveStep):
        message = "an approval that expires at once can never be given"
        yield from _no_time((*at, "approve", "expires"), step.approve.expires, message)
    elif isinstance(step, ParallelStep):
        yield from chain.from_iterable(_tries(s, (*at, "parallel", i)) for i, s in enumerate(step.parallel))
    elif isinstance(step, ActionStep):
        yield from _tries(step, at)


def _tries(step: ActionStep, at: Loc) -> Iterator[Finding]:
    yield from _no_time((*at, "timeout"), step.timeout, "no action is done in no time, so the step always fails")
    yield from _no_time((*at, "for"), step.for_, "a change for no time changes nothing")
    attempts = step.retry.attempts if step.retry else 1
    total = (step.timeout or _NOTHING) * attempts + (step.retry.delay if step.retry else _NOTHING) * (attempts - 1)
    if total > MAX_STEP:
        message = f"the step may go on for {format_duration(total)} in all"
        key = "retry" if step.retry else "timeout"
        yield Finding(loc=(*at, key), message=message, expected=f"at most {format_duration(MAX_STEP)}", at_key=True)


def _no_time(loc: Loc, value: timedelta | None, message: str) -> Iterator[Finding]:
    if value is not None and value <= _NOTHING:
        yield Finding(loc=loc, message=message, value=format_duration(value), expected="longer than 0s")


def _unread_params(model: Playbook, read: list[Reading]) -> Iterator[Finding]:
    names = {".".join(name.split(".")[:2]) for each in read for name in each.names}
    for name in model.params:
        if f"params.{name}" not in names:
            yield Finding(loc=("params", name), message="param is never read", value=name, at_key=True)


def _no_alert(model: Playbook, read: list[Reading]) -> Iterator[Finding]:
    """What the clock starts has no alert; a playbook that alerts start too is told of a mistake all the same."""
    if model.schedule is None:
        return
    for each in read:
        name = next((n for n in sorted(each.names) if n.startswith("alert.")), None)
        if name:
            message = f"reads {name}, but the clock starts this playbook and brings no alert"
            yield Finding(loc=each.at, message=message)


def _constant(at: Loc, condition: Condition) -> Iterator[Finding]:
    if condition.expression.names:
        return
    try:
        answer = condition.evaluate({})
    except ExpressionError as error:
        yield Finding(loc=at, message=f"the condition never has an answer: {error}")
        return
    follows = "always" if answer else "never"
    message = f"the condition reads nothing: the step is {follows} done"
    yield Finding(loc=at, message=message, value=condition.text.strip())
