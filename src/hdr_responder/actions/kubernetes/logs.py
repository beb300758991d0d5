"""Keeps what the pods last said before anything is restarted, since a restart takes the evidence away."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta

from pydantic import Field

from hdr_responder.actions.contract import Permission, Read, Result, StepContext
from hdr_responder.actions.kubernetes.choosing import (
    PodChoice,
    belongs,
    choice_rights,
    chosen_pods,
    cluster_of,
    rights_where_chosen,
)
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.kubernetes import KubernetesCluster, Log, LogQuery, Pod
from hdr_responder.errors import ConflictError, NotFoundError

__all__ = ["Logs", "LogsParameters", "LogsResult", "belongs", "containers_of", "in_trouble_first"]

MAX_CONTAINERS = 40
MAX_LOG_BYTES = 1024 * 1024
"""Most bytes read of one container's log: its end."""
MAX_STEP_BYTES = 8 * 1024 * 1024
"""Most bytes read by one step; containers that come after them are reported as skipped."""


class LogsParameters(PodChoice):
    """Whose logs, and which lines to keep."""

    tail: int = Field(default=100, ge=1, le=10_000, description="Last lines of each container.")
    since: Duration | None = Field(
        default=None, gt=timedelta(0), description="Only lines younger than this (whole seconds); all without it."
    )
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
    cut: list[str] = Field(
        default=[], description="Containers that had more than could be kept (1 MiB, 8 MiB in all): their end."
    )
    summary: str = ""


class Logs(Read[LogsParameters, LogsResult]):
    """Keeps the last lines of the workload's pods with the incident."""

    name = "kubernetes.logs"
    summary = "Keep the last log lines of the pods of a workload or a namespace with the incident."
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
        return (*choice_rights(params), *rights_where_chosen(params, "pods/log", "get"))

    async def execute(self, ctx: StepContext, params: LogsParameters) -> LogsResult:
        """Read and keep; a container without a log is reported, not an error."""
        cluster = ctx.systems.cluster(cluster_of(params))
        found = in_trouble_first(each.pod for each in await chosen_pods(cluster, params))
        chosen = found[: params.pods]
        lines = matched = 0
        left = MAX_STEP_BYTES
        artifacts: list[str] = []
        skipped, cut = _not_read(chosen, params.container), list[str]()
        for pod, container in containers_of(chosen, params.container):
            try:
                log = await _read(cluster, pod, container, params, left)
            except (ConflictError, NotFoundError) as e:
                skipped.append(f"{pod.name}/{container}: {e}")
                continue
            left -= len(log.content)
            if log.cut:
                cut.append(f"{pod.name}/{container}")
            read = log.content.splitlines()[-params.tail :]
            kept = [line for line in read if params.grep is None or params.grep.encode() in line]
            lines += len(read)
            matched += len(kept)
            if kept:
                content = b"\n".join(kept) + b"\n"
                artifacts.append(await ctx.evidence.keep(f"{pod.name}.{container}.log", "text/plain", content))
        names = [pod.name for pod in chosen]
        return LogsResult(
            lines=lines,
            matched=matched,
            artifacts=artifacts,
            pods=names,
            skipped=skipped,
            cut=cut,
            summary=_told(params, lines, matched, names, len(found)) + (f", {len(cut)} cut" if cut else ""),
        )


def _not_read(pods: Iterable[Pod], only: str | None) -> list[str]:
    """Tell which containers are not read at all: those that a pod does not have, and those that are too many."""
    pods = list(pods)
    missing = [
        f"{pod.name}/{only}: the pod has no such container" for pod in pods if only and only not in pod.containers
    ]
    more = sum(len(pod.containers) if only is None else pod.containers.count(only) for pod in pods) - MAX_CONTAINERS
    return [*missing, f"{more} more containers: one step reads {MAX_CONTAINERS}"] if more > 0 else missing


async def _read(cluster: KubernetesCluster, pod: Pod, container: str, params: LogsParameters, left: int) -> Log:
    """Read the last lines of one container; where its bytes run short, the first of them is the end of a line."""
    max_bytes = min(MAX_LOG_BYTES, left)
    if max_bytes <= 0:
        raise ConflictError(f"not read: this step has read {MAX_STEP_BYTES // 1024**2} MiB already")
    return await cluster.pod_log(
        LogQuery(
            namespace=pod.namespace,
            pod=pod.name,
            container=container,
            tail=params.tail,
            max_bytes=max_bytes,
            since_seconds=max(math.ceil(params.since.total_seconds()), 1) if params.since else None,
            previous=params.previous,
        )
    )


def _told(params: LogsParameters, lines: int, matched: int, pods: list[str], found: int) -> str:
    kept = f"{lines} lines" if params.grep is None else f"{matched} of {lines} lines match"
    of = f"{len(pods)} of {found} pods" if len(pods) < found else f"{len(pods)} pod{'' if len(pods) == 1 else 's'}"
    return f"{kept}, from {of}"


def in_trouble_first(pods: Iterable[Pod]) -> list[Pod]:
    """Order pods so that those worth reading come first: not ready, then often restarted, then by name.

    Those that completed their work are in no trouble.
    """
    return sorted(pods, key=lambda pod: (pod.ready or pod.phase == "Succeeded", -pod.restarts, pod.name))


def containers_of(pods: Iterable[Pod], only: str | None) -> list[tuple[Pod, str]]:
    """Return the containers to read, at most `MAX_CONTAINERS`."""
    every = [(pod, name) for pod in pods for name in pod.containers if only in {None, name}]
    return every[:MAX_CONTAINERS]
