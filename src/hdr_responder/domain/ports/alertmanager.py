"""What the responder asks of Alertmanager: absence from a delivery is not resolution (Alertmanager contract rule 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hdr_responder.domain.alerts import Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentState:
    """How Alertmanager holds an alert now: firing, suppressed (and by what), or absent.

    ``silenced_by`` are ids of silences, ``inhibited_by`` fingerprints of alerts, ``muted_by`` names of time intervals.
    """

    presence: Presence
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()


class AlertmanagerSource(Protocol):
    """One Alertmanager cluster."""

    async def state(self, labels: Mapping[str, str], fingerprint: str = "") -> PresentState:
        """Return how the alert with exactly these labels, or with this fingerprint, is held now.

        Raises UnavailableError when no peer can tell, ForbiddenError when we may not ask.
        """
        ...
