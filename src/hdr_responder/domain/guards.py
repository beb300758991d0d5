"""What guards look at: the facts of a run's surroundings, read in the transaction that starts it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A service that a person keeps automation away from."""

    service: str
    until: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseState:
    """The pause switch."""

    engaged: bool
    by: str | None = None
    reason: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHistory:
    """What happened to one target and effect group before; ``recent_starts`` are newest first and bounded."""

    key: str
    effect_group: str
    held_by_run: str | None
    """The run that holds the target now."""
    last_ended_at: datetime | None
    recent_starts: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFacts:
    """Everything that the guards may ask, read in one transaction."""

    now: datetime
    pause: PauseState
    hold: Hold | None
    targets: tuple[TargetHistory, ...]
    commander: str | None
    incident_open: bool
    alerts_firing: int
    uncertain: bool
    """An alert of the incident may be stale and Alertmanager could not be asked."""
    last_alert_at: datetime | None
    """When the newest message about a firing alert of the incident was received."""
