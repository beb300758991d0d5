"""The service catalogue: what each alert is about, who owns it, and what it stands on (manual S01-S22)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictBool, StrictInt

from hdr_responder.documents.findings import Finding, unknown
from hdr_responder.documents.scope import ServiceValues
from hdr_responder.documents.strict import Document, Name, Strict, Text, WorkloadText, workload_from
from hdr_responder.domain.matchers import Labels, Matcher
from hdr_responder.domain.reach import Reach
from hdr_responder.domain.workloads import Workload

Tier = Literal["core", "security", "data", "platform", "application", "observability"]


class Service(Strict):
    """One service of the fleet."""

    name: Name
    title: Text
    tier: Tier
    owner: Name
    """Group of the escalation document that answers for it."""
    namespace: Name
    """Where it runs; namespaces that no service names are never touched."""
    databases: tuple[Text, ...] = ()
    """Its databases, by their names under ``targets.postgres``; one that no service lists is never touched."""
    caches: tuple[Text, ...] = ()
    """Its Redis servers, by their names under ``targets.redis``; one that no service lists is never touched."""
    workload: WorkloadText | None = None
    """What restarts, rollbacks and scaling act on; None when nothing of it may be acted on that way."""
    replicas: Annotated[StrictInt, Field(ge=0)] | None = None
    aliases: tuple[Text, ...] = ()
    """Other values of the identifying labels that mean this service."""
    depends_on: tuple[str, ...] = ()
    critical: StrictBool = False
    """Whether other services cannot do without it."""
    health: Annotated[dict[str, JsonValue], Field(min_length=1, max_length=1)] | None = None
    """One check, ``<check>: <parameters>``, that proves it down when it fails; without one nothing waits for it."""

    def workload_in(self, cluster: str | None) -> Workload | None:
        """Return the workload in this cluster, None when the alert named no cluster or there is no workload."""
        if self.workload is None or not cluster:
            return None
        return workload_from(self.workload, cluster=cluster, namespace=self.namespace)

    @property
    def namespaces(self) -> frozenset[str]:
        """Where it runs: its namespace, and that of its workload where it names another."""
        workload = self.workload_in("any")
        return frozenset({self.namespace, *({workload.namespace} if workload else ())})

    def values(self, cluster: str | None) -> ServiceValues:
        """Return what expressions read as ``service``."""
        return ServiceValues(
            name=self.name,
            title=self.title,
            tier=self.tier,
            owner=self.owner,
            namespace=self.namespace,
            critical=self.critical,
            replicas=self.replicas,
            depends_on=self.depends_on,
            workload=self.workload_in(cluster),
        )


class ServiceCatalogue(Document):
    """All services, in the order in which people list them."""

    kind: Literal["ServiceCatalogue"]
    identified_by: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Labels that name the service, tried in this order."""
    services: Annotated[tuple[Service, ...], Field(min_length=1)]

    @cached_property
    def _known(self) -> Mapping[str, Service]:
        aliases = {alias: s for s in self.services for alias in s.aliases}
        return aliases | {s.name: s for s in self.services}

    def identify(self, labels: Labels) -> Service | None:
        """Return the service that the labels are about, None when the catalogue knows none of the values."""
        values = (labels.get(name, "") for name in self.identified_by)
        return next((self._known[v] for v in values if v in self._known), None)

    def by_name(self, name: str) -> Service | None:
        """Return the service of this name (not alias)."""
        service = self._known.get(name)
        return service if service is not None and service.name == name else None

    @cached_property
    def reach(self) -> Reach:
        """What may be touched at all: the namespaces, databases and Redis servers of the services."""
        return Reach(
            namespaces=frozenset(name for s in self.services for name in s.namespaces),
            databases=frozenset(name for s in self.services for name in s.databases),
            caches=frozenset(name for s in self.services for name in s.caches),
        )

    def below(self, name: str) -> tuple[Service, ...]:
        """Return all that a service depends on, directly or through others, the nearest first; without itself."""
        found: dict[str, Service] = {}
        asked = [name]
        while asked:
            service = self.by_name(asked.pop(0))
            for needed in service.depends_on if service else ():
                dependency = self.by_name(needed)
                if dependency is not None and needed not in found and needed != name:
                    found[needed] = dependency
                    asked.append(needed)
        return tuple(found.values())

    @property
    def start_order(self) -> tuple[Service, ...]:
        """All services, each after what it depends on and else as listed: the order of recovery (manual S20)."""
        ordered: dict[str, Service] = {}
        waiting = list(self.services)
        while waiting:
            ready = next((s for s in waiting if all(d in ordered for d in s.depends_on)), waiting[0])
            ordered[ready.name] = ready
            waiting.remove(ready)
        return tuple(ordered.values())

    def findings(self) -> list[Finding]:
        """Return what is wrong between the entries: names taken twice, unknown and circular dependencies."""
        return [*self._taken_twice(), *self._unknown_dependencies(), *self._cycles()]

    def check_matcher(self, matcher: Matcher, loc: tuple[str | int, ...]) -> Finding | None:
        """Return a finding when a matcher names a service that the catalogue does not know."""
        values = matcher.closed_values() if matcher.name == self.identified_by[0] else None
        strange = next((v for v in values or () if v and v not in self._known), None)
        return unknown(loc, "service", strange, self._known) if strange else None

    def _taken_twice(self) -> Iterable[Finding]:
        taken: dict[str, str] = {}
        for i, service in enumerate(self.services):
            words = [(("name",), service.name), *((("aliases", j), a) for j, a in enumerate(service.aliases))]
            for place, word in words:
                if word in taken:
                    yield Finding(
                        loc=("services", i, *place), message=f"already names service {taken[word]!r}", value=word
                    )
                taken.setdefault(word, service.name)

    def _unknown_dependencies(self) -> Iterable[Finding]:
        names = {s.name for s in self.services}
        for i, service in enumerate(self.services):
            for j, dependency in enumerate(service.depends_on):
                if dependency not in names:
                    yield unknown(("services", i, "depends_on", j), "service", dependency, names)

    def _cycles(self) -> Iterable[Finding]:
        needs = {s.name: list(s.depends_on) for s in self.services}
        reported: set[frozenset[str]] = set()
        for i, service in enumerate(self.services):
            cycle = _cycle_from(service.name, needs)
            if cycle and frozenset(cycle) not in reported:
                reported.add(frozenset(cycle))
                path = " -> ".join([*cycle, cycle[0]])
                yield Finding(loc=("services", i, "depends_on"), message=f"circular dependency: {path}")


def _cycle_from(start: str, needs: Mapping[str, list[str]]) -> list[str] | None:
    """Return the services on a way from ``start`` back to itself."""
    ways: list[list[str]] = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for name in needs.get(way[-1], ()):
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return None
