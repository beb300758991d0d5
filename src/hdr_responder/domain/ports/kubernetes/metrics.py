"""What pods use now, as the cluster's metrics API tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hdr_responder.domain.ports.kubernetes.objects import Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class PodUsage:
    """What all containers of a pod used, measured at ``at``: cores of CPU and bytes of memory (its working set)."""

    name: str
    cpu_cores: float
    memory_bytes: int
    at: datetime | None = None


class MetricsCalls(Protocol):
    """Reads the metrics API (``metrics.k8s.io``), which a cluster serves only where metrics-server is installed."""

    async def pod_usage(self, namespace: str, selector: Selector) -> tuple[PodUsage, ...]:
        """Tell what the pods use that the selector matches; pods that were not measured yet are missing.

        Raises PermanentError naming metrics-server where the cluster has no such API.
        """
