"""What the outside says just before a run starts: asked without locks, judged in the transaction that starts it."""

from __future__ import annotations

from dataclasses import dataclass

from hdr_responder.domain.alerts import Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """How much of a target a step takes away at a time, in replicas (or sessions) of those that are healthy now."""

    target: str
    """The target's title."""
    unavailable: int
    healthy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyHealth:
    """A service that the run's service stands on, as its declared probe sees it; None means that it gave no answer."""

    service: str
    healthy: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All that was asked; what could not be asked is in ``problems`` and blocks."""

    presence: Presence
    impacts: tuple[Impact, ...] = ()
    dependencies: tuple[DependencyHealth, ...] = ()
    gitops: tuple[str, ...] = ()
    """Targets that a GitOps controller owns, each with its controller's name, for people."""
    held: tuple[str, ...] = ()
    """Targets that carry the annotation which keeps automation away, each with why, for people."""
    problems: tuple[str, ...] = ()
