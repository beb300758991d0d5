"""What a playbook says about when it must not act: the ``guards`` section, as its author writes it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Discriminator, Field, StrictInt, Tag, model_validator
from pydantic_core import PydanticCustomError

from hdr_responder.documents.strict import Name, Strict
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode

Percentage = Annotated[str, Field(pattern=r"^(100|[1-9]?[0-9])%$", examples=["34%"])]


def _is_share(value: object) -> str:
    return "share" if isinstance(value, str) else "number"


NumberOrShare = Annotated[
    Annotated[Annotated[StrictInt, Field(ge=0, le=10_000)], Tag("number")] | Annotated[Percentage, Tag("share")],
    Discriminator(_is_share),
]
"""``1``, or ``34%`` of what is healthy."""


def percent(written: str) -> int:
    """Return the number of a `Percentage`, 0 to 100."""
    return int(written.removesuffix("%"))


class Budget(Strict):
    """At most ``runs`` runs within ``per``; then a person is told instead."""

    runs: Annotated[StrictInt, Field(ge=1, le=1000)]
    per: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=7))]


class ApprovalRule(Strict):
    """Who must agree before a run of mode ``approve``, or of one of these priorities, begins."""

    required_for: tuple[Priority, ...] = ()
    group: Name | None = None
    """Group of the escalation document whose members may approve; None means everyone who may operate."""
    approvers: Annotated[StrictInt, Field(ge=1, le=5)] = 1
    """How many different people must agree."""
    expires: Duration = timedelta(minutes=30)


class BlastRadius(Strict):
    """How much of a target a run may take away at a time; more is refused, never trimmed."""

    max_unavailable: NumberOrShare
    """Replicas, or a share of those that are healthy now."""


class DependencyRule(Strict):
    """What is done while something that the service depends on is proved down."""

    max_hold: Duration = timedelta(minutes=15)
    """How long the run waits for it at most; then a person is told."""


class Breaker(Strict):
    """When runs on a target fail or do not help, automation rests, longer each time; in the end a person decides."""

    after: Annotated[StrictInt, Field(ge=1, le=20)] = 2
    """Runs in a row that failed or did not help, after which it rests."""
    pause: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=1))] = timedelta(minutes=30)
    """How long it rests first; each further such run doubles it."""
    person_after: Annotated[StrictInt, Field(ge=1, le=50)] = 4
    """From so many in a row on, only a person's word starts it."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.person_after < self.after:
            raise PydanticCustomError("breaker_order", "person_after must not be less than after")
        return self


class Autonomy(Strict):
    """Autonomy is earned: below this verified rate the playbook needs approval, whatever its mode."""

    floor: Percentage = "50%"
    """Share of the counted runs that must have been verified."""
    of_last: Annotated[StrictInt, Field(ge=1, le=100)] = 10
    """How many of the latest runs count."""
    at_least: Annotated[StrictInt, Field(ge=1, le=100)] = 4
    """With fewer runs than these nothing is said about it yet."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.at_least > self.of_last:
            raise PydanticCustomError("autonomy_order", "at_least must not be more than of_last")
        return self


class Guards(Strict):
    """What holds a run back. The defaults are careful: a person approves, and a target rests between runs."""

    mode: Mode = Mode.APPROVE
    cooldown: Duration = timedelta(minutes=15)
    budget: Budget = Budget(runs=3, per=timedelta(hours=6))
    """Runs per target and kind of effect."""
    playbook_budget: Budget | None = None
    """Runs of this playbook on whatever targets; None for no limit of its own."""
    approval: ApprovalRule = ApprovalRule()
    blast_radius: BlastRadius | None = None
    window: Name | None = None
    """Window of the calendar in which alone it may run; None for any time."""
    dependency: DependencyRule = DependencyRule()
    breaker: Breaker = Breaker()
    autonomy: Autonomy = Autonomy()
    max_age: Duration = timedelta(minutes=10)
    """How old the last news of the alert may be when Alertmanager cannot be asked."""
