"""Compiles playbooks: every expression, action and parameter is checked, and all mistakes are found in one pass.

The same compiler serves files (findings become problems at their line) and playbooks frozen into a plan, so that a run
that began before a restart goes on with exactly the document it began with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import JsonValue, ValidationError

from hdr_responder.actions.contract import AnyAction, Mutation, Registry, Undo
from hdr_responder.documents.arguments import compile_arguments
from hdr_responder.documents.compiled import (
    ITEM,
    AnyStep,
    CompiledApproval,
    CompiledCall,
    CompiledCheck,
    CompiledReaction,
    CompiledStep,
    CompiledVerify,
    CompiledWait,
    Each,
    EachResult,
)
from hdr_responder.documents.expressions import (
    DYN,
    Condition,
    InvalidExpressionError,
    Scope,
    compile_condition,
    type_name,
)
from hdr_responder.documents.findings import Finding, from_fault, from_validation, unknown
from hdr_responder.documents.matching import compile_matchers
from hdr_responder.documents.params import CompiledParam, check_given, compile_param, entry_type
from hdr_responder.documents.playbook_document import (
    ActionStep,
    CallStep,
    ParallelStep,
    Playbook,
    Reaction,
    Step,
    WaitStep,
)
from hdr_responder.documents.playbook_tests import findings_of_tests
from hdr_responder.documents.playbooks import CALLED, CompiledPlaybook
from hdr_responder.documents.scope import base_scope, params_scope, step_scope
from hdr_responder.documents.source import Loc
from hdr_responder.documents.templates import InvalidTemplateError, Template, compile_template
from hdr_responder.errors import ConfigError

MAX_CALL_DEPTH = 3
"""How many calls deep playbooks may go."""


class Library:
    """The playbooks that others may call, by name; each is compiled once."""

    def __init__(self, models: Mapping[str, Playbook], registry: Registry) -> None:
        self.models = models
        self.registry = registry
        self._compiled: dict[str, CompiledPlaybook | None] = {}

    def compiled(self, name: str) -> CompiledPlaybook | None:
        """Return a playbook, None when it has mistakes. Raises KeyError for an unknown one.

        Only for playbooks that are not in a circle of calls.
        """
        if name not in self._compiled:
            self._compiled[name] = compile_playbook(self.models[name], self)[0]
        return self._compiled[name]

    def circle(self, name: str, back_to: str) -> list[str] | None:
        """Return the calls that lead from one playbook to another, None when none do."""
        ways, seen = [[name]], {name}
        while ways:
            way = ways.pop()
            if way[-1] == back_to:
                return way
            following = [n for n in self._calls(way[-1]) if n not in seen]
            seen.update(following)
            ways.extend([*way, n] for n in following)
        return None

    def depth(self, name: str) -> int:
        """Return how many calls deep a playbook goes; circles count as deep as the limit allows."""
        level, depth = {name}, 0
        while depth <= MAX_CALL_DEPTH and (level := {n for caller in level for n in self._calls(caller)}):
            depth += 1
        return depth

    def _calls(self, name: str) -> list[str]:
        model = self.models.get(name)
        return [s.call for s in model.steps if isinstance(s, CallStep)] if model else []


def compile_playbook(model: Playbook, library: Library) -> tuple[CompiledPlaybook | None, list[Finding]]:
    """Compile a playbook; None with findings where something is too wrong to go on with.

    A playbook that calls one with mistakes is None without findings of its own.
    """
    return _Compiler(model, library).compile()


def thaw(document: Mapping[str, JsonValue] | str, registry: Registry) -> CompiledPlaybook:
    """Compile a playbook that `CompiledPlaybook.to_json` froze.

    Raises ConfigError when it is none or needs what this version no longer has.
    """
    data: dict[str, Any] = json.loads(document) if isinstance(document, str) else dict(document)
    called: dict[str, Any] = data.pop(CALLED, None) or {}
    try:
        model = Playbook.model_validate(data)
        library = Library({name: Playbook.model_validate(d) for name, d in called.items()}, registry)
    except ValidationError as e:
        findings = from_validation(e, Playbook, data)
    else:
        compiled, findings = compile_playbook(model, library)
        if compiled and not findings:
            return compiled
    raise ConfigError("frozen playbook: " + "; ".join(str(f) for f in findings))


class _Compiler:
    """Collects findings while it builds; `scope` knows all params and steps, and hides the later ones by place."""

    def __init__(self, model: Playbook, library: Library) -> None:
        self.model = model
        self.library = library
        self.registry = library.registry
        self.findings: list[Finding] = []
        self.scope = base_scope()

    def compile(self) -> tuple[CompiledPlaybook | None, list[Finding]]:
        matchers = self._keep(compile_matchers(self.model.match, ("match",))) if self.model.match else None
        params = [self._keep(compile_param(n, w, self.scope)) for n, w in self.model.params.items()]
        self._declare([p for p in params if p])
        steps = [made for i, step in enumerate(self.model.steps) for made in self._step(i, step)]
        verify = self._verify()
        reactions = [self._reaction(i, r) for i, r in enumerate(self.model.on_failure)]
        self._rules([s for s in steps if s])
        self.findings.extend(findings_of_tests(self.model, self.registry))
        if self.findings or not all(steps):
            return None, self.findings
        compiled = CompiledPlaybook(
            name=self.model.metadata.name,
            digest="",
            model=self.model,
            matchers=matchers,
            params=tuple(p for p in params if p),
            steps=tuple(s for s in steps if s),
            verify=verify,
            on_failure=tuple(r for r in reactions if r),
        )
        digest = hashlib.sha256(json.dumps(compiled.to_json(), sort_keys=True).encode()).hexdigest()
        return replace(compiled, digest=digest), []

    def _keep(self, compiled: tuple[Any, Sequence[Finding]]) -> Any:
        self.findings.extend(compiled[1])
        return compiled[0]

    def _declare(self, params: list[CompiledParam]) -> None:
        names = params_scope({p.name: p.type for p in params})
        lost = [f"params.{n}" for n in self.model.params if n not in {p.name for p in params}]
        for step in self.model.steps:
            for inner in step.parallel if isinstance(step, ParallelStep) else (step,):
                action = self.registry.actions.get(inner.action) if isinstance(inner, ActionStep) else None
                if isinstance(inner, ActionStep) and action is None:
                    lost.append(f"steps.{inner.id}.")
                each = isinstance(inner, ActionStep) and inner.for_each is not None
                names |= step_scope(inner.id, EachResult if each else action.result if action else None)
        self.scope = self.scope.with_names(names).without(tuple(lost))

    def _step(self, index: int, step: Step) -> list[AnyStep | None]:
        at = ("steps", index)
        later = (s for written in self.model.steps[index:] for s in _ids(written))
        scope = self.scope.hiding(frozenset(later))
        if isinstance(step, ParallelStep):
            return self._parallel(step, scope, at)
        if isinstance(step, ActionStep):
            return [self._action_step(step, scope, at)]
        if isinstance(step, CallStep):
            return [self._call(step, scope, at)]
        when = self._when(step.when, scope, at)
        if isinstance(step, WaitStep):
            return [CompiledWait(model=step, when=when)]
        message = self._template(step.approve.message, scope, (*at, "approve", "message"))
        return [CompiledApproval(model=step, when=when, message=message) if message else None]

    def _parallel(self, step: ParallelStep, scope: Scope, at: Loc) -> list[AnyStep | None]:
        when = self._when(step.when, scope, at)
        made: list[AnyStep | None] = []
        for i, inner in enumerate(step.parallel):
            compiled = self._action_step(inner, scope, (*at, "parallel", i))
            if compiled and compiled.mutation:
                message = f"{compiled.action.name} changes something; only reads can be done at the same time"
                self.findings.append(Finding(loc=(*at, "parallel", i, "action"), message=message, value=inner.action))
            made.append(replace(compiled, group=step.id, group_when=when) if compiled else None)
        return made

    def _action_step(self, step: ActionStep, scope: Scope, at: Loc) -> CompiledStep | None:
        each = self._each(step.for_each, scope, at)
        inner = scope.with_names({ITEM: each.type}) if each else scope
        when = self._when(step.when, inner, at)
        action = self._action(step.action, (*at, "action"))
        if action is None:
            return None
        self.findings.extend(_step_rules(step, action, at))
        if each and action.mutates and each.depends_on_steps:
            self._known_when_planned((*at, "for_each"))
        arguments = self._keep(compile_arguments(step.with_, action.parameters, inner, (*at, "with")))
        return CompiledStep(model=step, action=action, when=when, with_=arguments, each=each) if arguments else None

    def _call(self, step: CallStep, scope: Scope, at: Loc) -> CompiledCall | None:
        each = self._each(step.for_each, scope, at)
        inner = scope.with_names({ITEM: each.type}) if each else scope
        when = self._when(step.when, inner, at)
        if each and each.depends_on_steps:
            self._known_when_planned((*at, "for_each"))
        callee = self._callee(step, (*at, "call"))
        if callee is None:
            return None
        given = {name: self._template(value, inner, (*at, "with", name)) for name, value in step.with_.items()}
        known = {name: template for name, template in given.items() if template}
        for name, template in known.items():
            if template.depends_on_steps:
                self._known_when_planned((*at, "with", name))
        self.findings.extend(check_given(callee.params, known, (*at, "with")))
        return CompiledCall(model=step, when=when, playbook=callee, with_=known, each=each)

    def _callee(self, step: CallStep, at: Loc) -> CompiledPlaybook | None:
        own, name = self.model.metadata.name, step.call
        if name != own and name not in self.library.models:
            self.findings.append(unknown(at, "playbook", name, self.library.models))
            return None
        circle = self.library.circle(name, own)
        if circle:
            message = f"playbooks call each other in a circle: {' -> '.join([own, *circle])}"
            self.findings.append(Finding(loc=at, message=message, value=name))
            return None
        if self.library.depth(name) >= MAX_CALL_DEPTH:
            message = f"calls go at most {MAX_CALL_DEPTH} playbooks deep"
            self.findings.append(Finding(loc=at, message=message, value=name))
            return None
        return self.library.compiled(name)

    def _known_when_planned(self, at: Loc) -> None:
        message = "must be known when it is planned, so it cannot read what a step gives"
        self.findings.append(Finding(loc=at, message=message))

    def _each(self, written: Any, scope: Scope, at: Loc) -> Each | None:
        if written is None:
            return None
        template = self._template(list(written) if isinstance(written, tuple) else written, scope, (*at, "for_each"))
        if template is None:
            return Each(template=compile_template([], scope), type=DYN)
        kind = entry_type(template)
        if kind is None:
            alone = template.expressions[0][1]
            message = f"for_each takes a list, this gives {type_name(alone.type) if alone else 'text'}"
            self.findings.append(Finding(loc=(*at, "for_each"), message=message))
        return Each(template=template, type=kind or DYN)

    def _template(self, value: JsonValue, scope: Scope, at: Loc) -> Template | None:
        try:
            return compile_template(value, scope)
        except InvalidTemplateError as e:
            self.findings.extend(from_fault((*at, *p), fault) for p, faults in e.by_path.items() for fault in faults)
            return None

    def _when(self, text: str | None, scope: Scope, at: Loc) -> Condition | None:
        return self._condition(text, scope, (*at, "when")) if text else None

    def _condition(self, text: str, scope: Scope, at: tuple[str | int, ...]) -> Condition | None:
        try:
            return compile_condition(text, scope)
        except InvalidExpressionError as e:
            self.findings.extend(from_fault(at, fault) for fault in e.faults)
            return None

    def _action(self, name: str, at: tuple[str | int, ...]) -> AnyAction | None:
        action = self.registry.actions.get(name)
        if action is None:
            self.findings.append(unknown(at, "action", name, self.registry.actions))
        return action

    def _reaction(self, index: int, reaction: Reaction) -> CompiledReaction | None:
        at = ("on_failure", index)
        action = self._action(reaction.action, (*at, "action"))
        if action is None:
            return None
        if action.mutates:
            message = (
                f"{action.name} changes something; on_failure may only read and tell (the run's own undo takes back)"
            )
            self.findings.append(Finding(loc=(*at, "action"), message=message, value=action.name))
        arguments = self._keep(compile_arguments(reaction.with_, action.parameters, self.scope, (*at, "with")))
        return CompiledReaction(model=reaction, action=action, with_=arguments) if arguments else None

    def _verify(self) -> CompiledVerify | None:
        written = self.model.verify
        if written is None:
            return None
        need: Literal["all", "any"] = "all" if written.all_ is not None else "any"
        checks = [self._check(("verify", need, i), entry) for i, entry in enumerate(written.checks)]
        return CompiledVerify(within=written.within, hold=written.hold, need=need, checks=tuple(c for c in checks if c))

    def _check(self, at: tuple[str | int, ...], entry: Mapping[str, JsonValue]) -> CompiledCheck | None:
        if len(entry) != 1:
            self.findings.append(Finding(loc=at, message="a check is one key with its parameters: '<check>: ...'"))
            return None
        name, written = next(iter(entry.items()))
        check = self.registry.checks.get(name)
        if check is None:
            self.findings.append(unknown((*at, name), "check", name, self.registry.checks, at_key=True))
            return None
        arguments = self._keep(compile_arguments(written, check.parameters, self.scope, (*at, name)))
        return CompiledCheck(name=name, check=check, with_=arguments) if arguments else None

    def _triggers(self) -> None:
        if self.model.match and self.model.priorities is None:
            message = "priorities is required with match: for incidents of which priorities is it?"
            self.findings.append(Finding(loc=("match",), message=message, at_key=True))
        if self.model.priorities and not self.model.match:
            message = "priorities has a meaning with match only"
            self.findings.append(Finding(loc=("priorities",), message=message, at_key=True))

    def _rules(self, steps: Sequence[AnyStep]) -> None:
        self._triggers()
        seen: dict[str, int] = {}
        for i, step in enumerate(self.model.steps):
            for loc, step_id in _ids_with_places(step, ("steps", i)):
                if step_id in seen:
                    first = seen[step_id] + 1
                    message = f"duplicate step id (step {first} has it)"
                    self.findings.append(Finding(loc=loc, message=message, value=step_id))
                seen.setdefault(step_id, i)
        changing = next((s.id for s in steps if _changes(s)), None)
        if self.model.verify is None and changing and self._starts_by_itself():
            message = f"verify is required: step {changing!r} changes something"
            self.findings.append(Finding(loc=("steps",), message=message, at_key=True))

    def _starts_by_itself(self) -> bool:
        """Tell whether anything but a call starts it; a playbook that is only called is verified by its caller."""
        return bool(self.model.match or self.model.schedule or self.model.manual)


def _changes(step: AnyStep) -> bool:
    if isinstance(step, CompiledCall):
        return step.playbook.mutates
    return isinstance(step, CompiledStep) and step.mutation is not None


def _ids(step: Step) -> Iterator[str]:
    yield from (step_id for _, step_id in _ids_with_places(step, ()))


def _ids_with_places(step: Step, at: Loc) -> Iterator[tuple[Loc, str]]:
    yield (*at, "id"), step.id
    if isinstance(step, ParallelStep):
        yield from (((*at, "parallel", i, "id"), inner.id) for i, inner in enumerate(step.parallel))


def _step_rules(step: ActionStep, action: AnyAction, at: Loc) -> list[Finding]:
    if not isinstance(action, Mutation):
        said = [("undo", step.undo), ("for", step.for_)]
        return [
            Finding(loc=(*at, key), message=f"{action.name} changes nothing, so {key!r} has no meaning", at_key=True)
            for key, value in said
            if value is not None
        ]
    if action.undoable is Undo.NONE and step.undo is None:
        message = f"{action.name} cannot be undone; say so with 'undo: none'"
        return [Finding(loc=(*at, "action"), message=message, value=action.name)]
    if step.for_ is not None and (action.undoable is Undo.NONE or step.undo == "none"):
        message = "'for' undoes the change later, but this change is not undone"
        return [Finding(loc=(*at, "for"), message=message, at_key=True)]
    return []
