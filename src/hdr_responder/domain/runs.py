"""Plans and runs: what will be done, written down before it is done, and what became of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue


class Mode(StrEnum):
    """How much a playbook may do by itself, from least to most."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"

    def stricter(self, other: Mode) -> Mode:
        """Return the one that allows less."""
        return self if _STRICTNESS[self] <= _STRICTNESS[other] else other


_STRICTNESS = {Mode.OBSERVE: 0, Mode.APPROVE: 1, Mode.AUTO: 2}


class Trigger(StrEnum):
    """What started a run."""

    ALERT = "alert"
    PERSON = "person"
    SCHEDULE = "schedule"


class RunStatus(StrEnum):
    """Where a run stands; `ACTIVE` ones hold their targets."""

    OBSERVED = "observed"
    """Mode observe: the plan was written and nothing was done."""
    AWAITING_APPROVAL = "awaiting_approval"
    HELD = "held"
    """A guard refused; it is asked again when its cause ends."""
    RUNNING = "running"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    FAILED = "failed"
    AMBIGUOUS = "ambiguous"
    """An action may or may not have taken effect; a person decides."""
    CANCELLED = "cancelled"
    DENIED = "denied"
    EXPIRED = "expired"
    """It was held or awaited approval for too long."""

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self not in WAITING and self not in ACTIVE


WAITING = frozenset({RunStatus.AWAITING_APPROVAL, RunStatus.HELD})
ACTIVE = frozenset({RunStatus.RUNNING, RunStatus.VERIFYING})


class Verification(StrEnum):
    """Whether the remediation helped."""

    NONE = "none"
    """Nothing was done that could be verified."""
    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


class StepStatus(StrEnum):
    """Where a step stands; ``started`` without an outcome after a crash is observed, never repeated."""

    PENDING = "pending"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    AMBIGUOUS = "ambiguous"


class GuardVerdict(BaseModel):
    """One guard's answer: a named reason, kept with the incident."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    guard: str
    allowed: bool
    reason: str
    ask_again_at: datetime | None = None
    """When its cause ends by the clock; None when an event ends it (resume, approval, another run's end)."""


class PlannedTarget(BaseModel):
    """What a step locks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    effect_group: str
    title: str


class PlannedStep(BaseModel):
    """One step of a plan.

    ``parameters`` are resolved; a value that an earlier step will give is shown as its expression and listed in
    ``awaits``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    action: str
    summary: str
    mutates: bool
    parameters: dict[str, JsonValue]
    awaits: tuple[str, ...] = ()
    when: str | None = None
    target: PlannedTarget | None = None
    permissions: tuple[str, ...] = ()
    undo: str = ""
    undo_after_seconds: float | None = None


class Plan(BaseModel):
    """The frozen result of playbook and incident; what is not in it is not done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    playbook: str
    digest: str
    summary: str
    mode: Mode
    mode_reason: str
    params: dict[str, JsonValue]
    steps: tuple[PlannedStep, ...]
    verify: tuple[str, ...]
    verdicts: tuple[GuardVerdict, ...] = ()
    document: dict[str, JsonValue]
    """The playbook itself, so that a later version of the file does not change a run that has begun."""
    context: dict[str, JsonValue]
    """The alert, incident and service that the expressions read, as they were."""

    @property
    def targets(self) -> tuple[PlannedTarget, ...]:
        """The distinct targets of the mutating steps, in a fixed order (the order in which they are locked)."""
        distinct = {(s.target.key, s.target.effect_group): s.target for s in self.steps if s.target}
        return tuple(distinct[k] for k in sorted(distinct))


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One person's word on a run."""

    person: str
    decision: Literal["approve", "deny"]
    at: datetime


@dataclass(slots=True, kw_only=True)
class Run:
    """One execution of a plan. Times are aware UTC; ``fence`` grows with every worker that takes the run over."""

    id: uuid.UUID
    incident_id: int
    episode: int
    playbook: str
    mode: Mode
    status: RunStatus
    plan: Plan
    created_at: datetime
    reason: str = ""
    """Why it stands where it stands, in one line for people."""
    verification: Verification = Verification.NONE
    trigger: Trigger = Trigger.ALERT
    requested_by: str | None = None
    """The person who asked for it; None when an alert or the clock did."""
    ask_again_at: datetime | None = None
    expires_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_requested_by: str | None = None
    verify_until: datetime | None = None
    holding_since: datetime | None = None
    next_check_at: datetime | None = None
    fence: int = 0
    approvals: tuple[Approval, ...] = ()


@dataclass(slots=True, kw_only=True)
class Step:
    """One action of a run.

    ``state`` is what was captured before the change, ``undo_at`` when a temporary change ends.
    """

    run_id: uuid.UUID
    position: int
    step_id: str
    action: str
    status: StepStatus = StepStatus.PENDING
    parameters: dict[str, JsonValue] = field(default_factory=dict)
    result: dict[str, JsonValue] | None = None
    state: dict[str, JsonValue] | None = None
    error: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    undo_at: datetime | None = None
    undone: str | None = None
