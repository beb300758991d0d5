"""Runs the tests of playbooks: alerts to incident, playbook, plan and guards, compared with what the author expects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from hdr_responder.actions.contract import Registry
from hdr_responder.documents.catalogue import Documents
from hdr_responder.documents.playbook_tests import AnyExpectedStep, ExpectedStep, GivenAlert, PlaybookTest
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.source import Loc
from hdr_responder.domain.alerts import AlertEvent, AlertStatus, Occurrence
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode, Plan
from hdr_responder.engine.guards import GUARDS
from hdr_responder.engine.planner import Automation, PlanError, Planner
from hdr_responder.engine.simulation.forecast import Beforehand, forecast
from hdr_responder.engine.simulation.openings import RECEIVED_AT, Opening, openings, why_not
from hdr_responder.engine.simulation.walk import WalkedStep, walk
from hdr_responder.errors import HdrError
from hdr_responder.settings import DEFAULT_SOURCE, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An expectation that does not hold; ``loc`` is where it stands below the test."""

    loc: Loc
    what: str
    expected: str
    actual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What tests are run with."""

    settings: Settings
    documents: Documents
    registry: Registry

    def failures(self, playbook: CompiledPlaybook, test: PlaybookTest) -> list[Failure]:
        """Run a test of a playbook; it passed when nothing is returned."""
        return list(_Test(self, playbook, test).run())


class _Test:
    """One test under way."""

    def __init__(self, trial: Trial, playbook: CompiledPlaybook, test: PlaybookTest) -> None:
        self._trial = trial
        self._playbook = playbook
        self._test = test
        self._expect = test.expect
        modes: Mapping[str, Mode] = dict(trial.settings.automation.modes)
        automation = Automation(environment=test.environment, cap=test.mode or modes[test.environment])
        self._planner = Planner(services=trial.documents.services, automation=automation)

    def run(self) -> Iterator[Failure]:
        """Yield what does not hold, in the order of the plan's making."""
        events = [_event(i, alert) for i, alert in enumerate(self._test.alerts)]
        window = self._trial.settings.alertmanager.late_window
        opened = openings(self._trial.documents, events, late_window=window) if events else [_by_clock(self._playbook)]
        chosen = self._choose(opened)
        wanted = None if self._expect.expects_none else self._expect.playbook or self._playbook.name
        opening = chosen[1] if chosen else next(iter(opened), None)
        yield from self._priority(opening)
        found = chosen[0].name if chosen else None
        if found != wanted:
            yield self._wrong_playbook(wanted, found, opened)
        elif chosen is not None:
            yield from self._plan(*chosen)

    def _choose(self, opened: Sequence[Opening]) -> tuple[CompiledPlaybook, Opening, list[Occurrence]] | None:
        """Choose as the engine does; what no alert starts, or what is given params, a person or the clock asks for."""
        if opened and (self._playbook.matchers is None or self._test.params):
            return self._playbook, opened[0], opened[0].firing
        for opening in opened:
            found = self._planner.choose(self._trial.documents.playbooks, opening.firing, opening.incident.priority)
            if found is not None:
                playbook, first = found
                return playbook, opening, [first, *(a for a in opening.firing if a is not first)]
        return None

    def _priority(self, opening: Opening | None) -> Iterator[Failure]:
        found = opening.incident.priority if opening else None
        if self._expect.priority is not None and self._expect.priority is not found:
            yield _failure("priority", self._expect.priority, found or "no incident")

    def _wrong_playbook(self, wanted: str | None, found: str | None, opened: Sequence[Opening]) -> Failure:
        actual = found or "none"
        if wanted == self._playbook.name:
            actual += f" ({why_not(self._planner, self._trial.documents, self._playbook, opened)})"
        elif wanted is not None and wanted not in {p.name for p in self._trial.documents.playbooks}:
            actual += f" (no playbook is named {wanted!r})"
        return _failure("playbook", wanted or "none", actual)

    def _plan(self, playbook: CompiledPlaybook, opening: Opening, alerts: list[Occurrence]) -> Iterator[Failure]:
        try:
            plan = self._planner.plan(playbook, opening.incident, alerts, self._test.params)
        except PlanError as error:
            if self._expect.error is None:
                yield Failure(loc=("expect",), what="plan", expected="a plan", actual=str(error))
            elif self._expect.error not in str(error):
                yield _failure("error", self._expect.error, str(error))
            return
        if self._expect.error is not None:
            yield _failure("error", self._expect.error, "a plan")
            return
        if self._expect.mode is not None and self._expect.mode is not plan.mode:
            yield _failure("mode", self._expect.mode, f"{plan.mode} ({plan.mode_reason})")
        for name, value in (self._expect.params or {}).items():
            if not contains(plan.params.get(name), value):
                yield _failure("params", value, plan.params.get(name), name)
        yield from self._targets(plan)
        yield from self._steps(plan, opening)
        yield from self._refused(plan, opening)

    def _targets(self, plan: Plan) -> Iterator[Failure]:
        found = sorted({t.key for t in plan.targets})
        if self._expect.targets is not None and sorted(set(self._expect.targets)) != found:
            yield _failure("targets", list(self._expect.targets), found)

    def _steps(self, plan: Plan, opening: Opening) -> Iterator[Failure]:
        if self._expect.steps is None:
            return
        try:
            walked = walk(plan, opening.incident, self._trial.registry, self._test.results)
        except HdrError as error:
            yield Failure(loc=("expect", "steps"), what="steps", expected="a walk through the steps", actual=str(error))
            return
        wanted = [_as_step(step) for step in self._expect.steps]
        done, meant = [s.id for s in walked if not s.skipped], [s.id for s in wanted if not s.skipped]
        if done != meant:
            yield _failure("steps", meant, done)
        found = {s.id: s for s in walked}
        for i, step in enumerate(wanted):
            yield from _step_failures(step, found.get(step.id), ("expect", "steps", i))

    def _refused(self, plan: Plan, opening: Opening) -> Iterator[Failure]:
        if self._expect.refused is None:
            return
        strange = sorted(set(self._expect.refused) - {g.__name__ for g in GUARDS})
        if strange:
            yield _failure("refused", f"guards, not {', '.join(strange)}", sorted(g.__name__ for g in GUARDS))
            return
        beforehand = Beforehand(
            planner=self._planner,
            calendar=self._trial.documents.calendar,
            allowances=self._trial.settings.automation.budgets.allowances,
            reach=self._trial.documents.services.reach,
        )
        refusing = sorted(f.guard for f in forecast(plan, opening.incident, beforehand) if f.allowed is False)
        if refusing != sorted(set(self._expect.refused)):
            yield _failure("refused", list(self._expect.refused), refusing)


def contains(actual: JsonValue, expected: JsonValue) -> bool:
    """Tell whether a value is as expected, of a mapping only in the keys that are expected.

    A workload may be expected as documents write it: ``deployment/neural-hdr``.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(key in actual and contains(actual[key], value) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(contains(a, e) for a, e in zip(actual, expected, strict=True))
    if isinstance(expected, str) and isinstance(actual, dict) and {"kind", "name"} <= actual.keys():
        short = f"{actual['kind']}/{actual['name']}"
        return expected in {short, f"{actual.get('namespace')}/{short}"}
    return actual == expected and isinstance(actual, bool) is isinstance(expected, bool)


def _step_failures(wanted: ExpectedStep, found: WalkedStep | None, at: Loc) -> Iterator[Failure]:
    if found is None:
        if wanted.skipped:
            yield Failure(loc=at, what=f"step {wanted.id}", expected="skipped", actual="not reached")
        return
    if wanted.skipped and not found.skipped:
        yield Failure(loc=(*at, "skipped"), what=f"step {wanted.id}", expected="skipped", actual="done")
    if wanted.action is not None and wanted.action != found.action:
        yield Failure(
            loc=(*at, "action"), what=f"action of step {wanted.id}", expected=wanted.action, actual=found.action
        )
    for name, value in (wanted.with_ or {}).items():
        if not contains(found.parameters.get(name), value):
            what, actual = f"{name} of step {wanted.id}", _shown(found.parameters.get(name))
            yield Failure(loc=(*at, "with", name), what=what, expected=_shown(value), actual=actual)


def _as_step(written: AnyExpectedStep) -> ExpectedStep:
    return ExpectedStep(id=written) if isinstance(written, str) else written


def _failure(field: str, expected: object, actual: object, *more: str) -> Failure:
    what = " ".join((field, *more))
    return Failure(loc=("expect", field, *more), what=what, expected=_shown(expected), actual=_shown(actual))


def _shown(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return ", ".join(value) or "nothing"
    return json.dumps(value, ensure_ascii=False)


def _by_clock(playbook: CompiledPlaybook) -> Opening:
    """Return the incident of a run that no alert starts."""
    model = playbook.model
    schedule = model.schedule
    return Opening(
        Incident(
            key=playbook.name,
            cluster=(schedule and schedule.cluster) or "",
            service=(schedule and schedule.service) or "",
            problem=playbook.name,
            title=model.metadata.summary,
            priority=schedule.priority if schedule else Priority.P4,
            priority_rule="schedule",
            priority_reason="no alert starts it",
            status=IncidentStatus.TRIGGERED,
            started_at=RECEIVED_AT,
            opened_at=RECEIVED_AT,
        )
    )


def _event(index: int, alert: GivenAlert) -> AlertEvent:
    status = AlertStatus(alert.status)
    identity = json.dumps([index, sorted(alert.labels.items())])
    return AlertEvent(
        source=DEFAULT_SOURCE,
        fingerprint=hashlib.sha256(identity.encode()).hexdigest()[:16],
        status=status,
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=RECEIVED_AT,
        ends_at=RECEIVED_AT if status is AlertStatus.RESOLVED else None,
        received_at=RECEIVED_AT,
    )
