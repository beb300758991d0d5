"""What an action must declare before a playbook may use it.

A mutation that cannot say what it locks, which rights it needs, how it is rehearsed, how one sees afterwards that it
took effect, and how it is undone cannot be run safely at 3 a.m.; so the type asks for all of it, and the registry's
lint test refuses what is missing.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from hdr_responder.domain.clock import Clock
from hdr_responder.domain.survey import TargetSurvey

if TYPE_CHECKING:
    from hdr_responder.domain.ports.systems import Systems

State = dict[str, JsonValue]
"""What a mutation captured before it changed anything; stored with the step, read by ``observe`` and ``undo``."""


class Parameters(BaseModel):
    """Base of an action's typed parameters; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shorthand: ClassVar[str | None] = None
    """The field that a bare scalar stands for (``alert: resolved``)."""


class Result(BaseModel):
    """Base of an action's typed result; later steps read its fields as ``steps.<id>.<field>``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Undo(StrEnum):
    """How much of a mutation can be taken back."""

    RESTORES = "restores"
    """``undo`` puts back what ``capture`` saw, where the target still holds what we wrote."""
    NONE = "none"
    """It cannot be taken back (a terminated session); the playbook is held to stricter modes."""


class Seen(StrEnum):
    """Answer of ``observe``: did this very step already change the target?"""

    TOOK_EFFECT = "took_effect"
    NO_EFFECT = "no_effect"
    UNKNOWN = "unknown"
    """The target cannot tell; the run becomes ambiguous and a person decides."""


class Undone(StrEnum):
    """Answer of ``undo``."""

    UNDONE = "undone"
    DRIFTED = "drifted"
    """Somebody changed the field since: it was left alone, a person decides."""
    NOTHING_TO_UNDO = "nothing_to_undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One right that a step needs, printable in a plan and checkable beforehand.

    Kubernetes: ``scope`` the cluster, ``verb`` and ``resource`` (``apps/deployments``) and ``namespace``. PostgreSQL:
    ``scope`` the target; ``verb`` a predefined role (``pg_signal_backend``), or a privilege (``execute``, ``select``,
    ``maintain``, ``alter system``) with the ``resource`` it is held on. Redis: ``scope`` the target, ``verb`` the
    command (``config|set``), ``resource`` the key pattern. Slack: ``verb`` the scope of the token (``chat:write``).
    """

    system: Literal["kubernetes", "postgres", "redis", "slack"]
    scope: str
    verb: str
    resource: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.system}:{self.scope} {self.verb} {self.resource}".rstrip() + where


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a mutation locks: one run at a time per ``key``, and cooldown and budget count by it.

    ``key`` names the resolved owner (never a single pod); ``effect_group`` is shared by actions whose effects disturb
    the same thing in the same way (restart, pod deletion and rollback of one workload).
    """

    key: str
    effect_group: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Who may act: the run and its fencing token, which grows with every takeover."""

    run_id: uuid.UUID
    token: int

    def __str__(self) -> str:
        return f"{self.run_id}/{self.token}"


class Evidence(ABC):
    """Where an action leaves artifacts (logs, a process list) for the incident."""

    @abstractmethod
    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        """Store ``content`` with the incident and return the artifact's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step gets beside its parameters.

    ``cluster`` is the incident's cluster label (None when the alert carried none). ``step_key`` is
    ``<run id>/<step id>``: the deterministic identity that mutations write on their target.
    """

    fence: Fence
    step_id: str
    incident_ref: str
    cluster: str | None
    systems: Systems
    evidence: Evidence
    clock: Clock

    @property
    def step_key(self) -> str:
        """The deterministic identity of this step over all attempts and workers."""
        return f"{self.fence.run_id}/{self.step_id}"


P = TypeVar("P", bound=Parameters)
R = TypeVar("R", bound=Result)


class Action(ABC, Generic[P, R]):
    """A typed operation. Subclass `Read` or `Mutation`, never this."""

    name: ClassVar[str]
    """``<system>.<verb>``, as playbooks spell it."""
    summary: ClassVar[str]
    """One sentence for people: what it does."""
    example: ClassVar[str]
    """The YAML of one step that uses it; a test loads it."""
    parameters: type[P]
    result: type[R]
    mutates: ClassVar[bool]
    default_timeout_seconds: ClassVar[float] = 60.0

    @abstractmethod
    def permissions(self, params: P) -> tuple[Permission, ...]:
        """Return the rights that the step needs; empty when none.

        Asked beforehand too, when parameters that an earlier step, a label or a person gives are absent: it reads no
        others than it must, as a rule those that say where it acts. Where it must, the AttributeError is told as
        "not known"; rights are never left out for want of a parameter.
        """


class Read(Action[P, R]):
    """An action that changes nothing and may be repeated freely."""

    mutates = False

    @abstractmethod
    async def execute(self, ctx: StepContext, params: P) -> R:
        """Read and return.

        Raises TemporaryError where a retry may help, PermanentError where not.
        """


class Mutation(Action[P, R]):
    """An action that changes a target.

    The engine calls `dry_run`, commits "started", calls `claim` and `capture`, commits what was captured, and
    then calls `execute` once. After a crash the new worker calls `claim` and then `observe` instead of `execute`.
    """

    mutates = True
    undoable: ClassVar[Undo]
    effect_group: ClassVar[str]
    """Shared by actions whose effects disturb the same thing in the same way: budgets and cooldown count by it."""
    holds_fence: ClassVar[bool]
    """Whether the target can carry the fence (Kubernetes objects can, a database session cannot)."""
    destructive: ClassVar[bool]
    """Whether it ends, stops or cuts off what is in use: never on the word of the one who asks alone at P1."""
    awaits_dependencies: ClassVar[bool] = True
    """Whether it is of no use while something that the service depends on is down, as a restart is (manual S20)."""
    ends_with_incident: ClassVar[bool] = False
    """Whether it is taken back when the incident is resolved, as a silence is."""

    @abstractmethod
    def target(self, params: P) -> Target:
        """Return what is locked, from the parameters alone."""

    async def survey(self, systems: Systems, params: P) -> TargetSurvey:
        """Tell what the step would take away, who else owns the target, and whether a note on it keeps us away.

        Asked just before a run starts, by the parameters that are known then: those that an earlier step gives are
        absent. Raises NotFoundError when there is no target.
        """
        del systems, params
        return TargetSurvey()

    @abstractmethod
    async def dry_run(self, ctx: StepContext, params: P) -> None:
        """Rehearse on the real target without changing it.

        Raises ForbiddenError, NotFoundError or another PermanentError when the change would be refused.
        """

    async def claim(self, ctx: StepContext, params: P) -> None:
        """Raise the run's fence on the target, so that a worker frozen past its lease cannot act late.

        Raises FencedError when the target already carries a newer token of the same run.
        """
        del ctx, params

    @abstractmethod
    async def capture(self, ctx: StepContext, params: P) -> State:
        """Return what `observe` and `undo` need to know of the target as it is before the change."""

    @abstractmethod
    async def execute(self, ctx: StepContext, params: P, state: State) -> R:
        """Change the target, testing the fence in the same request where the target holds one.

        Raises FencedError when the fence was lost, TemporaryError only when provably nothing was changed.
        """

    @abstractmethod
    async def observe(self, ctx: StepContext, params: P, state: State) -> Observed[R]:
        """Tell whether this step (by ``ctx.step_key``) has already taken effect, and its result if so."""

    async def undo(self, ctx: StepContext, params: P, state: State) -> Undone:
        """Put back what `capture` saw, touching only what still holds what we wrote.

        Raises the fence itself, and only where there is something to put back: `claim` may make what carries it.
        """
        del ctx, params, state
        return Undone.NOTHING_TO_UNDO

    async def announce(self, ctx: StepContext, params: P, state: State, *, undone: bool) -> None:
        """Tell on the target itself what was changed, or put back, and for which incident.

        For those who look at the target and not at us (``kubectl describe``). May come more than once, and must then
        tell once. What it raises is said on the timeline and changes no outcome.
        """
        del ctx, params, state, undone


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed(Generic[R]):
    """What `Mutation.observe` saw."""

    seen: Seen
    result: R | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Answer of a verification check.

    ``holds`` is True with positive evidence, False with contrary evidence, None without evidence (inconclusive).
    ``detail`` says in one line what was seen.
    """

    holds: bool | None
    detail: str


class Check(ABC, Generic[P]):
    """One criterion of ``verify``: a single-key mapping ``<name>: <parameters>`` in the playbook."""

    name: ClassVar[str]
    summary: ClassVar[str]
    example: ClassVar[str]
    is_health_probe: ClassVar[bool] = True
    """Whether it tells the health of a system by itself, without an incident or a change that it is about."""
    parameters: type[P]

    @abstractmethod
    def permissions(self, params: P) -> tuple[Permission, ...]:
        """Return the rights that looking needs; empty when none."""

    @abstractmethod
    async def evaluate(self, ctx: StepContext, params: P) -> Verdict:
        """Look once. Errors of the looking itself become ``Verdict(holds=None, ...)`` when temporary."""


AnyAction = Action[Any, Any]
AnyRead = Read[Any, Any]
AnyMutation = Mutation[Any, Any]
AnyCheck = Check[Any]


class Registry:
    """All known actions and checks by name; refuses duplicates."""

    def __init__(self, actions: tuple[AnyAction, ...], checks: tuple[AnyCheck, ...]) -> None:
        self.actions: Mapping[str, AnyAction] = _by_name(actions)
        self.checks: Mapping[str, AnyCheck] = _by_name(checks)

    @property
    def effect_groups(self) -> frozenset[str]:
        """The kinds of effect that actions have."""
        return frozenset(a.effect_group for a in self.actions.values() if isinstance(a, Mutation))


N = TypeVar("N", AnyAction, AnyCheck)


def _by_name(items: tuple[N, ...]) -> dict[str, N]:
    named: dict[str, N] = {}
    for item in items:
        if item.name in named:
            raise ValueError(f"two entries are named {item.name!r}")
        named[item.name] = item
    return named
