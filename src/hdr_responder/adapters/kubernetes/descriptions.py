"""Reads workloads with their conditions, and the events about their ReplicaSets."""

from __future__ import annotations

from hdr_responder.adapters.kubernetes import shapes, templates
from hdr_responder.adapters.kubernetes.calls import at
from hdr_responder.adapters.kubernetes.shapes import Json
from hdr_responder.adapters.kubernetes.workloads import Workloads
from hdr_responder.domain.ports.kubernetes import DescribedWorkload, ObjectEvent, TemplatedWorkload
from hdr_responder.domain.workloads import Workload


class Descriptions(Workloads):
    """Implements `DescriptionCalls`."""

    async def described(self, workload: Workload) -> DescribedWorkload:
        """Read a workload."""
        item = await self._item(workload)
        state = shapes.workload_state(workload.kind, item)
        return DescribedWorkload(
            templated=TemplatedWorkload(state=state, template=templates.pod_template(item["spec"]["template"])),
            conditions=shapes.conditions(item),
        )

    async def replica_set_events(self, workload: Workload) -> tuple[ObjectEvent, ...]:
        """List the events; a deployment's ReplicaSets are called ``<deployment>-<template hash>``."""
        items = await self._pages("events", workload.namespace, ("fieldSelector", "involvedObject.kind=ReplicaSet"))
        own = (each for each in items if _about(each).rpartition("-")[0] == workload.name)
        return tuple(sorted(map(templates.object_event, own), key=lambda each: each.at, reverse=True))


def _about(event: Json) -> str:
    return str(at(event, "involvedObject", "name") or "")
