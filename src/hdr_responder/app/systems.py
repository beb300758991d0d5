"""Builds the connections to the systems that actions read and change, from the settings' ``targets``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from hdr_responder.adapters.alertmanager import Alertmanager
from hdr_responder.adapters.certificates import ConfiguredTlsServer
from hdr_responder.adapters.graphs import GraphPainter
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.adapters.prometheus import Prometheus
from hdr_responder.adapters.redis_target import RedisTarget
from hdr_responder.adapters.trust import trusting
from hdr_responder.adapters.web import ConfiguredWebService
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.ports.alertmanager import IncidentAlert
from hdr_responder.domain.ports.certificates import TlsServer
from hdr_responder.domain.ports.store import Store
from hdr_responder.domain.ports.systems import People, Systems
from hdr_responder.domain.ports.web import WebService
from hdr_responder.domain.reach import Place, PlaceKind, Reach, not_listed
from hdr_responder.engine.presence import PresenceDesk
from hdr_responder.errors import ForbiddenError
from hdr_responder.settings import Settings

S = TypeVar("S")


class Listed(Mapping[str, S]):
    """Systems by name, of which only those that a service of the catalogue lists are given out.

    All that the settings name are in it, so that one that is configured but not listed raises ForbiddenError saying so.
    """

    def __init__(self, systems: Mapping[str, S], kind: PlaceKind, reach: Reach) -> None:
        self._systems = systems
        self._kind = kind
        self._reach = reach

    def __getitem__(self, name: str) -> S:
        place = Place(kind=self._kind, name=name)
        if name in self._systems and not self._reach.has(place):
            raise ForbiddenError(not_listed(place))
        return self._systems[name]

    def __contains__(self, name: object) -> bool:
        return name in self._systems

    def __iter__(self) -> Iterator[str]:
        return iter(self._systems)

    def __len__(self) -> int:
        return len(self._systems)


class ConfiguredDatabases(Mapping[str, PostgresTarget]):
    """Target databases by name; one whose address is not set raises ConfigError when it is needed, not before."""

    def __init__(self, settings: Settings) -> None:
        self._targets = settings.targets
        self._built: dict[str, PostgresTarget] = {}

    def __getitem__(self, name: str) -> PostgresTarget:
        if name not in self._built:
            url = self._targets.postgres_url(name)
            target = self._targets.postgres[name]
            self._built[name] = PostgresTarget(name, url, connections=target.connections, schemas=target.schemas)
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in self._targets.postgres

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets.postgres)

    def __len__(self) -> int:
        return len(self._targets.postgres)


class ConfiguredCaches(Mapping[str, RedisTarget]):
    """Target Redis servers by name; one whose address is not set raises ConfigError when it is needed, not before."""

    def __init__(self, settings: Settings) -> None:
        self._targets = settings.targets

    def __getitem__(self, name: str) -> RedisTarget:
        return RedisTarget(name, self._targets.redis_url(name), cluster=self._targets.redis[name].cluster)

    def __contains__(self, name: object) -> bool:
        return name in self._targets.redis

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets.redis)

    def __len__(self) -> int:
        return len(self._targets.redis)


class StoredAlerts:
    """Tells from our own records which alerts of an incident still fire."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def unresolved(self, incident_ref: str) -> int:
        """Return how many of the incident's alerts still fire."""
        async with self._store.transaction() as tx:
            return (await tx.incidents.get(_number(incident_ref))).alerts_firing

    async def firing_alerts(self, incident_ref: str, limit: int) -> tuple[IncidentAlert, ...]:
        """Return the incident's alerts that still fire, oldest first."""
        async with self._store.transaction() as tx:
            found = await tx.alerts.of_incident(_number(incident_ref), firing_only=True, limit=limit)
        return tuple(IncidentAlert(source=a.source, fingerprint=a.fingerprint, labels=a.labels) for a in found)

    async def began(self, incident_ref: str) -> datetime:
        """Return when the incident's first alert began to fire."""
        async with self._store.transaction() as tx:
            return (await tx.incidents.get(_number(incident_ref))).started_at


def _number(incident_ref: str) -> int:
    return int(incident_ref.removeprefix("INC-"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The outside world: systems to act on and Alertmanagers to ask."""

    systems: Systems
    presence: PresenceDesk
    alertmanagers: Mapping[str, Alertmanager]
    clusters: Mapping[str, KubernetesAdapter]
    databases: Mapping[str, PostgresTarget]
    prometheus: Prometheus | None
    caches: Mapping[str, RedisTarget] = field(default_factory=dict)

    async def close(self) -> None:
        """Close every connection."""
        closers: list[Callable[[], Awaitable[None]]] = [a.close for a in self.alertmanagers.values()]
        closers += [c.close for c in self.clusters.values()]
        closers += [self.prometheus.close] if self.prometheus else []
        await asyncio.gather(*(close() for close in closers), return_exceptions=True)


def build_outside(settings: Settings, *, reach: Reach, store: Store, people: People | None, clock: Clock) -> Outside:
    """Build everything; nothing is connected before it is needed, and nothing beyond ``reach`` ever is."""
    shared = settings.kubernetes
    clusters = {
        name: KubernetesAdapter.connect(
            name,
            target.kubeconfig or shared.kubeconfig,
            target.context,
            shared.timeout.total_seconds(),
            namespaces=reach.namespaces,
        )
        for name, target in settings.targets.kubernetes.items()
    }
    databases = Listed(ConfiguredDatabases(settings), "database", reach)
    caches = Listed(ConfiguredCaches(settings), "cache", reach)
    url = settings.prometheus.url
    prometheus = Prometheus(url.get_secret_value()) if url else None
    alertmanagers = _alertmanagers(settings, clock)
    systems = Systems(
        kubernetes=clusters,
        postgres=databases,
        graphs=GraphPainter(),
        web=_web(settings),
        tls=_tls(settings),
        redis=caches,
        alertmanagers=alertmanagers,
        metrics=prometheus,
        alerts=StoredAlerts(store),
        people=people,
    )
    default = alertmanagers.get("")
    return Outside(
        systems=systems,
        presence=PresenceDesk({n: a for n, a in alertmanagers.items() if n}, default),
        alertmanagers=alertmanagers,
        clusters=clusters,
        databases=databases,
        caches=caches,
        prometheus=prometheus,
    )


def _web(settings: Settings) -> dict[str, WebService]:
    return {
        name: ConfiguredWebService(name, target.url.get_secret_value(), target.sent, ca=target.ca)
        for name, target in settings.targets.http.items()
    }


def _tls(settings: Settings) -> dict[str, TlsServer]:
    found: dict[str, TlsServer] = {}
    for name, target in settings.targets.tls.items():
        host, _, port = target.address.rpartition(":")
        trust = trusting(f"targets.tls.{name}.ca", target.ca) if target.ca else None
        found[name] = ConfiguredTlsServer(host.strip("[]"), int(port), server_name=target.server_name, trust=trust)
    return found


def _alertmanagers(settings: Settings, clock: Clock) -> dict[str, Alertmanager]:
    """Return the Alertmanagers by source; ``""`` is the one of ``alertmanager.url``."""
    urls = {"": _texts(settings.alertmanager.url)}
    urls |= {name: _texts(source.url) for name, source in settings.alertmanager.sources.items()}
    return {name: Alertmanager(list(found), clock) for name, found in urls.items() if found}


def _texts(urls: object) -> tuple[str, ...]:
    assert isinstance(urls, tuple)
    return tuple(u.get_secret_value() if hasattr(u, "get_secret_value") else str(u) for u in urls)
