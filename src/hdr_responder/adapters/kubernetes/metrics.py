"""Reads what pods use from the metrics API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.calls import Calls
from hdr_responder.adapters.kubernetes.quantities import quantity
from hdr_responder.adapters.kubernetes.shapes import Json
from hdr_responder.domain.ports.kubernetes import PodUsage, Selector
from hdr_responder.errors import AdapterError, NotFoundError, PermanentError

POD_METRICS = "metrics.k8s.io/pods"


class Metrics(Calls):
    """Implements `MetricsCalls`."""

    async def pod_usage(self, namespace: str, selector: Selector) -> tuple[PodUsage, ...]:
        """Tell what the pods use that the selector matches."""
        chosen = ("labelSelector", shapes.selector_text(selector))
        try:
            items = await self._pages(POD_METRICS, namespace, chosen)
        except NotFoundError as e:  # a list of nothing is empty: what is not found is the API itself
            message = f"cluster {self._name} has no metrics API (metrics.k8s.io): metrics-server is not installed in it"
            raise PermanentError(message) from e
        try:
            return tuple(map(_usage, items))
        except (KeyError, TypeError, ValueError) as e:
            raise AdapterError(
                f"cluster {self._name}: list {POD_METRICS} in {namespace}: the answer is no PodMetrics"
            ) from e


def _usage(item: Json) -> PodUsage:
    """Read a PodMetrics (metrics.k8s.io/v1beta1)."""
    containers: Sequence[Json] = item.get("containers") or ()
    measured: Any = item.get("timestamp")
    return PodUsage(
        name=item["metadata"]["name"],
        cpu_cores=float(sum(quantity(each["usage"].get("cpu", "0")) for each in containers)),
        memory_bytes=int(sum(quantity(each["usage"].get("memory", "0")) for each in containers)),
        at=datetime.fromisoformat(measured) if measured else None,
    )
