"""Reads pod templates, the revisions of them that the cluster keeps, and who wrote what on a workload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hdr_responder.adapters.kubernetes import shapes, templates
from hdr_responder.adapters.kubernetes.calls import LIST_LIMIT, at
from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.adapters.kubernetes.workloads import Workloads
from hdr_responder.domain.ports.kubernetes import (
    FieldWriter,
    ObjectEvent,
    ObjectMeta,
    Revision,
    TemplatedWorkload,
    WorkloadState,
)
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import PermanentError


class Releases(Workloads):
    """Implements `ReleaseCalls` beside `WorkloadCalls`: both read the same objects."""

    async def templated(self, workload: Workload) -> TemplatedWorkload:
        """Read a workload with its pod template."""
        item = await self._item(workload)
        state = shapes.workload_state(workload.kind, item)
        return TemplatedWorkload(state=state, template=templates.pod_template(item["spec"]["template"]))

    async def revisions(self, workload: Workload, seen: WorkloadState) -> tuple[Revision, ...]:
        """List the revisions, oldest number first."""
        replica_sets = workload.kind == "deployment"
        resource, read = templates.REPLICA_SETS if replica_sets else templates.CONTROLLER_REVISIONS
        selector = ("labelSelector", shapes.selector_text(seen.selector))
        items = await self._every(resource, workload.namespace, selector)
        owned = (read(each) for each in items if _controlled_by(each, seen.meta.uid))
        return tuple(sorted((each for each in owned if each is not None), key=lambda each: each.number))

    async def field_writers(self, workload: Workload) -> tuple[FieldWriter, ...]:
        """Tell who wrote the workload's fields, the latest first."""
        return templates.field_writers(await self._item(workload))

    async def events_about(self, meta: ObjectMeta) -> tuple[ObjectEvent, ...]:
        """List the events about this object, the latest first."""
        about = ("fieldSelector", f"involvedObject.uid={meta.uid}")
        items = await self._every("events", meta.ref.namespace, about)
        return tuple(sorted(map(templates.object_event, items), key=lambda each: each.at, reverse=True))

    async def _every(self, resource: str, namespace: str, chosen: tuple[str, str]) -> tuple[Mapping[str, Any], ...]:
        """List all that a selector chooses; more than can be read at once is an error, never half."""
        query = (chosen, ("limit", str(LIST_LIMIT)))
        request = ApiRequest(verb="list", resource=resource, namespace=namespace, query=query)
        answer: Mapping[str, Any] = await self._connection.json(request)
        if at(answer, "metadata", "continue"):
            raise PermanentError(f"cluster {self._name}: {request}: more than {LIST_LIMIT}, not judged by a part")
        return tuple(answer.get("items") or ())


def _controlled_by(item: Mapping[str, Any], uid: str) -> bool:
    owners = at(item, "metadata", "ownerReferences") or ()
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)
