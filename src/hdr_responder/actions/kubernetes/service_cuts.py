"""Cuts the Services of an isolated workload, so that nothing is sent to its pods even where no policy is enforced.

A Service is cut by one more key in its selector, which no pod carries: it then selects nothing, and its old selector
stays readable in it. Pod labels are left alone: taking one away makes the ReplicaSet start another pod. Cut endpoints
keep new connections from coming; those that stand already, and those that name a pod's address, pass a Service by.

Several isolations may hold the same cut (a later run isolates what an earlier one has isolated already). Each writes
its step's key on the Service, and the last one that lets go restores the selector.

A Service that also selects pods of others is left alone and reported, since cutting it would cut them too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, JsonValue

from hdr_responder.actions.contract import StepContext, Undone
from hdr_responder.actions.kubernetes.fencing import Look, change, claim
from hdr_responder.actions.kubernetes.logs import belongs
from hdr_responder.actions.kubernetes.marks import (
    METADATA_ANNOTATIONS,
    STEP,
    UNDONE,
    add,
    annotate,
    pointer,
    remove,
    replace,
    test,
)
from hdr_responder.actions.kubernetes.policies import SELECTED, WORKLOAD
from hdr_responder.domain.ports.kubernetes import (
    Endpoint,
    JsonPatch,
    KubernetesCluster,
    ObjectMeta,
    Selector,
    Service,
    WorkloadState,
)
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError, NotFoundError

SELECTOR = "/spec/selector"
CUT = "hdr-responder.io/cut-off"
"""The key that makes a selector select nothing; pods never carry it."""
CUT_VALUE = "true"
HOLDERS = "hdr-responder.io/isolated-by"
"""The keys of the steps that hold the cut, with commas."""
LISTED_PODS = 500
MAX_SERVICES = 50
"""More Services of one workload are refused, never cut in part."""
NAMED = 3
"""Pods of others that a reason names."""


class Cut(BaseModel):
    """One Service to cut: which object it is, and what it selects when it is not cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str
    uid: str
    selector: dict[str, str]

    @property
    def cut_selector(self) -> dict[str, str]:
        """What it selects when it is cut: nothing."""
        return self.selector | {CUT: CUT_VALUE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What sends traffic to a workload's pods.

    ``services`` select them and nobody else's, cut or not; ``left`` tells of those that are left alone, and why.
    ``endpoints`` name the pods now.
    """

    services: tuple[Service, ...]
    left: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]

    @property
    def open(self) -> tuple[Service, ...]:
        """Those that are not cut."""
        return tuple(service for service in self.services if not is_cut(service))


async def serving(cluster: KubernetesCluster, workload: Workload, seen: WorkloadState) -> Serving:
    """Find the Services of a workload: by what they select, where their endpoints lead, and those we cut for it."""
    namespace = workload.namespace
    pods = await cluster.pods(namespace, seen.selector, limit=LISTED_PODS)
    own = {pod.name for pod in pods if belongs(pod, workload)}
    endpoints = tuple(each for each in await cluster.endpoints(namespace) if each.pod in own)
    led_to = {each.service for each in endpoints}
    services: list[Service] = []
    left = ["an EndpointSlice that belongs to no Service names its pods"] if "" in led_to else []
    for service in await cluster.services(namespace):
        name, selected = service.meta.ref.name, Selector(labels=uncut(service.selector))
        if not selected.labels and name in led_to:
            left.append(f"{name}: it has no selector, its endpoints are written by somebody else")
        elif is_cut(service) and service.meta.annotations.get(WORKLOAD) == str(workload):
            services.append(service)
        elif selected.labels and (name in led_to or selected.selects(seen.pod_labels)):
            others = await _others(cluster, workload, selected)
            left.append(f"{name}: {others}") if others else services.append(service)
    return Serving(services=tuple(services), left=tuple(sorted(left)), endpoints=endpoints)


async def _others(cluster: KubernetesCluster, workload: Workload, selected: Selector) -> str:
    """Say which pods of others a Service selects, empty when none."""
    pods = await cluster.pods(workload.namespace, selected, limit=LISTED_PODS)
    if len(pods) >= LISTED_PODS:
        return f"it selects {LISTED_PODS} pods or more, not judged by a part"
    strangers = sorted(pod.name for pod in pods if not belongs(pod, workload))
    if not strangers:
        return ""
    named = ", ".join(strangers[:NAMED])
    return f"it also selects {len(strangers)} pods of others ({named}{', ...' if len(strangers) > NAMED else ''})"


def is_cut(service: Service) -> bool:
    """Tell whether the Service selects nothing because of us."""
    return CUT in service.selector


def uncut(selector: Mapping[str, str]) -> dict[str, str]:
    """Return a selector without our key."""
    return {key: value for key, value in selector.items() if key != CUT}


def holders(meta: ObjectMeta) -> tuple[str, ...]:
    """Return the keys of the steps that hold the cut."""
    return tuple(filter(None, meta.annotations.get(HOLDERS, "").split(",")))


def planned(service: Service) -> Cut:
    """Return the cut of a Service, as it is to be or as it is already."""
    return Cut(service=service.meta.ref.name, uid=service.meta.uid, selector=uncut(service.selector))


def cutting(step_key: str, workload: Workload, seen: Service, cut: Cut) -> JsonPatch | None:
    """Return the patch that cuts, or joins a cut that stands; None when this step holds it already.

    Raises ConflictError when the selector is no longer the one that the step was decided on.
    """
    held = holders(seen.meta)
    if step_key in held:
        return None
    if seen.selector == cut.selector:
        kept: tuple[str, ...] = ()
        write = [test(SELECTOR, _json(cut.selector)), add(SELECTOR + pointer(CUT), CUT_VALUE)]
    elif seen.selector == cut.cut_selector:
        kept = held
        write = [test(SELECTOR, _json(cut.cut_selector))]
    else:
        raise ConflictError(f"{seen.meta.ref} was given another selector since this step looked at it")
    marks = {
        STEP: step_key,
        HOLDERS: ",".join((*kept, step_key)),
        SELECTED: json.dumps(cut.selector, sort_keys=True),
        WORKLOAD: str(workload),
    }
    return [*write, *annotate(METADATA_ANNOTATIONS, seen.meta.annotations, marks)]


def restoring(seen: Service, cut: Cut, mark: Mapping[str, str]) -> JsonPatch:
    """Return the patch that puts the selector back where ours stands, and takes the marks of the cut away."""
    ours = [key for key in (HOLDERS, SELECTED, WORKLOAD) if key in seen.meta.annotations]
    return [
        test(SELECTOR, _json(cut.cut_selector)),
        replace(SELECTOR, _json(cut.selector)),
        *(remove(METADATA_ANNOTATIONS + pointer(key)) for key in ours),
        *annotate(METADATA_ANNOTATIONS, seen.meta.annotations, mark),
    ]


def looker(cluster: KubernetesCluster, namespace: str, name: str) -> Look[Service]:
    """Return the reader of one Service."""

    async def look() -> Service:
        return await cluster.service(namespace, name)

    return look


async def cut_off(ctx: StepContext, cluster: KubernetesCluster, workload: Workload, cut: Cut) -> None:
    """Cut one Service; does nothing when this step holds the cut already, or the Service is gone."""
    look = looker(cluster, workload.namespace, cut.service)
    try:
        await claim(cluster, ctx.fence, look)
        await change(cluster, ctx.fence, cut.uid, look, lambda seen: cutting(ctx.step_key, workload, seen, cut))
    except NotFoundError:
        return


async def restore(ctx: StepContext, cluster: KubernetesCluster, namespace: str, cut: Cut) -> None:
    """Restore a Service's selector, whoever holds the cut; does nothing where it is not cut any more.

    Raises ConflictError when somebody has given it another selector since.
    """
    look = looker(cluster, namespace, cut.service)

    def build(seen: Service) -> JsonPatch | None:
        if not is_cut(seen):
            return None
        if seen.selector != cut.cut_selector:
            raise ConflictError(f"{seen.meta.ref} was given another selector since it was cut")
        return restoring(seen, cut, {STEP: ctx.step_key})

    try:
        if is_cut(await look()):
            await claim(cluster, ctx.fence, look)
            await change(cluster, ctx.fence, cut.uid, look, build)
    except NotFoundError:
        return


async def let_go(ctx: StepContext, cluster: KubernetesCluster, namespace: str, cut: Cut) -> Undone:
    """Take this step's hold off a Service, and restore its selector when nobody else holds the cut."""
    look = looker(cluster, namespace, cut.service)
    try:
        answer = _undone(await look(), cut, ctx.step_key)
        if answer is not None:
            return answer
        await claim(cluster, ctx.fence, look)

        def build(seen: Service) -> JsonPatch | None:
            nonlocal answer
            answer = _undone(seen, cut, ctx.step_key)
            return None if answer is not None else _release(seen, cut, ctx.step_key)

        await change(cluster, ctx.fence, cut.uid, look, build)
    except NotFoundError:
        return Undone.NOTHING_TO_UNDO
    return answer or Undone.UNDONE


def _undone(seen: Service, cut: Cut, step_key: str) -> Undone | None:
    """Answer for a Service at which there is nothing to do; None where this step's cut stands."""
    if seen.meta.uid != cut.uid:
        return Undone.DRIFTED if is_cut(seen) else Undone.NOTHING_TO_UNDO
    if seen.meta.annotations.get(UNDONE) == step_key:
        return Undone.UNDONE
    if step_key not in holders(seen.meta) or seen.selector == cut.selector:
        return Undone.NOTHING_TO_UNDO
    return None if seen.selector == cut.cut_selector else Undone.DRIFTED


def _release(seen: Service, cut: Cut, step_key: str) -> JsonPatch:
    others = [each for each in holders(seen.meta) if each != step_key]
    if not others:
        return restoring(seen, cut, {UNDONE: step_key})
    marks = {HOLDERS: ",".join(others), UNDONE: step_key}
    return [test(SELECTOR, _json(cut.cut_selector)), *annotate(METADATA_ANNOTATIONS, seen.meta.annotations, marks)]


def _json(selector: Mapping[str, str]) -> JsonValue:
    return dict(selector)
