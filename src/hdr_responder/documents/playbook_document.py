"""The playbook as its author writes it. `playbooks` compiles it into what can be run."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, JsonValue, StrictBool, StrictInt, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from hdr_responder.documents.guard_rules import Guards
from hdr_responder.documents.playbook_tests import MAX_TESTS, PlaybookTest
from hdr_responder.documents.strict import (
    Document,
    Environment,
    Identifier,
    MatchList,
    Name,
    Priorities,
    Scalar,
    Strict,
    Text,
)
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.priorities import Priority

ParamType = Literal["string", "int", "number", "bool", "duration", "workload"]
_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"}
    | {"namespace", "null", "package", "return", "true", "var", "void", "while"}
)


MAX_ITEMS = 20
"""Entries of a ``for_each``; a list that is longer cannot be planned."""
MAX_PARALLEL = 8


def _not_reserved(name: str) -> str:
    if name in _RESERVED:
        raise ValueError(f"{name!r} is a reserved word of CEL; choose another name")
    return name


class Metadata(Strict):
    """Who the playbook is, for people."""

    name: Name
    summary: Text
    runbook: Annotated[str, Field(pattern=r"^https?://")] | None = None
    tags: tuple[Name, ...] = ()


class Param(Strict):
    """A typed parameter. Without a default a person must give it, so alerts cannot start the playbook alone."""

    type: ParamType
    default: Scalar | None = None
    description: Text | None = None


def _param_shape(value: object) -> str:
    return "typed" if isinstance(value, dict | Param) else "plain"


AnyParam = Annotated[Annotated[Param, Tag("typed")] | Annotated[Scalar, Tag("plain")], Discriminator(_param_shape)]
"""``{type: duration, default: 30m}``, or a plain value or expression whose type is its own."""


class Retry(Strict):
    """How often a step that failed for a passing reason is tried in all, and the pause before each new try."""

    attempts: Annotated[StrictInt, Field(ge=1, le=10)]
    delay: Duration = timedelta(seconds=5)


class _Step(Strict):
    """What every step has."""

    id: Identifier
    when: Text | None = None
    """A condition; false skips the step."""

    _id_is_free = field_validator("id")(_not_reserved)


ForEach = Annotated[
    Annotated[Annotated[str, Field(pattern=r"^\$\{.*\}$")], Tag("each:text")]
    | Annotated[Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=MAX_ITEMS)], Tag("each:list")],
    Discriminator(lambda value: "each:list" if isinstance(value, list | tuple) else "each:text"),
]
"""A list, or an expression that gives one; expressions of the step read each of its entries as ``item``."""


class ActionStep(_Step):
    """One action."""

    action: str
    with_: JsonValue = Field(default_factory=dict, alias="with")
    for_each: ForEach | None = None
    """Do it once for each entry of a list, one after the other."""
    on_error: Literal["fail", "continue", "undo"] = "fail"
    retry: Retry | None = None
    timeout: Duration | None = None
    for_: Duration | None = Field(default=None, alias="for")
    """After this long a change that can be restored is undone."""
    undo: Literal["none"] | None = None
    """``none``: the change stays, because it cannot or shall not be taken back."""


class WaitStep(_Step):
    """Lets time pass; a restart of the responder forgets nothing of it."""

    wait: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=1))]


class StepApproval(Strict):
    """A question to people in the middle of a run."""

    message: Text
    """What they are asked; expressions are written out."""
    group: Name | None = None
    """Group of the escalation document whose members may answer; None means the playbook's, else everyone."""
    approvers: Annotated[StrictInt, Field(ge=1, le=5)] = 1
    expires: Duration = timedelta(minutes=30)


class ApproveStep(_Step):
    """Goes on when people agree."""

    approve: StepApproval


class CallStep(_Step):
    """The steps of another playbook, with its params given here."""

    call: Name
    with_: dict[Identifier, JsonValue] = Field(default_factory=dict, alias="with")
    for_each: ForEach | None = None
    """Call it once for each entry of a list, one after the other."""
    on_error: Literal["fail", "continue", "undo"] = "fail"


class ParallelStep(_Step):
    """Actions that only read, done at the same time."""

    parallel: Annotated[tuple[ActionStep, ...], Field(min_length=2, max_length=MAX_PARALLEL)]


_KINDS: tuple[tuple[str, type[_Step]], ...] = (
    ("wait", WaitStep),
    ("approve", ApproveStep),
    ("call", CallStep),
    ("parallel", ParallelStep),
)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        found = (kind for kind, _ in _KINDS if kind in value and "action" not in value)
    else:
        found = (kind for kind, model in _KINDS if isinstance(value, model))
    return "step:" + next(found, "action")


Step = Annotated[
    Annotated[ActionStep, Tag("step:action")]
    | Annotated[WaitStep, Tag("step:wait")]
    | Annotated[ApproveStep, Tag("step:approve")]
    | Annotated[CallStep, Tag("step:call")]
    | Annotated[ParallelStep, Tag("step:parallel")],
    Discriminator(_kind),
]
"""What a step is, is said by the one of these keys that it has: action, wait, approve, call, parallel."""


class Verify(Strict):
    """How one knows that it helped; exactly one of ``all`` and ``any``, each entry ``<check>: <parameters>``."""

    within: Duration = timedelta(minutes=10)
    hold: Duration = timedelta(0)
    """How long the checks must stay true."""
    all_: tuple[dict[str, JsonValue], ...] | None = Field(default=None, alias="all", min_length=1)
    any_: tuple[dict[str, JsonValue], ...] | None = Field(default=None, alias="any", min_length=1)

    @property
    def checks(self) -> tuple[dict[str, JsonValue], ...]:
        """The criteria as written."""
        return self.all_ or self.any_ or ()

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if (self.all_ is None) is (self.any_ is None):
            raise PydanticCustomError("one_list", "verify needs exactly one of 'all' and 'any'")
        if self.hold >= self.within:
            raise PydanticCustomError(
                "hold_too_long", "hold must be shorter than within, else nothing is ever verified"
            )
        return self


class Reaction(Strict):
    """An action for when the run failed or did not help."""

    action: str
    with_: JsonValue = Field(default_factory=dict, alias="with")


class Schedule(Strict):
    """The clock as a trigger: a run of its own at each of these times (manual D1-D7)."""

    cron: Text
    """Five fields: minute, hour, day of month, month, day of week."""
    time_zone: str | None = None
    """An IANA zone such as Europe/Berlin; None for the calendar's."""
    priority: Priority = Priority.P4
    """Priority of the incident that is the run's record."""
    service: Name | None = None
    """Service of the catalogue that it looks after; expressions then read it as ``service``."""
    cluster: Text | None = None
    """Cluster that it looks after, a name under ``targets.kubernetes``."""


class Playbook(Document):
    """A playbook document."""

    kind: Literal["Playbook"]
    metadata: Metadata
    match: MatchList | None = None
    """Alerts that start it."""
    priorities: Priorities | None = None
    """Of the incidents that it is for; required with ``match``."""
    schedule: Schedule | None = None
    manual: StrictBool = False
    """A person may start it although no alert of the incident matches."""
    environments: Annotated[tuple[Environment, ...], Field(min_length=1)] | None = None
    params: dict[Identifier, AnyParam] = Field(default_factory=dict)
    guards: Guards = Guards()
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=50)]
    verify: Verify | None = None
    on_failure: tuple[Reaction, ...] = ()
    if_resolved: Literal["stop", "finish"] = "stop"
    """When its alerts end while it runs: ``stop`` leaves out the steps that are no longer needed."""
    undo: Literal["on_failure", "never"] = "on_failure"
    """Whether the changes of a run that failed or did not help are taken back."""
    tests: Annotated[tuple[PlaybookTest, ...], Field(max_length=MAX_TESTS)] = ()
    """Alerts with the plan that they shall lead to; they are no part of a plan or of its digest."""
