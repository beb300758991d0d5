"""The API server's JSON of pod templates, revisions, managed fields and events as the domain's objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hdr_responder.adapters.kubernetes.calls import at
from hdr_responder.domain.ports.kubernetes import (
    ContainerTemplate,
    EnvVariable,
    FieldWriter,
    ObjectEvent,
    PodTemplate,
    Revision,
)

Json = Mapping[str, Any]

TEMPLATE_HASH = "pod-template-hash"
"""The label that a Deployment adds to the template of each of its ReplicaSets."""
REVISION = "deployment.kubernetes.io/revision"
EARLIER_REVISIONS = "deployment.kubernetes.io/revision-history"
"""Numbers that a ReplicaSet had before it was gone back to, joined by commas."""
CHANGE_CAUSE = "kubernetes.io/change-cause"
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def pod_template(item: Json) -> PodTemplate:
    """Read a pod template, of a workload, a ReplicaSet or a ControllerRevision alike.

    Left out is what the cluster adds to a revision's copy: the template hash, and ``$patch``, which tells a merge that
    the template is to be replaced.
    """
    meta: Json = item.get("metadata") or {}
    spec: Json = item.get("spec") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != TEMPLATE_HASH}
    plain = {key: value for key, value in meta.items() if value is not None and key != "labels"}
    return PodTemplate(
        labels=labels,
        annotations=meta.get("annotations") or {},
        containers=(
            *(_container(each) for each in spec.get("containers") or ()),
            *(_container(each, initial=True) for each in spec.get("initContainers") or ()),
        ),
        other={key: value for key, value in spec.items() if key not in {"containers", "initContainers"}},
        manifest={"metadata": {**plain, **({"labels": labels} if labels else {})}, "spec": dict(spec)},
    )


def _container(item: Json, *, initial: bool = False) -> ContainerTemplate:
    resources: Json = item.get("resources") or {}
    read = {"name", "image", "env", "resources"}
    other = {key: value for key, value in item.items() if key not in read}
    rest = {key: value for key, value in resources.items() if key not in {"requests", "limits"}}
    return ContainerTemplate(
        name=item["name"],
        image=item.get("image", ""),
        environment=tuple(_variable(each) for each in item.get("env") or ()),
        requests=resources.get("requests") or {},
        limits=resources.get("limits") or {},
        other={**other, **({"resources": rest} if rest else {})},
        initial=initial,
    )


def _variable(item: Json) -> EnvVariable:
    source = item.get("valueFrom")
    return EnvVariable(name=item["name"], value=None if source else item.get("value", ""), source=source)


def _replica_set(item: Json) -> Revision | None:
    """Read a ReplicaSet; None for one that its Deployment has not numbered (yet)."""
    annotations: Json = item["metadata"].get("annotations") or {}
    number = _number(annotations.get(REVISION))
    if number is None:
        return None
    earlier = [_number(each) for each in str(annotations.get(EARLIER_REVISIONS, "")).split(",")]
    return _revision(item, number, item["spec"]["template"], [n for n in earlier if n is not None])


def _controller_revision(item: Json) -> Revision | None:
    """Read a ControllerRevision; None for one that holds no template."""
    template = at(item, "data", "spec", "template")
    return _revision(item, int(item["revision"]), template, []) if template else None


def _revision(item: Json, number: int, template: Json, earlier: Sequence[int]) -> Revision:
    meta: Json = item["metadata"]
    return Revision(
        name=meta["name"],
        number=number,
        first_number=min([number, *earlier]),
        created=_time(meta.get("creationTimestamp")) or LONG_AGO,
        change_cause=(meta.get("annotations") or {}).get(CHANGE_CAUSE),
        template=pod_template(template),
    )


REPLICA_SETS: tuple[str, Callable[[Json], Revision | None]] = ("apps/replicasets", _replica_set)
CONTROLLER_REVISIONS: tuple[str, Callable[[Json], Revision | None]] = ("apps/controllerrevisions", _controller_revision)


def field_writers(item: Json) -> tuple[FieldWriter, ...]:
    """Read ``metadata.managedFields``, the latest first."""
    entries: Sequence[Json] = item["metadata"].get("managedFields") or ()
    writers = [
        FieldWriter(
            manager=each.get("manager") or "unknown",
            operation=each.get("operation", ""),
            at=_time(each.get("time")),
            fields=_fields(each.get("fieldsV1") or {}),
            subresource=each.get("subresource", ""),
        )
        for each in entries
    ]
    return tuple(sorted(writers, key=lambda each: each.at or LONG_AGO, reverse=True))


def _fields(owned: Json) -> tuple[str, ...]:
    """Name what is owned two levels deep: ``spec.replicas``, and a ``status`` as a whole."""
    names: set[str] = set()
    for outer, inner in owned.items():
        name = outer.removeprefix("f:")
        below = [key.removeprefix("f:") for key in inner if key.startswith("f:")] if name != "status" else []
        names |= {f"{name}.{key}" for key in below} or {name}
    return tuple(sorted(names))


def object_event(item: Json) -> ObjectEvent:
    """Read an Event, of the old form (``lastTimestamp``, ``count``) or the new one (``eventTime``, ``series``)."""
    series: Json = item.get("series") or {}
    times = (series.get("lastObservedTime"), item.get("lastTimestamp"), item.get("eventTime"))
    created = item["metadata"].get("creationTimestamp")
    return ObjectEvent(
        at=next((seen for seen in map(_time, (*times, created)) if seen is not None), LONG_AGO),
        reason=item.get("reason") or "",
        message=item.get("message") or "",
        source=item.get("reportingComponent") or (item.get("source") or {}).get("component") or "",
        count=series.get("count") or item.get("count") or 1,
        warning=item.get("type") == "Warning",
    )


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


def _number(text: Any) -> int | None:
    try:
        return int(text)
    except (TypeError, ValueError):
        return None
