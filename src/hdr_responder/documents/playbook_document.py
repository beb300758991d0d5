"""The playbook as its author writes it. `playbooks` compiles it into what can be run."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, JsonValue, StrictBool, StrictInt, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from hdr_responder.documents.guard_rules import Guards
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


class Schedule(Strict):
    """The clock as a trigger: a run of its own at each of these times (manual D1-D7)."""

    cron: Text
    """Five fields: minute, hour, day of month, month, day of week."""
    time_zone: str | None = None
    """An IANA zone such as Europe/Berlin; None for the calendar's."""
    priority: Priority = Priority.P4
    """Priority of the incident that is the run's record."""


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
    undo: Literal["on_failure", "never"] = "on_failure"
    """Whether the changes of a run that failed or did not help are taken back."""
