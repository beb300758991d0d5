"""Asks the right Alertmanager whether an alert fires now; whoever cannot be asked gives no answer, never a guess."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from hdr_responder.domain.alerts import AlertEvent, Occurrence, Presence
from hdr_responder.domain.ports.alertmanager import AlertmanagerSource
from hdr_responder.errors import HdrError

log = structlog.get_logger(__name__)


class PresenceDesk:
    """Knows each source's Alertmanager; ``default`` serves sources without one of their own."""

    def __init__(self, sources: Mapping[str, AlertmanagerSource], default: AlertmanagerSource | None) -> None:
        self._sources = sources
        self._default = default

    async def ask(self, alert: AlertEvent | Occurrence) -> Presence:
        """Return the alert's present state, UNKNOWN when there is nobody to ask or no answer."""
        source = self._sources.get(alert.source, self._default)
        if source is None:
            return Presence.UNKNOWN
        try:
            return (await source.state(alert.labels, alert.fingerprint)).presence
        except HdrError as error:
            log.warning("alertmanager_not_asked", source=alert.source, error=str(error))
            return Presence.UNKNOWN
