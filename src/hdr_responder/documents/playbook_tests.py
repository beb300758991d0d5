"""Tests of a playbook, written beside it: some alerts, and the plan that they shall lead to.

They are run offline by ``hdr-responder test`` and read as examples of what the playbook does. Names in them are checked
when the document is loaded, so that a test cannot pass because of a typing mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, Discriminator, Field, JsonValue, StrictBool, Tag, model_validator
from pydantic_core import PydanticCustomError

from hdr_responder.actions.contract import AnyAction, Registry
from hdr_responder.documents.findings import Finding, unknown
from hdr_responder.documents.source import Loc
from hdr_responder.documents.strict import Environment, Identifier, Name, Scalar, Strict, Text
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode

if TYPE_CHECKING:
    from hdr_responder.documents.playbook_document import Playbook

MAX_TESTS = 100
StepId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\[[0-9]+\])?(\.[a-z][a-z0-9_]*(\[[0-9]+\])?)*$")]
"""A step as plans list it: ``restart``, or ``recover[1].restart`` for a step of a playbook that ``recover`` calls."""


class GivenAlert(Strict):
    """An alert as Alertmanager would deliver it; all else about it does not matter."""

    labels: Annotated[dict[str, str], Field(min_length=1)]
    annotations: dict[str, str] = Field(default_factory=dict)
    status: Literal["firing", "resolved"] = "firing"


def _form(value: object) -> str:
    return "outcome" if isinstance(value, str) else "fields"


GivenResult = Annotated[
    Annotated[Literal["failed", "skipped"], Tag("outcome")] | Annotated[dict[str, JsonValue], Tag("fields")],
    Discriminator(_form),
]
"""What a step would have given: some fields of its action's result, or that it failed or was skipped."""


class ExpectedStep(Strict):
    """One step of the plan; only what is written is compared."""

    id: StepId
    action: str | None = None
    skipped: StrictBool = False
    """Its ``when`` does not hold."""
    with_: dict[str, JsonValue] | None = Field(default=None, alias="with")
    """Some of its parameters, as the plan shows them."""


def _written(value: object) -> str:
    return "id" if isinstance(value, str) else "step"


AnyExpectedStep = Annotated[
    Annotated[StepId, Tag("id")] | Annotated[ExpectedStep, Tag("step")], Discriminator(_written)
]


class Expectation(Strict):
    """What shall come of the alerts; only what is written is compared."""

    playbook: Name | None = None
    """Which playbook is chosen: this one where nothing is written, ``null`` for none."""
    priority: Priority | None = None
    mode: Mode | None = None
    params: dict[Identifier, JsonValue] | None = None
    """Some of the params."""
    steps: tuple[AnyExpectedStep, ...] | None = None
    """Every step that is done, in order; steps that are skipped may be listed too."""
    targets: tuple[str, ...] | None = None
    """Every target that is changed, by its key, in any order."""
    refused: tuple[Identifier, ...] | None = None
    """Every guard that refuses already by what is known beforehand, in any order."""
    error: Text | None = None
    """It cannot be planned, and this is part of why."""

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        planned = [n for n in ("mode", "params", "steps", "targets", "refused") if getattr(self, n) is not None]
        nothing = "error" if self.error else "playbook: null" if self.expects_none else ""
        if nothing and planned:
            raise PydanticCustomError("no_plan", f"with {nothing!r} there is no plan of which to expect {planned[0]!r}")
        return self

    @property
    def expects_none(self) -> bool:
        """Whether no playbook shall be chosen."""
        return "playbook" in self.model_fields_set and self.playbook is None


class PlaybookTest(Strict):
    """One test."""

    name: Text
    alerts: Annotated[tuple[GivenAlert, ...], Field(max_length=100)] = ()
    """None for a playbook that the clock starts."""
    environment: Environment = "development"
    mode: Mode | None = None
    """The most that the environment allows; None for what the settings say of it."""
    params: dict[Identifier, Scalar] = Field(default_factory=dict)
    """Params that a person gives."""
    results: dict[StepId, GivenResult] = Field(default_factory=dict)
    """What steps would have given. Of a step that is not named, nothing but that it went well is known."""
    expect: Expectation = Expectation()


def findings_of_tests(model: Playbook, registry: Registry) -> Iterator[Finding]:
    """Return what is wrong with a playbook's tests: names taken twice, unknown steps, params and fields."""
    known = _Known(model, registry)
    names: set[str] = set()
    for i, test in enumerate(model.tests):
        at: Loc = ("tests", i)
        if test.name in names:
            yield Finding(loc=(*at, "name"), message="test name is taken", value=test.name)
        names.add(test.name)
        yield from _unknown_keys(test.params, model.params, (*at, "params"), "param")
        yield from known.results(test, (*at, "results"))
        yield from known.expectation(test.expect, model, (*at, "expect"))


class _Known:
    """The steps of a playbook with their actions; what a called playbook does is that one's own affair."""

    def __init__(self, model: Playbook, registry: Registry) -> None:
        self._actions: dict[str, AnyAction | None] = {}
        for written in model.steps:
            for step in (written, *getattr(written, "parallel", ())):
                once = getattr(step, "for_each", None) is None
                self._actions[step.id] = registry.actions.get(getattr(step, "action", "")) if once else None
        self._registry = registry

    def results(self, test: PlaybookTest, at: Loc) -> Iterator[Finding]:
        """Return the findings of ``results``."""
        for step_id, given in test.results.items():
            step = self._step(step_id)
            if step is None:
                yield unknown((*at, step_id), "step", step_id, self._actions, at_key=True)
            elif isinstance(given, dict) and (action := self._own_action(step_id)) is not None:
                yield from _unknown_keys(given, _fields(action.result), (*at, step_id), "field of the result")

    def expectation(self, expect: Expectation, model: Playbook, at: Loc) -> Iterator[Finding]:
        """Return the findings of ``expect``."""
        if expect.playbook in (None, model.metadata.name):
            yield from _unknown_keys(expect.params or {}, model.params, (*at, "params"), "param")
            for i, step in enumerate(expect.steps or ()):
                yield from self._expected(step, (*at, "steps", i))

    def _expected(self, step: str | ExpectedStep, at: Loc) -> Iterator[Finding]:
        step_id, place = (step, at) if isinstance(step, str) else (step.id, (*at, "id"))
        if self._step(step_id) is None:
            yield unknown(place, "step", step_id, self._actions)
            return
        if isinstance(step, str):
            return
        if step.action is not None and step.action not in self._registry.actions:
            yield unknown((*at, "action"), "action", step.action, self._registry.actions)
        action = self._own_action(step_id)
        if action is not None:
            yield from _unknown_keys(step.with_ or {}, _fields(action.parameters), (*at, "with"), "parameter")

    def _step(self, step_id: str) -> str | None:
        own = step_id.partition(".")[0].partition("[")[0]
        return own if own in self._actions else None

    def _own_action(self, step_id: str) -> AnyAction | None:
        """Return the action of a step of this very playbook, where it is done once."""
        return self._actions.get(step_id)


def _fields(model: type[BaseModel]) -> Mapping[str, object]:
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _unknown_keys(given: Mapping[str, object], known: Mapping[str, object], at: Loc, what: str) -> Iterator[Finding]:
    for key in given:
        if key not in known:
            yield unknown((*at, key), what, key, known, at_key=True)
