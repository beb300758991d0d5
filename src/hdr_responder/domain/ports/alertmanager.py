"""What the responder asks of Alertmanager: absence from a delivery is not resolution (Alertmanager contract rule 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.matchers import Matcher

SILENCER = "hdr-responder"
"""Who creates our silences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentState:
    """How Alertmanager holds an alert now: firing, suppressed (and by what), or absent.

    ``silenced_by`` are ids of silences, ``inhibited_by`` fingerprints of alerts, ``muted_by`` names of time intervals.
    An alert that only silences of ours suppress is firing: no person wants automation to stop for it.
    """

    presence: Presence
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAlert:
    """One alert that Alertmanager holds, and how."""

    fingerprint: str
    labels: Mapping[str, str]
    starts_at: datetime
    state: PresentState


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceDraft:
    """A silence to be created; times are whole seconds."""

    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A silence as Alertmanager keeps it; expired ones are kept for some days."""

    id: str
    matchers: frozenset[Matcher]
    ends_at: datetime
    created_by: str
    comment: str
    expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceList:
    """All silences that the peers know; ``complete`` is False when a peer did not answer."""

    silences: tuple[Silence, ...]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentAlert:
    """One firing alert of an incident, from our own records; ``source`` names its Alertmanager."""

    source: str
    fingerprint: str
    labels: Mapping[str, str]


class AlertmanagerSource(Protocol):
    """One Alertmanager cluster, asked about one alert."""

    async def state(self, labels: Mapping[str, str], fingerprint: str = "") -> PresentState:
        """Return how the alert with exactly these labels, or with this fingerprint, is held now.

        Raises UnavailableError when no peer can tell, ForbiddenError when we may not ask.
        """
        ...


class AlertmanagerCluster(AlertmanagerSource, Protocol):
    """One Alertmanager cluster, as actions see it; every method raises as `state` does."""

    async def alerts(self, matchers: Sequence[Matcher]) -> tuple[HeldAlert, ...]:
        """Return the alerts that match all of these, suppressed ones included, oldest first."""
        ...

    async def silences(self) -> SilenceList:
        """Return every silence, expired ones included."""
        ...

    async def create_silence(self, draft: SilenceDraft) -> str:
        """Create a silence of ours and return its id.

        Raises UnavailableError only when none was created, and AmbiguousError when one may have been.
        """
        ...

    async def expire_silence(self, silence_id: str) -> None:
        """End a silence now; raises NotFoundError when no peer knows it."""
        ...
