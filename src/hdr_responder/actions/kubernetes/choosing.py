"""Which pods a step reads: those of one workload, or those of a namespace, all or by their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from hdr_responder.actions.contract import Parameters, Permission
from hdr_responder.actions.kubernetes.rights import namespace_rights, workload_rights
from hdr_responder.domain.ports.kubernetes import KubernetesCluster, Pod, PodState, Selector
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import NotFoundError

_LABEL = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DNS_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"

Namespace = Annotated[str, Field(pattern=f"^{_DNS_LABEL}$")]
PodName = Annotated[str, Field(pattern=f"^{_DNS_NAME}$", max_length=253)]
ContainerName = Annotated[str, Field(pattern=f"^{_DNS_LABEL}$")]
LabelKey = Annotated[str, Field(pattern=f"^({_DNS_NAME}/)?{_LABEL}$", max_length=317)]
LabelValue = Annotated[str, Field(pattern=f"^({_LABEL})?$")]


class PodChoice(Parameters):
    """Base of parameters that choose pods, in exactly one of two ways."""

    shorthand = "workload"
    workload: Workload | None = Field(default=None, description="The pods of this workload.")
    cluster: str | None = Field(
        default=None, min_length=1, description="Instead of a workload: the cluster of the namespace."
    )
    namespace: Namespace | None = Field(default=None, description="Instead of a workload: the pods of this namespace.")
    labels: dict[LabelKey, LabelValue] = Field(
        default={}, max_length=20, description="With a namespace: only pods that carry all these labels."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, given: Any) -> Any:
        """Judge by what is written, so that a document is refused although its expressions have no value yet."""
        if not isinstance(given, Mapping):
            return given
        written = {key for key, value in given.items() if value is not None and value != {}}
        by_namespace = written & {"cluster", "namespace", "labels"}
        if "workload" in written and by_namespace:
            raise ValueError(f"either workload or namespace chooses the pods: {', '.join(sorted(by_namespace))} too")
        if "workload" not in written and not {"cluster", "namespace"} <= written:
            raise ValueError("a workload, or a cluster and a namespace, must choose the pods")
        return given


def choice_rights(params: PodChoice) -> tuple[Permission, ...]:
    """Return the rights to find the pods; none where a step before tells which they are."""
    looked_up = workload_rights(params.workload, "get") if params.workload else ()
    return (*looked_up, *rights_where_chosen(params, "pods", "list"))


def rights_where_chosen(params: PodChoice, resource: str, *verbs: str) -> tuple[Permission, ...]:
    """Return the rights to ``verbs`` on ``resource`` in the namespace of the pods."""
    chosen = params.workload
    cluster = chosen.cluster if chosen else params.cluster
    namespace = chosen.namespace if chosen else params.namespace
    if cluster is None or namespace is None:
        return ()
    return namespace_rights(cluster, namespace, resource, *verbs)


def cluster_of(params: PodChoice) -> str:
    """Return the cluster's name."""
    name = params.workload.cluster if params.workload else params.cluster
    assert name is not None
    return name


async def chosen_pods(cluster: KubernetesCluster, params: PodChoice) -> list[PodState]:
    """Read the pods; a workload that does not exist raises NotFoundError, a namespace without pods has none."""
    if params.workload:
        return await pods_of(cluster, params.workload)
    assert params.namespace is not None
    return list(await cluster.pod_states(params.namespace, Selector(labels=params.labels)))


async def pods_of(cluster: KubernetesCluster, workload: Workload) -> list[PodState]:
    """Read the pods that the workload's controller owns."""
    state = await cluster.workload(workload)
    found = await cluster.pod_states(workload.namespace, state.selector)
    return [each for each in found if belongs(each.pod, workload)]


def pod_named(pods: Iterable[PodState], workload: Workload, name: str) -> PodState:
    """Return the pod of this name among those of a workload; raises NotFoundError when it is none of them."""
    for each in pods:
        if each.pod.name == name:
            return each
    raise NotFoundError(f"pod {name} is none of {workload} in namespace {workload.namespace}")


def belongs(pod: Pod, workload: Workload) -> bool:
    """Tell whether the workload's controller owns the pod; a selector alone may also match strangers.

    A deployment's pods belong to its ReplicaSets, which are called ``<deployment>-<template hash>``.
    """
    kind, _, owner = (pod.owner or "").partition("/")
    match workload.kind:
        case "deployment":
            return kind == "ReplicaSet" and owner.rpartition("-")[0] == workload.name
        case "statefulset":
            return kind == "StatefulSet" and owner == workload.name
        case "daemonset":
            return kind == "DaemonSet" and owner == workload.name


def worst_first(pods: Iterable[PodState]) -> list[PodState]:
    """Order pods so that those worth reading come first: not running, not ready, often restarted, then by name.

    Those that completed their work come last.
    """
    return sorted(pods, key=lambda each: (*_well(each), -each.pod.restarts, each.pod.name))


def _well(state: PodState) -> tuple[bool, bool, bool]:
    return state.completed, state.running and not state.deleted, state.ready
