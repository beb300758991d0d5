"""Unfolds a playbook's tree into the flat steps of a plan: calls and entries of lists become steps of their own.

Whatever decides what is changed must be known here, before the run; only what a step reads may come from earlier steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from hdr_responder.actions.contract import AnyMutation, Parameters, Undo
from hdr_responder.actions.places import places_of
from hdr_responder.documents.compiled import (
    ITEM,
    AnyStep,
    CompiledApproval,
    CompiledCall,
    CompiledStep,
    CompiledWait,
    Each,
    Segment,
)
from hdr_responder.documents.params import to_json
from hdr_responder.documents.partial import partial_parameters
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.scope import ScopeValues
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.runs import PlannedFrame, PlannedStep, PlannedTarget
from hdr_responder.errors import HdrError, PermanentError

MAX_STEPS = 100
"""Steps of a plan; a playbook that unfolds to more cannot be planned."""
WAIT, APPROVE = "wait", "approve"
"""What stands as the action of steps that are none."""

_JSON: TypeAdapter[Any] = TypeAdapter(Any)


class PlanError(PermanentError):
    """The playbook cannot be planned for this incident; the message names the playbook's field and why."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where steps are unfolded: a playbook, the full id of the call that it is called by, and what expressions read."""

    playbook: CompiledPlaybook
    path: str
    values: ScopeValues

    def full(self, step: AnyStep, index: int | None = None) -> str:
        own = str(Segment(step.id, index))
        return f"{self.path}.{own}" if self.path else own

    def reading(self, item: object = None) -> dict[str, object]:
        return self.values.model_copy(update={ITEM: item}).mapping()


@dataclass(slots=True)
class Unfolded:
    """The steps of a plan, and the calls that they are in."""

    steps: list[PlannedStep] = field(default_factory=list)
    frames: dict[str, PlannedFrame] = field(default_factory=dict)


def unfold(playbook: CompiledPlaybook, values: ScopeValues) -> Unfolded:
    """Return the steps that a playbook comes to; ``values`` has its params. Raises PlanError."""
    unfolded = Unfolded()
    _unfold(_Frame(playbook, "", values), unfolded)
    if len(unfolded.steps) > MAX_STEPS:
        raise PlanError(f"{playbook.name}: it comes to {len(unfolded.steps)} steps, at most {MAX_STEPS} can be planned")
    return unfolded


def _unfold(frame: _Frame, unfolded: Unfolded) -> None:
    for step in frame.playbook.steps:
        try:
            _one(frame, step, unfolded)
        except PlanError:
            raise
        except HdrError as error:
            raise PlanError(f"{frame.playbook.name}: step {frame.full(step)}: {error}") from error


def _one(frame: _Frame, step: AnyStep, unfolded: Unfolded) -> None:
    match step:
        case CompiledCall():
            for index, item in _entries(frame, step.each):
                _call(frame, step, index, item, unfolded)
        case CompiledStep() if step.each is not None and step.mutation is None:
            unfolded.steps.append(_read_each(frame, step, step.each))
        case CompiledStep():
            for index, item in _entries(frame, step.each):
                unfolded.steps.append(_action(frame, step, index, item))
        case CompiledWait():
            summary = f"Wait {format_duration(step.model.wait)}."
            unfolded.steps.append(_plain(frame, step, WAIT, summary))
        case CompiledApproval():
            unfolded.steps.append(_plain(frame, step, APPROVE, "Ask people."))


def _entries(frame: _Frame, each: Each | None) -> list[tuple[int | None, object]]:
    if each is None:
        return [(None, None)]
    return list(enumerate(each.items(frame.reading())))


def _call(frame: _Frame, call: CompiledCall, index: int | None, item: object, unfolded: Unfolded) -> None:
    reading, path = frame.reading(item), frame.full(call, index)
    given = {name: template.evaluate(reading) for name, template in call.with_.items()}
    outside = frame.values.model_copy(update={"params": {}, "steps": {}, ITEM: None})
    params = call.playbook.resolve_params(outside.mapping(), given)
    unfolded.frames[path] = PlannedFrame(
        playbook=call.playbook.name, params=call.playbook.dump_params(params), item=to_json(item)
    )
    _unfold(_Frame(call.playbook, path, outside.model_copy(update={"params": params})), unfolded)


def _plain(frame: _Frame, step: CompiledWait | CompiledApproval, action: str, summary: str) -> PlannedStep:
    if isinstance(step, CompiledWait):
        parameters: dict[str, JsonValue] = {"for": format_duration(step.model.wait)}
    else:
        parameters = step.model.approve.model_dump(mode="json")
    return PlannedStep(
        id=frame.full(step),
        action=action,
        summary=summary,
        mutates=False,
        parameters=parameters,
        when=_when(step),
    )


def _read_each(frame: _Frame, step: CompiledStep, each: Each) -> PlannedStep:
    """Return the one step that reads for every entry; the list may come from an earlier step."""
    source = each.template.source
    shown = [to_json(i) for i in each.items(frame.reading())] if not each.depends_on_steps else source
    return PlannedStep(
        id=frame.full(step),
        action=step.action.name,
        summary=step.action.summary,
        mutates=False,
        parameters={"for_each": shown, **_shown(step.with_.template.source)},
        awaits=("for_each",) if each.depends_on_steps else (),
        when=_when(step),
        group=step.group,
    )


def _action(frame: _Frame, step: CompiledStep, index: int | None, item: object) -> PlannedStep:
    reading = frame.reading(item)
    known, awaits = _known_parameters(step, reading)
    params = None if awaits else step.parameters(reading)
    partial = params or _partial(step, known, awaits)
    shown = params.model_dump(mode="json") if params is not None else _shown(known)
    return PlannedStep(
        id=frame.full(step, index),
        action=step.action.name,
        summary=step.action.summary,
        mutates=step.action.mutates,
        parameters={**{name: step.with_.template.source[name] for name in awaits}, **shown},
        awaits=awaits,
        when=_when(step),
        target=_target(step.mutation, partial) if step.mutation else None,
        permissions=_permissions(step, partial),
        places=places_of(step.action, partial),
        undo=_undo(step),
        undo_after_seconds=step.model.for_.total_seconds() if step.model.for_ else None,
        undoable=step.mutation is not None and step.mutation.undoable is Undo.RESTORES,
        destructive=step.mutation is not None and step.mutation.destructive,
        restores=step.undoes,
        ends_with_incident=step.ends_with_incident,
        item=to_json(item),
        group=step.group,
    )


def _when(step: AnyStep) -> str | None:
    return " && ".join(c.text for c in step.conditions) or None


def _known_parameters(step: CompiledStep, values: Mapping[str, object]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Resolve what can be resolved before the run; the names of the others are returned beside it."""
    known: dict[str, Any] = {}
    awaits: list[str] = []
    for name, template in step.with_.template.fields.items():
        if template.depends_on_steps:
            awaits.append(name)
            continue
        try:
            known[name] = template.evaluate(values)
        except HdrError as error:
            raise PermanentError(f"{name}: {error}") from error
    return known, tuple(awaits)


def _partial(step: CompiledStep, known: Mapping[str, Any], awaits: Sequence[str]) -> Parameters:
    try:
        return partial_parameters(step.action.parameters, known, awaits)
    except ValidationError as error:
        told = "; ".join(str(problem["msg"]) for problem in error.errors(include_input=False))
        raise PermanentError(f"the parameters are refused: {told}") from error


def _target(mutation: AnyMutation, params: Parameters) -> PlannedTarget:
    """Return what a change locks, from what is known before the run."""
    try:
        target = mutation.target(params)
    except AttributeError as error:
        message = "what it locks depends on an earlier step; it must be known when it is planned"
        raise PermanentError(message) from error
    return PlannedTarget(key=target.key, effect_group=target.effect_group, title=target.title)


def _permissions(step: CompiledStep, params: Parameters) -> tuple[str, ...]:
    """Return the rights that a step needs, as far as what is known tells."""
    try:
        return tuple(str(p) for p in step.action.permissions(params))
    except AttributeError:
        return ()


def _undo(step: CompiledStep) -> str:
    if step.mutation is None:
        return ""
    if not step.undoes:
        return "cannot be taken back" if step.mutation.undoable is Undo.NONE else "stays"
    after = step.model.for_
    told = f"taken back after {format_duration(after)}" if after else "taken back if it does not help"
    return f"{told}, or when the incident is resolved" if step.ends_with_incident else told


def _shown(value: Any) -> Any:
    """Return resolved values as JSON for people: durations as they are written (``5m``)."""
    if isinstance(value, Mapping):
        return {str(k): _shown(v) for k, v in value.items()}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_shown(v) for v in value]
    try:
        return to_json(value)
    except TypeError:
        return _JSON.dump_python(value, mode="json")
