"""Reads workloads and their autoscalers."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from hdr_responder.adapters.kubernetes import shapes
from hdr_responder.adapters.kubernetes.calls import Calls, at
from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.domain.ports.kubernetes import Autoscaler, CpuRequests, ObjectMeta, Selector, WorkloadState
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError, HdrError, NotFoundError


class Workloads(Calls):
    """Implements `WorkloadCalls`."""

    async def workload(self, workload: Workload) -> WorkloadState:
        """Read a workload."""
        return shapes.workload_state(workload.kind, await self._item(workload))

    async def autoscaler(self, workload: Workload) -> Autoscaler | None:
        """Find the autoscaler that targets the workload."""
        items = await self._list(shapes.AUTOSCALERS, workload.namespace)
        found = [shapes.autoscaler(each) for each in items if shapes.scales(each, workload.kind, workload.name)]
        if len(found) > 1:
            names = ", ".join(sorted(each.meta.ref.name for each in found))
            raise ConflictError(f"cluster {self._name}: several autoscalers target {workload}: {names}")
        return found[0] if found else None

    async def read_autoscaler(self, namespace: str, name: str) -> Autoscaler:
        """Read one autoscaler."""
        return shapes.autoscaler(await self._get(shapes.AUTOSCALERS, namespace, name))

    async def cpu_requests(self, namespace: str, selector: Selector, *, limit: int) -> CpuRequests:
        """Look at the CPU requests of pods."""
        query = (("labelSelector", shapes.selector_text(selector)), ("limit", str(limit)))
        answer: Mapping[str, Any] = await self._connection.json(
            ApiRequest(verb="list", resource=shapes.PODS, namespace=namespace, query=query)
        )
        items: Sequence[Mapping[str, Any]] = answer.get("items") or ()
        running = [each for each in items if at(each, "status", "phase") not in {"Succeeded", "Failed"}]
        missing = (f"{each['metadata']['name']}/{name}" for each in running for name in _without_cpu(each["spec"]))
        return CpuRequests(pods=len(running), missing=tuple(missing))

    async def create_autoscaler(self, manifest: Mapping[str, JsonValue], *, dry_run: bool = False) -> None:
        """Create an autoscaler."""
        await self._create(shapes.AUTOSCALERS, manifest, dry_run=dry_run)

    async def delete_autoscaler(self, meta: ObjectMeta) -> None:
        """Delete the autoscaler while it is exactly the one seen."""
        await self._delete(meta)

    async def _item(self, workload: Workload) -> Mapping[str, Any]:
        """Read a workload as the API server writes it."""
        resource = shapes.RESOURCES[workload.kind]
        try:
            return await self._get(resource, workload.namespace, workload.name)
        except NotFoundError as e:
            similar = await self._similar(resource, workload)
            raise NotFoundError(
                f"cluster {self._name}: no {workload} in namespace {workload.namespace}{similar}"
            ) from e

    async def _similar(self, resource: str, workload: Workload) -> str:
        """Return a hint with names like the missing one; whatever goes wrong with the hint, the answer stays 'no'."""
        try:
            items = await self._list(resource, workload.namespace)
        except HdrError:
            return ""
        names = [str(each["metadata"]["name"]) for each in items]
        close = difflib.get_close_matches(workload.name, names, n=3)
        if close:
            return f" (did you mean {', '.join(close)}?)"
        return f" (it has: {', '.join(sorted(names)[:5])})" if names else ""


def _without_cpu(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield the containers of a pod that request no CPU; a request of the pod as a whole counts for all of them."""
    if at(spec, "resources", "requests", "cpu"):
        return
    sidecars = (each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always")
    for container in (*spec["containers"], *sidecars):
        if not at(container, "resources", "requests", "cpu"):
            yield str(container["name"])
