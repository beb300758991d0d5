"""The API server's JSON as the domain's objects: the only place that knows where Kubernetes keeps what.

Absent fields mean their API defaults (a status that was never written counts as zeros).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from hdr_responder.domain.ports.kubernetes import (
    MANAGER,
    Autoscaler,
    Condition,
    Endpoint,
    NetworkPolicy,
    Note,
    ObjectMeta,
    ObjectRef,
    Pod,
    Requirement,
    Selector,
    Service,
    WorkloadState,
)
from hdr_responder.domain.workloads import WorkloadKind

Json = Mapping[str, Any]

RESOURCES: dict[WorkloadKind, str] = {
    "deployment": "apps/deployments",
    "statefulset": "apps/statefulsets",
    "daemonset": "apps/daemonsets",
}
KINDS: dict[WorkloadKind, str] = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}
AUTOSCALERS = "autoscaling/horizontalpodautoscalers"
NETWORK_POLICIES = "networking.k8s.io/networkpolicies"
PODS = "pods"
SERVICES = "services"
ENDPOINT_SLICES = "discovery.k8s.io/endpointslices"
API_OBJECTS = {
    "apps/deployments": ("apps/v1", "Deployment"),
    "apps/statefulsets": ("apps/v1", "StatefulSet"),
    "apps/daemonsets": ("apps/v1", "DaemonSet"),
    AUTOSCALERS: ("autoscaling/v2", "HorizontalPodAutoscaler"),
    NETWORK_POLICIES: ("networking.k8s.io/v1", "NetworkPolicy"),
    PODS: ("v1", "Pod"),
    SERVICES: ("v1", "Service"),
    "batch/cronjobs": ("batch/v1", "CronJob"),
}
"""API version and kind of each resource that we change, as references to its objects spell them."""


def object_meta(resource: str, item: Json) -> ObjectMeta:
    """Read ``metadata``."""
    meta: Json = item["metadata"]
    found = ObjectMeta(
        ref=ObjectRef(resource=resource, namespace=meta["namespace"], name=meta["name"]),
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        generation=meta.get("generation", 0),
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        controller=controller(meta),
    )
    return dataclasses.replace(found, gitops=gitops_owner(found))


def conditions(item: Json) -> tuple[Condition, ...]:
    """Read ``status.conditions``."""
    found: Sequence[Json] = (item.get("status") or {}).get("conditions") or ()
    return tuple(map(_condition, found))


def _condition(item: Json) -> Condition:
    changed: Any = item.get("lastTransitionTime")
    return Condition(
        type=item["type"],
        status=item["status"],
        reason=item.get("reason") or "",
        message=item.get("message") or "",
        since=datetime.fromisoformat(changed) if changed else None,
    )


def controller(meta: Json) -> str | None:
    """Return ``Kind/name`` of the owner that controls the object."""
    owners: Sequence[Json] = meta.get("ownerReferences") or ()
    return next((f"{owner['kind']}/{owner['name']}" for owner in owners if owner.get("controller")), None)


def selector(found: Json | None) -> Selector:
    """Read a LabelSelector."""
    found = found or {}
    return Selector(
        labels=found.get("matchLabels") or {},
        requirements=tuple(
            Requirement(key=each["key"], operator=each["operator"], values=tuple(each.get("values") or ()))
            for each in found.get("matchExpressions") or ()
        ),
    )


def selector_text(wanted: Selector) -> str:
    """Write a selector as the ``labelSelector`` query takes it."""
    terms = [f"{key}={value}" for key, value in sorted(wanted.labels.items())]
    for each in wanted.requirements:
        match each.operator:
            case "Exists":
                terms.append(each.key)
            case "DoesNotExist":
                terms.append(f"!{each.key}")
            case operator:
                terms.append(f"{each.key} {operator.lower()} ({','.join(each.values)})")
    return ",".join(terms)


def workload_state(kind: WorkloadKind, item: Json) -> WorkloadState:
    """Read a Deployment, StatefulSet or DaemonSet."""
    spec: Json = item["spec"]
    template: Json = spec["template"]
    template_meta: Json = template.get("metadata") or {}
    strategy: Json = spec.get("strategy" if kind == "deployment" else "updateStrategy") or {}
    rolling: Json = strategy.get("rollingUpdate") or {}
    status: Json = item.get("status") or {}
    return WorkloadState(
        meta=object_meta(RESOURCES[kind], item),
        selector=selector(spec["selector"]),
        pod_labels=template_meta.get("labels") or {},
        template_annotations=template_meta.get("annotations"),
        host_network=bool((template.get("spec") or {}).get("hostNetwork", False)),
        replicas=None if kind == "daemonset" else spec.get("replicas", 1),
        observed_generation=status.get("observedGeneration", 0),
        stalled=_stalled(status),
        paused=bool(spec.get("paused", False)),
        update_strategy=strategy.get("type", "RollingUpdate"),
        partition=rolling.get("partition") or 0,
        max_unavailable=rolling.get("maxUnavailable"),
        max_surge=rolling.get("maxSurge"),
        **_counts(kind, spec, status),
    )


def _counts(kind: WorkloadKind, spec: Json, status: Json) -> dict[str, int]:
    if kind == "daemonset":
        return {
            "desired": status.get("desiredNumberScheduled", 0),
            "total": status.get("currentNumberScheduled", 0),
            "updated": status.get("updatedNumberScheduled", 0),
            "available": status.get("numberAvailable", 0),
        }
    return {
        "desired": spec.get("replicas", 1),
        "total": status.get("replicas", 0),
        "updated": status.get("updatedReplicas", 0),
        "available": status.get("availableReplicas", 0),
    }


def _stalled(status: Json) -> str | None:
    conditions: Sequence[Json] = status.get("conditions") or ()
    for condition in conditions:
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return str(condition.get("message") or "ProgressDeadlineExceeded")
    return None


def autoscaler(item: Json) -> Autoscaler:
    """Read a HorizontalPodAutoscaler (autoscaling/v2)."""
    spec: Json = item["spec"]
    return Autoscaler(
        meta=object_meta(AUTOSCALERS, item),
        min_replicas=spec.get("minReplicas", 1),
        max_replicas=spec["maxReplicas"],
        target=f"{spec['scaleTargetRef']['kind']}/{spec['scaleTargetRef']['name']}",
        metrics=tuple(spec.get("metrics") or ()),
    )


def scales(item: Json, kind: WorkloadKind, name: str) -> bool:
    """Tell whether an autoscaler's target is the workload."""
    target: Json = item["spec"]["scaleTargetRef"]
    group = str(target.get("apiVersion", "")).partition("/")[0]
    return target.get("kind") == KINDS[kind] and target.get("name") == name and group in {"apps", ""}


def network_policy(item: Json) -> NetworkPolicy:
    """Read a NetworkPolicy; without ``policyTypes`` it isolates ingress, and egress when it has egress rules."""
    spec: Json = item.get("spec") or {}
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return NetworkPolicy(
        meta=object_meta(NETWORK_POLICIES, item),
        pods=selector(spec.get("podSelector")),
        isolates_ingress="Ingress" in types,
        isolates_egress="Egress" in types,
        allows=bool(spec.get("ingress")) or bool(spec.get("egress")),
    )


def pod(item: Json) -> Pod:
    """Read a Pod."""
    meta: Json = item["metadata"]
    status: Json = item.get("status") or {}
    conditions: Sequence[Json] = status.get("conditions") or ()
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        owner=controller(meta),
        containers=tuple(each["name"] for each in item["spec"]["containers"]),
        phase=status.get("phase", "Unknown"),
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
        restarts=sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or ()),
    )


def service(item: Json) -> Service:
    """Read a Service; Kubernetes ignores the selector of an ExternalName."""
    spec: Json = item.get("spec") or {}
    selected = {} if spec.get("type") == "ExternalName" else spec.get("selector") or {}
    return Service(meta=object_meta(SERVICES, item), selector=selected)


def endpoints(item: Json) -> tuple[Endpoint, ...]:
    """Read the pods of an EndpointSlice, which says in a label which Service it belongs to (discovery/v1)."""
    owner = (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
    targets = [each.get("targetRef") or {} for each in item.get("endpoints") or ()]
    return tuple(Endpoint(service=owner, pod=each["name"]) for each in targets if each.get("kind") == "Pod")


def gitops_owner(meta: ObjectMeta) -> str | None:
    """Name the GitOps object whose tracking marks the metadata carries.

    Argo CD tracks by the annotation ``argocd.argoproj.io/tracking-id`` (``<application>:<group>/...``) or the label
    ``argocd.argoproj.io/instance``; Flux by ``<controller>.toolkit.fluxcd.io/{name,namespace}`` labels. Argo CD's
    default label ``app.kubernetes.io/instance`` is also every Helm chart's and proves nothing.
    """
    tracked = meta.annotations.get("argocd.argoproj.io/tracking-id")
    application = tracked.partition(":")[0] if tracked else meta.labels.get("argocd.argoproj.io/instance")
    if application:
        return f"Argo CD application {application}"
    for prefix, kind in (("kustomize", "Kustomization"), ("helm", "HelmRelease")):
        name = meta.labels.get(f"{prefix}.toolkit.fluxcd.io/name")
        if name:
            namespace = meta.labels.get(f"{prefix}.toolkit.fluxcd.io/namespace", meta.ref.namespace)
            return f"Flux {kind} {namespace}/{name}"
    return None


def event(about: ObjectMeta, note: Note) -> dict[str, JsonValue]:
    """Write a note as a core/v1 Event, whose name is the same for the same note on the same object."""
    version, kind = API_OBJECTS[about.ref.resource]
    at = note.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    digest = hashlib.sha256(f"{about.uid} {note.key}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about.ref.name[:200].rstrip('-.')}.{digest}", "namespace": about.ref.namespace},
        "involvedObject": {
            "apiVersion": version,
            "kind": kind,
            "namespace": about.ref.namespace,
            "name": about.ref.name,
            "uid": about.uid,
        },
        "reason": note.reason,
        "message": note.message[:1024],
        "type": "Normal",
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
