"""Pods, how they are, and what their containers say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from hdr_responder.domain.ports.kubernetes.objects import Condition, ObjectMeta, Selector


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
class Ended:
    """How a run of a container ended; ``reason`` is the cluster's word (``OOMKilled``, ``Error``, ``Completed``)."""

    reason: str
    exit_code: int
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """One container of a pod as its kubelet reported it last; ``initial`` ones run before the others.

    ``why`` says why it waits (``CrashLoopBackOff``), else empty. ``ended`` is the run that is over and not started
    again, ``last_ended`` the one before the present or awaited run. ``image`` is the one of this very pod, which
    differs from the workload's while a release rolls out.
    """

    name: str
    state: Literal["running", "waiting", "terminated"]
    ready: bool
    restarts: int
    why: str = ""
    ended: Ended | None = None
    last_ended: Ended | None = None
    initial: bool = False
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """A pod with all that tells how it is; ``node`` is empty until it is scheduled.

    ``reason`` is the pod's own (``Evicted``, ``Unschedulable``), else empty; ``deleted`` tells that it is on its way
    out.
    """

    pod: Pod
    meta: ObjectMeta
    created: datetime
    node: str
    reason: str
    deleted: bool
    default_container: str
    containers: tuple[ContainerState, ...]
    conditions: tuple[Condition, ...] = ()

    @property
    def completed(self) -> bool:
        """Whether all its containers did their work and ended, as those of a Job do."""
        return self.pod.phase == "Succeeded"

    @property
    def ready(self) -> bool:
        """Whether it serves; a pod that completed may still carry the word of before."""
        return self.pod.ready and not self.completed

    @property
    def running(self) -> bool:
        """Whether every container runs; one that crashes again and again is waiting most of the time."""
        ran = all(each.state == "running" for each in self.containers if not each.initial)
        return self.pod.phase == "Running" and ran


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which log to read: the last ``tail`` lines, of them at most the last ``max_bytes``.

    ``since_seconds`` leaves out what is older. ``previous`` reads the container's run before its last restart.
    """

    namespace: str
    pod: str
    container: str
    tail: int
    max_bytes: int
    since_seconds: int | None = None
    previous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The end of a log; ``cut`` tells that of the lines that were asked for there were more bytes before it."""

    content: bytes
    cut: bool


class PodCalls(Protocol):
    """Reads pods."""

    async def pods(self, namespace: str, selector: Selector, *, limit: int) -> tuple[Pod, ...]:
        """List at most ``limit`` pods that the selector matches."""

    async def pod_states(self, namespace: str, selector: Selector) -> tuple[PodState, ...]:
        """List all pods that the selector matches; raises PermanentError where there are too many to judge."""

    async def pod_log(self, query: LogQuery) -> Log:
        """Read a container's log; raises ConflictError when the container has none (yet)."""
