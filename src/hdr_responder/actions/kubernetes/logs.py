"""Keeps what the pods last said before anything is restarted, since a restart takes the evidence away."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.kubernetes.rights import rights, workload_rights
from hdr_responder.domain.ports.kubernetes import KubernetesCluster, LogQuery, Pod
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError, NotFoundError

LISTED_PODS = 200
MAX_CONTAINERS = 40
MAX_LOG_BYTES = 1024 * 1024
"""Most bytes kept of one container's log: its end."""


class LogsParameters(Parameters):
    """Which lines to keep."""

    workload: Workload
    tail: int = Field(default=100, ge=1, le=10_000, description="Last lines of each container.")
    grep: str | None = Field(default=None, min_length=1, description="Keep only lines that contain this literal text.")
    pods: int = Field(default=5, ge=1, le=20, description="Most pods read; those in trouble come first.")
    container: str | None = Field(default=None, description="Only this container; all of the pod without it.")
    previous: bool = Field(default=False, description="The run before the container's last restart.")


class LogsResult(Result):
    """What was kept."""

    lines: int = Field(description="Lines read.")
    matched: int = Field(description="Lines kept: all, or those that contain the grep text.")
    artifacts: list[str] = Field(description="Artifact ids, one a container with lines.")
    pods: list[str] = Field(description="Pods read.")
    skipped: list[str] = Field(description="Containers without a readable log, each with the reason.")


class Logs(Read[LogsParameters, LogsResult]):
    """Keeps the last lines of the workload's pods with the incident."""

    name = "kubernetes.logs"
    summary = "Keep the last log lines of a workload's pods with the incident."
    example = """\
id: logs
action: kubernetes.logs
with:
  workload: "${params.workload}"
  tail: 100
  grep: ERROR
"""
    parameters = LogsParameters
    result = LogsResult

    def permissions(self, params: LogsParameters) -> tuple[Permission, ...]:
        """Return the rights to find the pods and read their logs."""
        workload = params.workload
        return (
            *workload_rights(workload, "get"),
            *rights(workload, "pods", "list"),
            *rights(workload, "pods/log", "get"),
        )

    async def execute(self, ctx: StepContext, params: LogsParameters) -> LogsResult:
        """Read and keep; a container without a log is reported, not an error."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        state = await cluster.workload(workload)
        found = await cluster.pods(workload.namespace, state.selector, limit=LISTED_PODS)
        chosen = in_trouble_first(pod for pod in found if belongs(pod, workload))[: params.pods]
        lines = matched = 0
        artifacts: list[str] = []
        skipped: list[str] = []
        for pod, container in containers_of(chosen, params.container):
            try:
                read = await _read(cluster, pod, container, params)
            except (ConflictError, NotFoundError) as e:
                skipped.append(f"{pod.name}/{container}: {e}")
                continue
            kept = [line for line in read if params.grep is None or params.grep.encode() in line]
            lines += len(read)
            matched += len(kept)
            if kept:
                content = b"\n".join(kept) + b"\n"
                artifacts.append(await ctx.evidence.keep(f"{pod.name}.{container}.log", "text/plain", content))
        names = [pod.name for pod in chosen]
        return LogsResult(lines=lines, matched=matched, artifacts=artifacts, pods=names, skipped=skipped)


async def _read(cluster: KubernetesCluster, pod: Pod, container: str, params: LogsParameters) -> list[bytes]:
    log = await cluster.pod_log(
        LogQuery(
            namespace=pod.namespace,
            pod=pod.name,
            container=container,
            tail=params.tail,
            max_bytes=MAX_LOG_BYTES,
            previous=params.previous,
        )
    )
    return log.splitlines()[-params.tail :]


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


def in_trouble_first(pods: Iterable[Pod]) -> list[Pod]:
    """Order pods so that those worth reading come first: not ready, then often restarted, then by name."""
    return sorted(pods, key=lambda pod: (pod.ready, -pod.restarts, pod.name))


def containers_of(pods: Iterable[Pod], only: str | None) -> list[tuple[Pod, str]]:
    """Return the containers to read, at most `MAX_CONTAINERS`."""
    every = [(pod, name) for pod in pods for name in pod.containers if only in {None, name}]
    return every[:MAX_CONTAINERS]
