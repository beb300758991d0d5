"""A plan walked through without doing anything: which steps are done and which are skipped, given what steps give.

Conditions and parameters are evaluated as in a run. What a step would give is told by the caller; an expression that
needs something untold has no answer, and nothing is guessed in its place.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError, create_model

from hdr_responder.actions.contract import Registry, Result
from hdr_responder.documents.compiled import CompiledStep, EachResult, frame_of
from hdr_responder.documents.expressions import ExpressionError
from hdr_responder.documents.playbook_tests import GivenResult
from hdr_responder.documents.scope import ScopeValues, StepValues
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.runs import Plan, PlannedStep, Run, RunStatus, Step, StepStatus
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.errors import InvalidInputError

Results = Mapping[str, GivenResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedStep:
    """A step of the plan: whether it is done, and its parameters as far as they are known then."""

    id: str
    action: str
    skipped: bool
    parameters: Mapping[str, JsonValue]


class _Told(FrozenRun):
    """A run of which only the told fields of results are known."""

    def __init__(self, run: Run, registry: Registry, results: Results) -> None:
        super().__init__(run, registry)
        self._told: dict[str, dict[str, BaseModel]] = {}
        for full_id, given in results.items():
            if isinstance(given, dict):
                frame, own = frame_of(full_id), full_id.rpartition(".")[2]
                self._told.setdefault(frame, {})[own] = self._typed(full_id, given)

    def values(self, steps: object, frame: str = "", item: JsonValue = None) -> dict[str, object]:
        """Return what expressions read, with the fields that were told."""
        assert isinstance(steps, list)
        values = super().values(steps, frame, item)
        told = {i: StepValues(outcome=None, result=r) for i, r in self._told.get(frame, {}).items()}
        fields = ScopeValues.model_construct(steps=told, incident=self._context.incident).mapping()
        over = {s.step_id for s in steps}
        prefix = f"{frame}." if frame else ""
        return values | {
            name: value
            for name, value in fields.items()
            if name.startswith("steps.") and name not in values and prefix + name.split(".")[1] in over
        }

    def _typed(self, full_id: str, given: Mapping[str, JsonValue]) -> BaseModel:
        """Return the told fields with the types of the action's result. Raises InvalidInputError."""
        compiled = self.playbook.find(full_id)
        assert isinstance(compiled, CompiledStep), "only actions give a result"
        result: type[Result] = EachResult if compiled.each else compiled.action.result
        return _partly(full_id, result, given)


def walk(plan: Plan, incident: Incident, registry: Registry, results: Results) -> list[WalkedStep]:
    """Walk through a plan; steps after one that fails the run are not reached and are left out.

    Raises ExpressionError where a condition needs what was not told, InvalidInputError for results of a wrong type.
    """
    return list(_walk(plan, _Told(_run(plan, incident), registry, results), results))


def _walk(plan: Plan, told: _Told, results: Results) -> Iterator[WalkedStep]:
    before: list[Step] = []
    for position, planned in enumerate(plan.steps):
        given = results.get(planned.id)
        try:
            skipped = given == "skipped" or told.unmet(planned.id, before) is not None
        except ExpressionError as error:
            raise ExpressionError(f"step {planned.id}: {error}") from error
        yield WalkedStep(
            id=planned.id,
            action=planned.action,
            skipped=skipped,
            parameters=planned.parameters if skipped else _parameters(told, planned, before),
        )
        failed = given == "failed" and not skipped
        status = StepStatus.SKIPPED if skipped else StepStatus.FAILED if failed else StepStatus.SUCCEEDED
        before.append(_step(planned, position, status))
        if failed and not _goes_on(told, planned):
            return


def _parameters(told: _Told, planned: PlannedStep, before: list[Step]) -> Mapping[str, JsonValue]:
    """Return the parameters with what earlier steps gave; where that was not told, as they were planned."""
    compiled = told.playbook.find(planned.id)
    if not planned.awaits or not isinstance(compiled, CompiledStep) or compiled.each is not None:
        return planned.parameters
    try:
        params = compiled.parameters(told.values_for(planned.id, before))
    except ExpressionError:
        return planned.parameters
    dumped: dict[str, JsonValue] = params.model_dump(mode="json")
    return dumped


def _goes_on(told: _Told, planned: PlannedStep) -> bool:
    compiled = told.playbook.find(planned.id)
    return isinstance(compiled, CompiledStep) and compiled.model.on_error == "continue"


def _partly(full_id: str, result: type[Result], given: Mapping[str, JsonValue]) -> BaseModel:
    """Return a model of the told fields alone, each with the type that the result has for it.

    Where objects in a list are told in part, the list is kept as it was told: expressions read maps there anyway.
    """
    known = {info.alias or name: (name, info) for name, info in result.model_fields.items()}
    fields: dict[str, tuple[Any, Any]] = {}
    values: dict[str, object] = {}
    for key, value in given.items():
        name, info = known[key]
        kind: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        fields[name] = (Any, ...)
        try:
            values[name] = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            first = next((e for e in error.errors(include_url=False) if e["type"] != "missing"), None)
            if first is not None:
                field = ".".join(map(str, ("results", full_id, key, *first["loc"])))
                raise InvalidInputError(first["msg"], field=field) from error
            values[name] = value
    model: type[BaseModel] = create_model(result.__name__, **fields)  # type: ignore[call-overload]
    return model(**values)


def _run(plan: Plan, incident: Incident) -> Run:
    return Run(
        id=uuid.UUID(int=0),
        incident_id=incident.id,
        episode=incident.episode,
        playbook=plan.playbook,
        mode=plan.mode,
        status=RunStatus.RUNNING,
        plan=plan,
        created_at=incident.opened_at,
    )


def _step(planned: PlannedStep, position: int, status: StepStatus) -> Step:
    return Step(run_id=uuid.UUID(int=0), position=position, step_id=planned.id, action=planned.action, status=status)
