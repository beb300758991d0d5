"""What the responder asks of a Kubernetes cluster, in its own words, so that actions never see an API client.

The port offers mechanisms (read, patch with preconditions, create, delete); what they mean (fences, steps, undo) is the
actions' business. Every method raises UnavailableError when the cluster cannot be reached in time, ForbiddenError when
it refuses the right (naming verb and resource), NotFoundError for what does not exist, and TemporaryError when the
server asks to come back later. Methods that change something raise `AmbiguousError` when the request was sent and its
answer lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import JsonValue

from hdr_responder.domain.workloads import Workload

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
class WorkloadState:
    """A workload as the cluster sees it now; counts are of pods.

    ``replicas`` is ``spec.replicas``, None for a daemonset. ``desired`` is what the controller aims at, ``total``
    counts pods of old and new templates. ``stalled`` is the message of ``ProgressDeadlineExceeded``, None without it.
    ``template_annotations`` is None when the pod template has no annotations at all.
    """

    meta: ObjectMeta
    selector: Selector
    pod_labels: Mapping[str, str]
    template_annotations: Mapping[str, str] | None
    host_network: bool
    replicas: int | None
    desired: int
    total: int
    updated: int
    available: int
    observed_generation: int
    stalled: str | None = None
    paused: bool = False
    update_strategy: str = "RollingUpdate"
    partition: int = 0
    """StatefulSet: pods with a lower ordinal keep the old template."""
    max_unavailable: int | str | None = None
    """Of a rolling update as written, a number or a percentage of ``desired``; None where the object has none."""
    max_surge: int | str | None = None
    """As ``max_unavailable``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """The HorizontalPodAutoscaler that owns a workload's replicas."""

    meta: ObjectMeta
    min_replicas: int
    max_replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """A NetworkPolicy; ``allows`` tells whether any rule of it lets traffic through."""

    meta: ObjectMeta
    pods: Selector
    isolates_ingress: bool
    isolates_egress: bool
    allows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod; ``owner`` is ``Kind/name`` of its controller."""

    namespace: str
    name: str
    owner: str | None
    containers: tuple[str, ...]
    phase: str
    ready: bool
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which log to read: the last ``tail`` lines, of them at most the last ``max_bytes``.

    ``previous`` reads the container's run before its last restart.
    """

    namespace: str
    pod: str
    container: str
    tail: int
    max_bytes: int
    previous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterIdentity:
    """Who answers and whom it takes us for; ``user`` is empty where the server is too old to tell."""

    version: str
    user: str


class Right(Protocol):
    """A right to ask about; a step's `Permission` is one."""

    @property
    def verb(self) -> str:
        """The API verb (``patch``)."""

    @property
    def resource(self) -> str:
        """The resource with its group (``apps/deployments``, ``pods/log``)."""

    @property
    def namespace(self) -> str:
        """The namespace, empty for all."""


class KubernetesCluster(Protocol):
    """One Kubernetes cluster."""

    @property
    def name(self) -> str:
        """The cluster's name in settings, used in every error."""

    async def ping(self) -> ClusterIdentity:
        """Tell who answers; raises ForbiddenError when the credentials are not accepted."""

    async def may(self, right: Right) -> bool:
        """Ask the cluster whether we hold ``right`` (SelfSubjectAccessReview)."""

    async def workload(self, workload: Workload) -> WorkloadState:
        """Read a workload; a NotFoundError names similar workloads of the namespace."""

    async def autoscaler(self, workload: Workload) -> Autoscaler | None:
        """Find the autoscaler (autoscaling/v2) that targets the workload.

        Raises ConflictError when more than one does: they fight each other, and moving one would not help.
        """

    async def read_autoscaler(self, namespace: str, name: str) -> Autoscaler:
        """Read one autoscaler."""

    async def pods(self, namespace: str, selector: Selector, *, limit: int) -> tuple[Pod, ...]:
        """List at most ``limit`` pods that the selector matches."""

    async def pod_log(self, query: LogQuery) -> bytes:
        """Read a container's log; raises ConflictError when the container has none (yet)."""

    async def patch(self, ref: ObjectRef, operations: JsonPatch, *, dry_run: bool = False) -> None:
        """Apply a JSON patch; with ``dry_run`` the server rehearses it through admission and stores nothing.

        Raises ConflictError when the object is not as the patch assumes (a ``test`` or a path failed, a concurrent
        writer won), PermanentError when the result would be invalid, AmbiguousError when the answer was lost.
        """

    async def network_policies(self, namespace: str) -> tuple[NetworkPolicy, ...]:
        """List the namespace's network policies."""

    async def network_policy(self, namespace: str, name: str) -> NetworkPolicy:
        """Read one network policy."""

    async def create_network_policy(self, manifest: Mapping[str, JsonValue], *, dry_run: bool = False) -> None:
        """Create a network policy; raises ConflictError when one of that name exists."""

    async def delete_network_policy(self, meta: ObjectMeta) -> None:
        """Delete the policy only while it is exactly the one seen (uid and resourceVersion), else ConflictError."""
