"""What guards say of a plan before anything is asked: the very guards, with the facts that are known beforehand alone.

A guard that needs no more than these gives its verdict; one that would look at anything else (the database, the
outside, the present time) is asked when the run starts, and is told as such.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from hdr_responder.documents.calendar import Calendar
from hdr_responder.domain.guards import Allowances, GuardFacts
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.reach import Reach
from hdr_responder.domain.runs import GuardVerdict, Plan, Run, RunStatus
from hdr_responder.domain.survey import Survey
from hdr_responder.engine import guards
from hdr_responder.engine.gates import guard_rules
from hdr_responder.engine.planner import Planner
from hdr_responder.records.views import View

LATER = "asked when it starts"


class Forecast(View):
    """A guard's verdict as far as it is known beforehand."""

    guard: str
    allowed: bool | None
    """null: not known before the run starts."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beforehand:
    """What a forecast is made from. ``at`` is when the run would start, None where that is not known."""

    planner: Planner
    calendar: Calendar
    allowances: Allowances
    reach: Reach
    at: datetime | None = None


class _NotKnownError(Exception):
    """A guard looked at something that is not known beforehand."""


class _Known:
    """Some of the fields of a fact; looking at another raises."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> object:
        if name not in self._values:
            raise _NotKnownError(name)
        return self._values[name]


def forecast(plan: Plan, incident: Incident, beforehand: Beforehand) -> tuple[Forecast, ...]:
    """Ask every guard about the run of a plan for an incident that an alert has just opened."""
    run = _run(plan, incident)
    rules = guard_rules(run)
    limits = guards.counted(run, rules, beforehand.allowances).limits
    facts: dict[str, Any] = {
        "commander": incident.commander,
        "incident_open": incident.status.is_open,
        "alerts_firing": incident.alerts_firing,
        "uncertain": False,
        "targets": tuple(_Known({"key": t.key, "effect_group": t.effect_group}) for t in plan.targets),
        "limits": tuple(_Known({"limit": limit}) for limit in limits),
    }
    if beforehand.at is not None:
        facts["now"] = beforehand.at
    question = guards.Question(
        run=run,
        incident=incident,
        rules=rules,
        facts=cast("GuardFacts", _Known(facts)),
        cap=beforehand.planner.cap(incident.priority),
        survey=cast("Survey", _Known({})),
        calendar=beforehand.calendar,
        environment=beforehand.planner.environment,
        reach=beforehand.reach,
        beforehand=beforehand.at is None,
    )
    return tuple(_ask(guard, question) for guard in guards.GUARDS)


def _ask(guard: guards.Guard, question: guards.Question) -> Forecast:
    try:
        verdict: GuardVerdict = guard(question)
    except _NotKnownError:
        return Forecast(guard=guard.__name__, allowed=None, reason=LATER)
    return Forecast(guard=verdict.guard, allowed=verdict.allowed, reason=verdict.reason)


def _run(plan: Plan, incident: Incident) -> Run:
    return Run(
        id=uuid.UUID(int=0),
        incident_id=incident.id,
        episode=incident.episode,
        playbook=plan.playbook,
        mode=plan.mode,
        status=RunStatus.HELD,
        plan=plan,
        created_at=incident.opened_at,
    )
