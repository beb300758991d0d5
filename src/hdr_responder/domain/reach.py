"""What may be touched at all: the namespaces, databases and Redis servers that the service catalogue lists.

Whatever a playbook, a label or a person says, nothing else is read or changed. The list is enforced where requests
leave (adapters and `app.systems`), so that no action can forget it; guards tell it beforehand, by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

CATALOGUE = "config/services.yaml"
"""What people call the file that lists them."""

PlaceKind = Literal["namespace", "database", "cache"]


class Place(BaseModel):
    """Where a step acts: a namespace of whatever cluster, or a database or Redis server by its name in ``targets``.

    The namespace without a name stands for all of a cluster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: PlaceKind
    name: str

    def __str__(self) -> str:
        words = {"namespace": "namespace", "database": "database", "cache": "Redis server"}
        return f"{words[self.kind]} {self.name}" if self.name else "a whole cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The listed ones; without any, nothing may be touched."""

    namespaces: frozenset[str] = frozenset()
    databases: frozenset[str] = frozenset()
    caches: frozenset[str] = frozenset()

    def has(self, place: Place) -> bool:
        """Tell whether a place is listed."""
        return place.name in self.of(place.kind)

    def of(self, kind: PlaceKind) -> frozenset[str]:
        """Return the listed names of a kind."""
        match kind:
            case "namespace":
                return self.namespaces
            case "database":
                return self.databases
            case "cache":
                return self.caches

    def protected(self, places: Iterable[Place]) -> tuple[Place, ...]:
        """Return those that are not listed, each once."""
        return tuple(dict.fromkeys(place for place in places if not self.has(place)))


def not_listed(place: object) -> str:
    """Return why a place is left alone."""
    return f"{place} is not listed in {CATALOGUE}: nothing there may be touched"
