"""Pod templates, the revisions of them that the cluster keeps, and who wrote what on a workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import JsonValue

from hdr_responder.domain.ports.kubernetes.objects import ObjectMeta
from hdr_responder.domain.ports.kubernetes.workloads import WorkloadState
from hdr_responder.domain.workloads import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVariable:
    """One entry of a container's environment; ``value`` is None when the cluster fills it in (``valueFrom``)."""

    name: str
    value: str | None
    source: Mapping[str, JsonValue] | None = None
    """What it is filled in from, as the cluster writes it: names of Secrets and keys, never their contents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerTemplate:
    """A container of a pod template; ``initial`` ones run before the others.

    ``requests`` and ``limits`` are amounts by resource name as the cluster writes them (``cpu: 500m``).
    """

    name: str
    image: str
    environment: tuple[EnvVariable, ...]
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    other: Mapping[str, JsonValue]
    """Every other field by its name."""
    initial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTemplate:
    """A pod template without the label by which the cluster tells the pods of its revisions apart.

    ``containers`` are in the template's order, the initial ones last.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    containers: tuple[ContainerTemplate, ...]
    other: Mapping[str, JsonValue]
    """Every other field of the pod's spec by its name."""
    manifest: Mapping[str, JsonValue]
    """The whole template as the cluster writes it, to write it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatedWorkload:
    """A workload together with its present pod template."""

    state: WorkloadState
    template: PodTemplate

    @property
    def meta(self) -> ObjectMeta:
        """The workload's identity and annotations."""
        return self.state.meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision of a workload's template (a ReplicaSet of a Deployment, else a ControllerRevision).

    The cluster keeps one object a template: going back to an older template gives that object the next ``number`` and
    leaves ``created`` alone, which therefore is when the template first appeared. ``first_number`` is the number that
    it had then, as far as the cluster remembers.
    """

    name: str
    number: int
    first_number: int
    created: datetime
    change_cause: str | None
    template: PodTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldWriter:
    """Who wrote which fields of an object last (``managedFields``); ``fields`` are names such as ``spec.template``.

    ``manager`` is the name that a program gave itself (``kubectl-set``), ``at`` the last time that it changed any of
    them.
    """

    manager: str
    operation: str
    at: datetime | None
    fields: tuple[str, ...]
    subresource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEvent:
    """One Event about an object; ``at`` is when it was seen last, ``count`` how often."""

    at: datetime
    reason: str
    message: str
    source: str
    count: int = 1
    warning: bool = False


class ReleaseCalls(Protocol):
    """Reads templates, their history, and who wrote them."""

    async def templated(self, workload: Workload) -> TemplatedWorkload:
        """Read a workload with its pod template; a NotFoundError names similar workloads of the namespace."""

    async def revisions(self, workload: Workload, seen: WorkloadState) -> tuple[Revision, ...]:
        """List the revisions that the cluster keeps of the workload that was seen, oldest number first."""

    async def field_writers(self, workload: Workload) -> tuple[FieldWriter, ...]:
        """Tell who wrote the workload's fields, the latest first."""

    async def events_about(self, meta: ObjectMeta) -> tuple[ObjectEvent, ...]:
        """List the events about exactly this object (by uid), the latest first; the cluster keeps them for an hour."""
