"""What the outside says just before a run starts: asked without locks, judged in the transaction that starts it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hdr_responder.domain.alerts import Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """How many of a target's replicas a step takes away at a time, and how many are healthy now."""

    unavailable: int
    healthy: int

    @property
    def taken(self) -> int:
        """Healthy replicas that are missing at the worst moment."""
        return min(self.unavailable, self.healthy)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOpsOwner:
    """The GitOps object that a target follows."""

    name: str
    """For people: ``Argo CD application video``."""
    reverts: bool
    """Whether its controller would take the step's change back; what it does not track stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldNote:
    """A note on the target itself that keeps automation away, until a time or until it is taken off (None)."""

    reason: str
    until: datetime | None = None

    def holds_at(self, now: datetime) -> bool:
        """Tell whether it holds at this time."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSurvey:
    """What a step finds at its target. Every part is None where there is no such thing."""

    impact: Impact | None = None
    """None for a step that takes nothing away."""
    owner: GitOpsOwner | None = None
    hold: HoldNote | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedStep:
    """What was found at the target of one step; ``found`` is None when it could not be looked at, for ``problem``."""

    step_id: str
    target: str
    """The target's title."""
    found: TargetSurvey | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyHealth:
    """A service that the run's service stands on, as its declared probe sees it; None means that it gave no answer."""

    service: str
    healthy: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All that was asked. What was not asked is absent, and guards that need it refuse."""

    presence: Presence
    steps: tuple[SurveyedStep, ...] = ()
    dependencies: tuple[DependencyHealth, ...] | None = None
    """Services with a declared probe; None when nobody was asked."""

    def of(self, step_id: str) -> SurveyedStep | None:
        """Return what was found at a step's target, None when nobody looked."""
        return next((s for s in self.steps if s.step_id == step_id), None)
