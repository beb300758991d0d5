"""Workloads and the autoscalers that own their replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from hdr_responder.domain.ports.kubernetes.objects import ObjectMeta, Selector
from hdr_responder.domain.workloads import Workload


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
    target: str = ""
    """``Kind/name`` of what it scales."""
    metrics: tuple[JsonValue, ...] = ()
    """What it scales by, as the cluster writes it (autoscaling/v2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuRequests:
    """Which of some pods' containers request CPU time, which is what a CPU usage is a percentage of.

    One container without a request is enough for an autoscaler to compute nothing (Kubernetes contract).
    """

    pods: int
    missing: tuple[str, ...]
    """Containers without one, as ``pod/container``."""


class WorkloadCalls(Protocol):
    """Reads workloads."""

    async def workload(self, workload: Workload) -> WorkloadState:
        """Read a workload; a NotFoundError names similar workloads of the namespace."""

    async def autoscaler(self, workload: Workload) -> Autoscaler | None:
        """Find the autoscaler (autoscaling/v2) that targets the workload.

        Raises ConflictError when more than one does: they fight each other, and moving one would not help.
        """

    async def read_autoscaler(self, namespace: str, name: str) -> Autoscaler:
        """Read one autoscaler."""

    async def cpu_requests(self, namespace: str, selector: Selector, *, limit: int) -> CpuRequests:
        """Look at the CPU requests of at most ``limit`` pods that have not ended."""

    async def create_autoscaler(self, manifest: Mapping[str, JsonValue], *, dry_run: bool = False) -> None:
        """Create an autoscaler; raises ConflictError when one of that name exists."""

    async def delete_autoscaler(self, meta: ObjectMeta) -> None:
        """Delete the autoscaler only while it is exactly the one seen (uid and resourceVersion), else ConflictError."""
