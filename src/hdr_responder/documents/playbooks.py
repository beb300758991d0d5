"""A playbook ready to run: every expression compiled, every action found, every parameter checked.

The same compiler serves files (findings become problems at their line) and playbooks frozen into a plan, so that a run
that began before a restart goes on with exactly the document it began with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from pydantic import JsonValue, ValidationError

from hdr_responder.actions.contract import AnyAction, AnyCheck, AnyMutation, Mutation, Parameters, Registry, Undo
from hdr_responder.documents.arguments import Arguments, compile_arguments
from hdr_responder.documents.expressions import Condition, InvalidExpressionError, Scope, compile_condition
from hdr_responder.documents.findings import Finding, from_fault, from_validation, unknown
from hdr_responder.documents.matching import compile_matchers
from hdr_responder.documents.params import CompiledParam, compile_param, to_json
from hdr_responder.documents.playbook_document import Playbook, Reaction, Step
from hdr_responder.documents.scope import base_scope, params_scope, step_scope
from hdr_responder.domain.matchers import Labels, MatcherSet
from hdr_responder.domain.priorities import Priority
from hdr_responder.errors import ConfigError, InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledStep:
    """One step; ``model`` is it as written."""

    model: Step
    action: AnyAction
    when: Condition | None
    with_: Arguments

    @property
    def id(self) -> str:
        """The step's id."""
        return self.model.id

    @property
    def mutation(self) -> AnyMutation | None:
        """The action where it changes something, else None."""
        return self.action if isinstance(self.action, Mutation) else None

    @property
    def timeout(self) -> timedelta:
        """How long one try may take: the author's limit, else the action's own."""
        return self.model.timeout or timedelta(seconds=self.action.default_timeout_seconds)

    @property
    def undoes(self) -> bool:
        """Whether the change is put back when the run is undone."""
        mutation = self.mutation
        return mutation is not None and mutation.undoable is Undo.RESTORES and self.model.undo is None

    @property
    def depends_on_steps(self) -> frozenset[str]:
        """Ids of the earlier steps whose outcome or result this one reads."""
        return self.with_.depends_on_steps | (self.when.depends_on_steps if self.when else frozenset())

    def parameters(self, values: Mapping[str, object]) -> Parameters:
        """Return the action's typed parameters. Raises ExpressionError."""
        return self.with_.resolve(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCheck:
    """One criterion of ``verify``."""

    name: str
    check: AnyCheck
    with_: Arguments

    def parameters(self, values: Mapping[str, object]) -> Parameters:
        """Return the check's typed parameters. Raises ExpressionError."""
        return self.with_.resolve(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledVerify:
    """How one knows that it helped: ``need`` of the checks must hold for ``hold``, within ``within``."""

    within: timedelta
    hold: timedelta
    need: Literal["all", "any"]
    checks: tuple[CompiledCheck, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledReaction:
    """An action for when the run failed or did not help."""

    model: Reaction
    action: AnyAction
    with_: Arguments

    def parameters(self, values: Mapping[str, object]) -> Parameters:
        """Return the action's typed parameters. Raises ExpressionError."""
        return self.with_.resolve(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPlaybook:
    """A playbook; ``digest`` is the SHA-256 of its canonical JSON, so that a plan says which version it froze."""

    name: str
    digest: str
    model: Playbook
    matchers: MatcherSet | None
    """None: no alert starts it."""
    params: tuple[CompiledParam, ...]
    steps: tuple[CompiledStep, ...]
    verify: CompiledVerify | None
    on_failure: tuple[CompiledReaction, ...]

    @property
    def mutates(self) -> bool:
        """Whether any step changes something."""
        return any(step.mutation for step in self.steps)

    def applies_to(self, labels: Labels, priority: Priority, environment: str | None = None) -> bool:
        """Tell whether an alert of this priority is one for this playbook.

        ``environment`` None asks for no environment in particular.
        """
        here = environment is None or self.model.environments is None or environment in self.model.environments
        wanted = here and self.matchers is not None and priority in (self.model.priorities or ())
        return wanted and self.matchers is not None and self.matchers.matches(labels)

    def step(self, step_id: str) -> CompiledStep:
        """Return the step of this id; raises KeyError when there is none."""
        return {s.id: s for s in self.steps}[step_id]

    @property
    def step_ids(self) -> tuple[str, ...]:
        """Ids of the steps in order."""
        return tuple(s.id for s in self.steps)

    def resolve_params(
        self, values: Mapping[str, object], given: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """Return the params with their values; ``given`` are a person's own, which go before the defaults.

        Raises InvalidInputError naming what a person must give or gave wrongly, ExpressionError when a default's
        expression has no value.
        """
        given = given or {}
        known = {p.name for p in self.params}
        if strange := sorted(set(given) - known):
            raise InvalidInputError(
                f"unknown; known are {', '.join(sorted(known)) or 'none'}", field=f"params.{strange[0]}"
            )
        return {p.name: p.resolve(values, given) for p in self.params}

    def dump_params(self, params: Mapping[str, object]) -> dict[str, JsonValue]:
        """Return resolved params as JSON, to be frozen into a plan."""
        return {name: to_json(value) for name, value in params.items()}

    def load_params(self, frozen: Mapping[str, JsonValue]) -> dict[str, object]:
        """Return the typed params that `dump_params` froze."""
        return {p.name: p.from_json(frozen[p.name]) for p in self.params if p.name in frozen}

    def to_json(self) -> dict[str, JsonValue]:
        """Return the document as JSON, to be frozen into a plan."""
        return _canonical(self.model)

    @classmethod
    def from_json(cls, document: Mapping[str, JsonValue] | str, registry: Registry) -> CompiledPlaybook:
        """Compile a playbook that `to_json` froze.

        Raises ConfigError when it is none or needs what this version no longer has.
        """
        data = json.loads(document) if isinstance(document, str) else dict(document)
        try:
            model = Playbook.model_validate(data)
        except ValidationError as e:
            findings = from_validation(e, Playbook, data)
        else:
            compiled, findings = compile_playbook(model, registry)
            if compiled and not findings:
                return compiled
        raise ConfigError("frozen playbook: " + "; ".join(str(f) for f in findings))


def compile_playbook(model: Playbook, registry: Registry) -> tuple[CompiledPlaybook | None, list[Finding]]:
    """Compile a playbook; None with findings where something is too wrong to go on with."""
    return _Compiler(model, registry).compile()


class _Compiler:
    """Collects findings while it builds; `scope` knows all params and steps, and hides the later ones by place."""

    def __init__(self, model: Playbook, registry: Registry) -> None:
        self.model = model
        self.registry = registry
        self.findings: list[Finding] = []
        self.scope = base_scope()

    def compile(self) -> tuple[CompiledPlaybook | None, list[Finding]]:
        matchers = self._keep(compile_matchers(self.model.match, ("match",))) if self.model.match else None
        params = [self._keep(compile_param(n, w, self.scope)) for n, w in self.model.params.items()]
        self._declare([p for p in params if p])
        steps = [self._step(i, step) for i, step in enumerate(self.model.steps)]
        verify = self._verify()
        reactions = [self._reaction(i, r) for i, r in enumerate(self.model.on_failure)]
        self._rules()
        if self.findings or (matchers is None and self.model.match):
            return None, self.findings
        return (
            CompiledPlaybook(
                name=self.model.metadata.name,
                digest=hashlib.sha256(json.dumps(_canonical(self.model), sort_keys=True).encode()).hexdigest(),
                model=self.model,
                matchers=matchers,
                params=tuple(p for p in params if p),
                steps=tuple(s for s in steps if s),
                verify=verify,
                on_failure=tuple(r for r in reactions if r),
            ),
            [],
        )

    def _keep(self, compiled: tuple[Any, Sequence[Finding]]) -> Any:
        self.findings.extend(compiled[1])
        return compiled[0]

    def _declare(self, params: list[CompiledParam]) -> None:
        names = params_scope({p.name: p.type for p in params})
        for step in self.model.steps:
            action = self.registry.actions.get(step.action)
            if action:
                names |= step_scope(step.id, action.result)
        lost = tuple(f"params.{n}" for n in self.model.params if n not in {p.name for p in params})
        lost += tuple(f"steps.{s.id}." for s in self.model.steps if s.action not in self.registry.actions)
        self.scope = self.scope.with_names(names).without(lost)

    def _step(self, index: int, step: Step) -> CompiledStep | None:
        at = ("steps", index)
        scope = self.scope.hiding(frozenset(s.id for s in self.model.steps[index:]))
        when = self._condition(step.when, scope, (*at, "when")) if step.when else None
        action = self._action(step.action, (*at, "action"))
        if action is None:
            return None
        self.findings.extend(_step_rules(step, action, at))
        arguments = self._keep(compile_arguments(step.with_, action.parameters, scope, (*at, "with")))
        return CompiledStep(model=step, action=action, when=when, with_=arguments) if arguments else None

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

    def _rules(self) -> None:
        self._triggers()
        seen: dict[str, int] = {}
        for i, step in enumerate(self.model.steps):
            if step.id in seen:
                first = seen[step.id] + 1
                self.findings.append(
                    Finding(loc=("steps", i, "id"), message=f"duplicate step id (step {first} has it)", value=step.id)
                )
            seen.setdefault(step.id, i)
        actions = [self.registry.actions.get(s.action) for s in self.model.steps]
        if self.model.verify is None and any(a.mutates for a in actions if a):
            changing = next(s.id for s, a in zip(self.model.steps, actions, strict=True) if a and a.mutates)
            message = f"verify is required: step {changing!r} changes something"
            self.findings.append(Finding(loc=("steps",), message=message, at_key=True))


def _step_rules(step: Step, action: AnyAction, at: tuple[str | int, ...]) -> list[Finding]:
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


def _canonical(model: Playbook) -> dict[str, JsonValue]:
    dumped: dict[str, JsonValue] = model.model_dump(mode="json", by_alias=True)
    return dumped
