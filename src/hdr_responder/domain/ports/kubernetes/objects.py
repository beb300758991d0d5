"""Objects of the API server as every family of calls names them: identity, labels, selectors, patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

JsonPatch = Sequence[Mapping[str, JsonValue]]
"""The operations of one JSON patch (RFC 6902), applied all or none."""

MANAGER = "hdr-responder"
"""The field manager of every change, and the value of ``app.kubernetes.io/managed-by`` on objects that we create."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """Where an object is: ``resource`` as in permissions (``apps/deployments``), its namespace and name."""

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource}/{self.name} in {self.namespace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMeta:
    """Identity and bookkeeping of one object at one moment."""

    ref: ObjectRef
    uid: str
    resource_version: str
    generation: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    controller: str | None = None
    """``Kind/name`` of the controlling owner, whose controller may revert what others change."""
    gitops: str | None = None
    """The Argo CD or Flux object that tracks it, for people, and whose controller reverts what it tracks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One label requirement; ``operator`` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A label selector; all requirements must hold, an empty one selects everything."""

    labels: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[Requirement, ...] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object that carries ``labels`` is selected."""
        return all(labels.get(key) == value for key, value in self.labels.items()) and all(
            _satisfies(requirement, labels) for requirement in self.requirements
        )


def _satisfies(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    match requirement.operator:
        case "In":
            return labels.get(requirement.key) in requirement.values
        case "NotIn":
            return labels.get(requirement.key) not in requirement.values
        case "Exists":
            return requirement.key in labels
        case "DoesNotExist":
            return requirement.key not in labels
        case _:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of an object's status; ``status`` is True, False or Unknown, ``since`` its last change."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime | None = None
