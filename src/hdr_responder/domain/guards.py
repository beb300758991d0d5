"""What guards look at: the facts of a run's surroundings, read in the transaction that starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


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
class Switches:
    """What people switched off."""

    pause: PauseState
    hold: Hold | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """At most ``runs`` starts within ``per``."""

    runs: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowances:
    """What all playbooks together may do: to whatever target, and by kind of effect."""

    fleet: Allowance | None = None
    effects: Mapping[str, Allowance] = field(default_factory=dict)


class Counted(StrEnum):
    """Which starts a limit counts."""

    TARGET = "target"
    """Those on one target with one kind of effect."""
    PLAYBOOK = "playbook"
    EFFECT = "effect"
    """Those with one kind of effect, on whatever target."""
    FLEET = "fleet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """An allowance with what it counts: a playbook or an effect group by ``name``, a target by ``target_key`` too."""

    counted: Counted
    allowance: Allowance
    name: str = ""
    target_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """How a limit stands: ``full_since`` is the start that has to grow old before there is room; None when there is."""

    limit: Limit
    full_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHistory:
    """What happened to one target and effect group before."""

    key: str
    effect_group: str
    held_by_run: str | None
    """The run that holds the target now."""
    last_ended_at: datetime | None
    failures: int = 0
    """Runs of the playbook in a row, newest first, that failed or did not help; bounded."""
    last_failed_at: datetime | None = None
    """When the newest of these ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRecord:
    """A playbook's newest runs that changed something and came to a conclusion."""

    runs: int = 0
    verified: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsAsked:
    """What is to be counted: these limits, and this many of the playbook's newest runs."""

    limits: tuple[Limit, ...] = ()
    track_record_of: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFacts:
    """Everything that the guards may ask, read in one transaction."""

    now: datetime
    pause: PauseState
    hold: Hold | None
    targets: tuple[TargetHistory, ...]
    limits: tuple[LimitUse, ...]
    track_record: TrackRecord
    commander: str | None
    incident_open: bool
    alerts_firing: int
    uncertain: bool
    """An alert of the incident may be stale and Alertmanager could not be asked."""
    last_alert_at: datetime | None
    """When the newest message about a firing alert of the incident was received."""
