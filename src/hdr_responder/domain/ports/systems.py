"""The systems that actions read and change, found by the name that alerts and settings use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from hdr_responder.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from hdr_responder.domain.ports.alertmanager import AlertmanagerCluster, IncidentAlert
    from hdr_responder.domain.ports.certificates import TlsServer
    from hdr_responder.domain.ports.graphs import Painter
    from hdr_responder.domain.ports.kubernetes import KubernetesCluster
    from hdr_responder.domain.ports.metrics import MetricsSource
    from hdr_responder.domain.ports.postgres import PostgresServer
    from hdr_responder.domain.ports.redis import RedisServer
    from hdr_responder.domain.ports.web import WebService
    from hdr_responder.domain.priorities import Priority

S = TypeVar("S")


class AlertState(Protocol):
    """Tells the present state of an incident's alerts from our own records."""

    async def unresolved(self, incident_ref: str) -> int:
        """Return how many of the incident's alerts still fire."""
        ...

    async def firing_alerts(self, incident_ref: str, limit: int) -> tuple[IncidentAlert, ...]:
        """Return the incident's alerts that still fire, oldest first, at most ``limit``."""
        ...

    async def began(self, incident_ref: str) -> datetime:
        """Return when the incident's first alert began to fire."""
        ...


class People(Protocol):
    """Those whom a playbook can tell and wake; what was done under a ``key`` before is not done again."""

    async def escalate(self, incident_ref: str, reason: str, *, key: str) -> None:
        """Hand an incident to a person."""
        ...

    async def note(self, incident_ref: str, text: str, *, key: str) -> None:
        """Write on the incident's timeline and in its thread."""
        ...

    async def post(self, incident_ref: str, text: str, *, key: str, channel: str | None = None) -> None:
        """Say something in the incident's thread, or in another channel.

        Raises ForbiddenError for a channel that the settings do not list.
        """
        ...

    async def page(self, incident_ref: str, reason: str, *, key: str) -> None:
        """Wake somebody now; raises ConflictError when the incident is over."""
        ...

    async def set_priority(self, incident_ref: str, priority: Priority, reason: str, *, key: str) -> Priority:
        """Set the priority and return the one before.

        Raises ConflictError when a person has set it, or the incident is over.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """Every configured system by its name in ``targets``."""

    kubernetes: Mapping[str, KubernetesCluster] = field(default_factory=dict)
    postgres: Mapping[str, PostgresServer] = field(default_factory=dict)
    web: Mapping[str, WebService] = field(default_factory=dict)
    tls: Mapping[str, TlsServer] = field(default_factory=dict)
    redis: Mapping[str, RedisServer] = field(default_factory=dict)
    alertmanagers: Mapping[str, AlertmanagerCluster] = field(default_factory=dict)
    """By the source of deliveries; ``""`` serves the sources without one of their own."""
    metrics: MetricsSource | None = None
    graphs: Painter | None = None
    alerts: AlertState | None = None
    people: People | None = None

    def cluster(self, name: str) -> KubernetesCluster:
        """Return the cluster that ``name`` maps to.

        Raises NotFoundError when no ``targets.kubernetes`` entry has that name: an unmapped cluster is never changed.
        """
        return _named(self.kubernetes, name, "targets.kubernetes")

    def database(self, name: str) -> PostgresServer:
        """Return the target database ``name``; raises NotFoundError when ``targets.postgres`` has none of that name."""
        return _named(self.postgres, name, "targets.postgres")

    def web_service(self, name: str) -> WebService:
        """Return the web service ``name``; raises NotFoundError when ``targets.http`` has none of that name."""
        return _named(self.web, name, "targets.http")

    def tls_server(self, name: str) -> TlsServer:
        """Return the server ``name``; raises NotFoundError when ``targets.tls`` has none of that name."""
        return _named(self.tls, name, "targets.tls")

    def cache(self, name: str) -> RedisServer:
        """Return the target Redis ``name``; raises NotFoundError when ``targets.redis`` has none of that name."""
        return _named(self.redis, name, "targets.redis")

    def alertmanager(self, source: str) -> AlertmanagerCluster:
        """Return the Alertmanager that alerts of ``source`` come from; raises NotFoundError when none is configured."""
        found = self.alertmanagers.get(source) or self.alertmanagers.get("")
        if found is None:
            raise NotFoundError(
                f"no alertmanager.url and no alertmanager.sources.{source or '<name>'}.url is configured"
            )
        return found


def _named(systems: Mapping[str, S], name: str, section: str) -> S:
    if name not in systems:
        known = ", ".join(sorted(systems)) or "none"
        raise NotFoundError(f"no {section}.{name} is configured (configured: {known})")
    return systems[name]
