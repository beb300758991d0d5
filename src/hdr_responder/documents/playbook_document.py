"""The playbook as its author writes it. `playbooks` compiles it into what can be run."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, JsonValue, StrictInt, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

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
from hdr_responder.domain.runs import Mode

ParamType = Literal["string", "int", "number", "bool", "duration", "workload"]
_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"}
    | {"namespace", "null", "package", "return", "true", "var", "void", "while"}
)


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


class Budget(Strict):
    """At most ``runs`` runs per target within ``per``; then a person is paged instead."""

    runs: Annotated[StrictInt, Field(ge=1, le=100)]
    per: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=7))]


class ApprovalRule(Strict):
    """Who must agree before a run of mode ``approve``, or of one of these priorities, begins."""

    required_for: tuple[Priority, ...] = ()
    group: Name | None = None
    """Group of the escalation document whose members may approve; None means everyone who may operate."""
    approvers: Annotated[StrictInt, Field(ge=1, le=5)] = 1
    """How many different people must agree."""
    expires: Duration = timedelta(minutes=30)


class Guards(Strict):
    """What holds a run back. The defaults are careful: a person approves, and a target rests between runs."""

    mode: Mode = Mode.APPROVE
    cooldown: Duration = timedelta(minutes=15)
    budget: Budget = Budget(runs=3, per=timedelta(hours=6))
    approval: ApprovalRule = ApprovalRule()
    max_age: Duration = timedelta(minutes=10)
    """How old the last news of the alert may be when Alertmanager cannot be asked."""


class Retry(Strict):
    """How often a step that failed for a passing reason is tried in all, and the pause before each new try."""

    attempts: Annotated[StrictInt, Field(ge=1, le=10)]
    delay: Duration = timedelta(seconds=5)


class Step(Strict):
    """One action of the playbook."""

    id: Identifier
    action: str
    when: Text | None = None
    with_: JsonValue = Field(default_factory=dict, alias="with")
    on_error: Literal["fail", "continue", "undo"] = "fail"
    retry: Retry | None = None
    timeout: Duration | None = None
    for_: Duration | None = Field(default=None, alias="for")
    """After this long a change that can be restored is undone."""
    undo: Literal["none"] | None = None
    """``none``: the change stays, because it cannot or shall not be taken back."""

    _id_is_free = field_validator("id")(_not_reserved)


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


class Playbook(Document):
    """A playbook document."""

    kind: Literal["Playbook"]
    metadata: Metadata
    match: MatchList
    priorities: Priorities
    environments: Annotated[tuple[Environment, ...], Field(min_length=1)] | None = None
    params: dict[Identifier, AnyParam] = Field(default_factory=dict)
    guards: Guards = Guards()
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=50)]
    verify: Verify | None = None
    on_failure: tuple[Reaction, ...] = ()
    undo: Literal["on_failure", "never"] = "on_failure"
    """Whether the changes of a run that failed or did not help are taken back."""
