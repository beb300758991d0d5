"""Tells which pods of a workload use most memory or CPU (manual C2: the pod that leaks)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.kubernetes.choosing import belongs
from hdr_responder.actions.kubernetes.rights import rights, workload_rights
from hdr_responder.domain.ports.kubernetes import PodUsage
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import NotFoundError, TemporaryError

METRICS = "metrics.k8s.io/pods"
MEBIBYTE = 2**20


class TopParameters(Parameters):
    """Whose pods to weigh."""

    shorthand = "workload"
    workload: Workload
    by: Literal["memory", "cpu"] = Field(default="memory", description="What makes a pod the heaviest.")
    limit: int = Field(default=20, ge=1, le=500, description="Most pods listed, the heaviest; all are counted.")


class PodLoad(Result):
    """What one pod uses."""

    name: str
    cpu_cores: float
    memory_bytes: int = Field(description="Its working set.")


class TopResult(Result):
    """What the pods use."""

    pods: list[PodLoad] = Field(description="The heaviest first, at most limit.")
    heaviest: str = Field(description="Name of the pod that uses most of what was asked for.")
    cpu_cores: float = Field(description="Of all pods that were measured.")
    memory_bytes: int = Field(description="Of all pods that were measured.")
    unmeasured: list[str] = Field(description="Pods without a measurement, such as those that just started.")
    summary: str


class Top(Read[TopParameters, TopResult]):
    """Reads what the pods of a workload use."""

    name = "kubernetes.top"
    summary = "Tell what the pods of a workload use, and which uses most memory or CPU."
    example = """\
id: top
action: kubernetes.top
with:
  workload: "${params.workload}"
  by: memory
"""
    parameters = TopParameters
    result = TopResult

    def permissions(self, params: TopParameters) -> tuple[Permission, ...]:
        """Return the rights to find the pods and read what they use."""
        workload = params.workload
        return (
            *workload_rights(workload, "get"),
            *rights(workload, "pods", "list"),
            *rights(workload, METRICS, "list"),
        )

    async def execute(self, ctx: StepContext, params: TopParameters) -> TopResult:
        """Read; raises NotFoundError for a workload without pods, TemporaryError when none was measured yet."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        selector = (await cluster.workload(workload)).selector
        pods = [each for each in await cluster.pod_states(workload.namespace, selector) if belongs(each.pod, workload)]
        used = {each.name: each for each in await cluster.pod_usage(workload.namespace, selector)}
        names = sorted(each.pod.name for each in pods if not each.completed)
        if not names:
            raise NotFoundError(f"{workload} in namespace {workload.namespace} has no pods to measure")
        measured = heaviest_first((used[name] for name in names if name in used), params.by)
        if not measured:
            raise TemporaryError(f"no pod of {workload} was measured yet by metrics-server")
        return TopResult(
            pods=[
                PodLoad(name=each.name, cpu_cores=each.cpu_cores, memory_bytes=each.memory_bytes)
                for each in measured[: params.limit]
            ],
            heaviest=measured[0].name,
            cpu_cores=round(sum(each.cpu_cores for each in measured), 9),
            memory_bytes=sum(each.memory_bytes for each in measured),
            unmeasured=[name for name in names if name not in used],
            summary=_told(measured, len(names)),
        )


def heaviest_first(pods: Iterable[PodUsage], by: Literal["memory", "cpu"]) -> list[PodUsage]:
    """Order pods by what they use of memory or CPU, equal ones by name."""
    return sorted(pods, key=lambda each: (-(each.memory_bytes if by == "memory" else each.cpu_cores), each.name))


def _told(measured: Sequence[PodUsage], pods: int) -> str:
    first = measured[0]
    cores, memory = sum(each.cpu_cores for each in measured), sum(each.memory_bytes for each in measured)
    missing = f"; {pods - len(measured)} of {pods} pods not measured" if len(measured) < pods else ""
    return (
        f"{first.name} uses most: {_amounts(first.cpu_cores, first.memory_bytes)}"
        f" of {_amounts(cores, memory)} in all{missing}"
    )


def _amounts(cores: float, memory: int) -> str:
    return f"{memory / MEBIBYTE:.0f} MiB, {cores:.3g} cores"
