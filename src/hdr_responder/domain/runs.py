"""Plans and runs: what will be done, written down before it is done, and what became of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from hdr_responder.domain.reach import Place
from hdr_responder.errors import ConflictError


class Mode(StrEnum):
    """How much a playbook may do by itself, from least to most."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"

    def stricter(self, other: Mode) -> Mode:
        """Return the one that allows less; this one where they are equal."""
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
_FROM_WAITING = frozenset(
    {*WAITING, RunStatus.RUNNING, RunStatus.OBSERVED, RunStatus.DENIED, RunStatus.EXPIRED, RunStatus.CANCELLED}
)
RUN_MOVES: Mapping[RunStatus, frozenset[RunStatus]] = {
    RunStatus.AWAITING_APPROVAL: _FROM_WAITING,
    RunStatus.HELD: _FROM_WAITING,
    RunStatus.RUNNING: frozenset(
        {*WAITING, RunStatus.VERIFYING, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.AMBIGUOUS, RunStatus.CANCELLED}
    ),
    RunStatus.VERIFYING: frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}),
}
"""How a run may change; what is not listed has ended."""


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


STEP_MOVES: Mapping[StepStatus, frozenset[StepStatus]] = {
    StepStatus.PENDING: frozenset({StepStatus.STARTED, StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.SKIPPED}),
    StepStatus.STARTED: frozenset({StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.AMBIGUOUS}),
}
"""How a step may change; what is not listed has ended."""


class GuardVerdict(BaseModel):
    """One guard's answer: a named reason, kept with the incident."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    guard: str
    allowed: bool
    reason: str
    ask_again_at: datetime | None = None
    """When its cause ends by the clock; None when an event ends it (resume, approval, another run's end)."""
    approvable: bool = False
    """Whether a person's approval ends it, whatever the clock does."""
    wait_until: datetime | None = None
    """The run may wait for this moment, however far off it is."""
    blind: bool = False
    """Whether it refuses because nobody could look; a person is called at once."""


class PlannedTarget(BaseModel):
    """What a step locks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    effect_group: str
    title: str


class PlannedFrame(BaseModel):
    """A call of another playbook, as it was planned: its name and the params that it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    playbook: str
    params: dict[str, JsonValue]
    item: JsonValue = None
    """The entry of the call's ``for_each``."""


class PlannedStep(BaseModel):
    """One step of a plan.

    ``id`` is the full one: ``recover[1].restart`` is step ``restart`` of the playbook that ``recover`` calls for its
    second entry. ``parameters`` are resolved; a value that an earlier step will give is shown as its expression and
    listed in ``awaits``.
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
    places: tuple[Place, ...] = ()
    """Where it acts, as far as that is known beforehand."""
    undo: str = ""
    undoable: bool = False
    """Whether the change can be taken back at all."""
    destructive: bool = False
    """Whether it ends or cuts off what people or systems are using."""
    undo_after_seconds: float | None = None
    restores: bool = False
    """Whether the change is put back when the run is undone."""
    ends_with_incident: bool = False
    """Whether the change is put back when the incident is resolved."""
    item: JsonValue = None
    """The entry of the step's ``for_each``."""
    group: str = ""
    """Steps in a row with the same group are done at the same time."""


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
    frames: dict[str, PlannedFrame] = {}
    """The calls by their full id."""
    verify: tuple[str, ...]
    verdicts: tuple[GuardVerdict, ...] = ()
    refused_since: dict[str, datetime] = {}
    """By guard that refuses now: since when, without a break."""
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
    gate: str = ""
    """What it is about: the start of the run, or the full id of one of its ``approve`` steps."""


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
    undo_forced_by: str | None = None
    """The person who last had its changes taken back, whatever was paused or held; `save` leaves it alone."""
    undo_forced_at: datetime | None = None
    verify_until: datetime | None = None
    holding_since: datetime | None = None
    next_check_at: datetime | None = None
    resume_at: datetime | None = None
    """When a ``wait`` step is over."""
    gate: str = ""
    """The full id of the ``approve`` step that it stands at; empty before its start."""
    gate_question: str = ""
    """What people are asked there."""
    fence: int = 0
    approvals: tuple[Approval, ...] = ()

    def move(self, to: RunStatus, reason: str, *, at: datetime) -> None:
        """Change the status, with why. Raises ConflictError when the state machine has no such transition."""
        if to not in RUN_MOVES.get(self.status, ()):
            raise ConflictError(f"run {self.id} is {self.status}: it cannot become {to}")
        self.status, self.reason = to, reason
        if to is RunStatus.RUNNING:
            self.started_at = self.started_at or at
        if to.is_ended:
            self.ended_at = at
        if to not in WAITING:
            self.ask_again_at = self.expires_at = None
        if to is not RunStatus.VERIFYING:
            self.verify_until = self.next_check_at = None
        if to is not RunStatus.RUNNING:
            self.resume_at = None

    @property
    def approvers(self) -> frozenset[str]:
        """Who has agreed to what it stands at now."""
        return frozenset(a.person for a in self.approvals if a.decision == "approve" and a.gate == self.gate)


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

    def move(self, to: StepStatus, *, at: datetime) -> None:
        """Change the status. Raises ConflictError when the state machine has no such transition."""
        if to not in STEP_MOVES.get(self.status, ()):
            raise ConflictError(f"step {self.step_id} is {self.status}: it cannot become {to}")
        self.status = to
        if to is StepStatus.SKIPPED:
            self.ended_at = at
            return
        self.started_at = self.started_at or at
        if to is not StepStatus.STARTED:
            self.ended_at = at
