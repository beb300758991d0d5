"""Writes a workload down as an operator reads it (as ``kubectl describe`` does), without anything that may be secret.

Left out are values of environment variables, arguments of commands, annotations (they repeat whole manifests), headers
of probes, and all of a volume's source but its kind and name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hdr_responder.actions.kubernetes.pods import why_not_ready
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.ports.kubernetes import (
    Condition,
    ContainerState,
    ContainerTemplate,
    DescribedWorkload,
    Ended,
    EnvVariable,
    ObjectEvent,
    PodState,
    PodTemplate,
    Selector,
    WorkloadState,
)
from hdr_responder.domain.workloads import Workload

LINE_LIMIT = 1000
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_NAMES = ("secretName", "claimName", "name")
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAbout:
    """An Event and the object that it is about, as people call it (``pod neural-hdr-1``)."""

    about: str
    event: ObjectEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Everything that a description is written from; ``pods`` are the worst of ``total``, events the newest last."""

    workload: Workload
    seen: DescribedWorkload
    pods: Sequence[PodState]
    total: int
    events: Sequence[EventAbout]
    now: datetime


def written(described: Described) -> str:
    """Return the description as text."""
    return "".join(f"{line[:LINE_LIMIT]}\n" for line in _lines(described))


def _lines(described: Described) -> Iterator[str]:
    templated = described.seen.templated
    yield f"{described.workload} in namespace {described.workload.namespace}"
    yield from _state(templated.state)
    yield "Conditions:"
    for each in described.seen.conditions:
        yield f"  {_condition(each)}"
    yield from _template(templated.template)
    yield f"Pods ({len(described.pods)} of {described.total}, the worst first):"
    for pod in described.pods:
        yield from _pod(pod, described.now)
    yield "Events (the newest last):"
    for found in described.events:
        yield f"  {_event(found)}"


def _condition(condition: Condition) -> str:
    since = f" since {_time(condition.since)}" if condition.since else ""
    why = ": ".join(each for each in (condition.reason, _flat(condition.message)) if each)
    return f"{condition.type} {condition.status}{since} {why}".rstrip()


def _state(state: WorkloadState) -> Iterator[str]:
    counts = f"{state.desired} desired, {state.total} total, {state.updated} updated, {state.available} available"
    yield f"  replicas: {counts}"
    bounds = {"max unavailable": state.max_unavailable, "max surge": state.max_surge, "partition": state.partition}
    told = ", ".join(f"{name} {value}" for name, value in bounds.items() if value)
    yield f"  updates: {state.update_strategy}" + (f" ({told})" if told else "") + (", PAUSED" if state.paused else "")
    yield f"  labels: {_pairs(state.meta.labels)}"
    yield f"  selector: {_selector(state.selector)}"
    owner = state.meta.gitops or state.meta.controller
    if owner:
        yield f"  owner: {owner}"


def _selector(selector: Selector) -> str:
    needed = [f"{each.key} {each.operator} {','.join(each.values)}".rstrip() for each in selector.requirements]
    return ", ".join([*(f"{key}={value}" for key, value in selector.labels.items()), *needed]) or "everything"


def _template(template: PodTemplate) -> Iterator[str]:
    yield "Pod template:"
    yield f"  labels: {_pairs(template.labels)}"
    for key, name in (("serviceAccountName", "service account"), ("priorityClassName", "priority class")):
        if key in template.other:
            yield f"  {name}: {template.other[key]}"
    for container in template.containers:
        yield from _container(container)
    volumes: Any = template.other.get("volumes") or ()
    for volume in volumes:
        yield f"  volume {volume['name']}: {_volume(volume)}"


def _container(container: ContainerTemplate) -> Iterator[str]:
    other: Mapping[str, Any] = container.other
    yield f"  {'initial container' if container.initial else 'container'} {container.name}"
    yield f"    image: {container.image}"
    ports = [f"{each['containerPort']}/{each.get('protocol', 'TCP')}" for each in other.get("ports") or ()]
    if ports:
        yield f"    ports: {', '.join(ports)}"
    yield f"    requests: {_pairs(container.requests)}"
    yield f"    limits: {_pairs(container.limits)}"
    for name in PROBES:
        if other.get(name):
            yield f"    {name.removesuffix('Probe')} probe: {_probe(other[name])}"
    names = [*map(_variable, container.environment), *map(_all_of, other.get("envFrom") or ())]
    yield f"    environment: {', '.join(names) or 'none'}"
    for mount in other.get("volumeMounts") or ():
        yield f"    mount {mount['mountPath']} from {mount['name']}{' (read only)' if mount.get('readOnly') else ''}"


def _probe(probe: Mapping[str, Any]) -> str:
    """Return what a probe asks and how patiently; of a command its program alone."""
    if probe.get("httpGet"):
        get = probe["httpGet"]
        asks = f"{get.get('scheme', 'HTTP')} GET :{get['port']}{str(get.get('path', '/')).partition('?')[0]}"
    elif probe.get("tcpSocket"):
        asks = f"TCP :{probe['tcpSocket']['port']}"
    elif probe.get("grpc"):
        asks = f"gRPC :{probe['grpc']['port']}"
    else:
        command = (probe.get("exec") or {}).get("command") or ["?"]
        asks = f"command {command[0]}"
    delay, period = probe.get("initialDelaySeconds", 0), probe.get("periodSeconds", 10)
    timeout, failures = probe.get("timeoutSeconds", 1), probe.get("failureThreshold", 3)
    return f"{asks}, after {delay} s, every {period} s, within {timeout} s, fails after {failures}"


def _variable(variable: EnvVariable) -> str:
    source: Mapping[str, Any] = variable.source or {}
    for kind, found in source.items():
        place = found.get("fieldPath") or found.get("resource") or f"{found.get('name')}/{found.get('key')}"
        return f"{variable.name} (from {kind.removesuffix('Ref').removesuffix('Key')} {place})"
    return variable.name


def _all_of(source: Mapping[str, Any]) -> str:
    kind = next((key for key in ("secretRef", "configMapRef") if source.get(key)), None)
    return f"all of {kind.removesuffix('Ref')} {source[kind].get('name')}" if kind else "all of something unknown"


def _volume(volume: Mapping[str, Any]) -> str:
    kind, source = next(((key, value) for key, value in volume.items() if key != "name"), ("unknown", None))
    named = source if isinstance(source, Mapping) else {}
    return " ".join([kind, *(str(named[key]) for key in _NAMES if key in named)][:2])


def _pod(state: PodState, now: datetime) -> Iterator[str]:
    pod = state.pod
    ready = "ready" if state.ready else "completed" if state.completed else f"not ready ({why_not_ready(state)})"
    age = format_duration((now - state.created) // SECOND * SECOND)
    yield f"  {pod.name}: {pod.phase}, {ready}, {pod.restarts} restarts, on {state.node or 'no node'}, {age} old"
    for condition in state.conditions:
        if condition.status != "True":
            yield f"    condition {_condition(condition)}"
    for each in state.containers:
        yield f"    {each.name}: {_container_state(each)}"


def _container_state(container: ContainerState) -> str:
    told = container.state + (f" ({container.why})" if container.why else "")
    now = f"{told} ({_end(container.ended)})" if container.ended else told
    last = f", the last run ended with {_end(container.last_ended)}" if container.last_ended else ""
    image = f", image {container.image}" if container.image else ""
    return f"{now}, {'ready' if container.ready else 'not ready'}, {container.restarts} restarts{last}{image}"


def _end(ended: Ended) -> str:
    at = f" at {_time(ended.at)}" if ended.at else ""
    return f"{ended.reason or 'no reason'}, exit code {ended.exit_code}{at}"


def _event(found: EventAbout) -> str:
    event = found.event
    kind = "Warning" if event.warning else "Normal"
    times = f" ({event.count} times)" if event.count > 1 else ""
    return f"{_time(event.at)} {kind} {event.reason}{times} {found.about}, by {event.source}: {_flat(event.message)}"


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(values.items())) or "none"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
