"""Workloads as an operator reads them: what the cluster says about their state, beside what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hdr_responder.domain.ports.kubernetes.objects import Condition
from hdr_responder.domain.ports.kubernetes.releases import ObjectEvent, TemplatedWorkload
from hdr_responder.domain.workloads import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedWorkload:
    """A workload with its pod template and the conditions that its controller wrote."""

    templated: TemplatedWorkload
    conditions: tuple[Condition, ...]


class DescriptionCalls(Protocol):
    """Reads what `WorkloadCalls` leaves out."""

    async def described(self, workload: Workload) -> DescribedWorkload:
        """Read a workload; a NotFoundError names similar workloads of the namespace."""

    async def replica_set_events(self, workload: Workload) -> tuple[ObjectEvent, ...]:
        """List the events about the ReplicaSets of a deployment, which tell why it gets no pods, the latest first."""
