"""Describes a workload and its worst pods as an operator reads them (manual I02), and keeps that with the incident."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.kubernetes.choosing import PodName, belongs, pod_named, worst_first
from hdr_responder.actions.kubernetes.descriptions import Described, EventAbout, written
from hdr_responder.actions.kubernetes.pods import why_not_ready
from hdr_responder.actions.kubernetes.rights import rights, workload_rights
from hdr_responder.domain.ports.kubernetes import KubernetesCluster, ObjectMeta, PodState
from hdr_responder.domain.workloads import Workload

MAX_BYTES = 256 * 1024
SHOWN_TEXT = 300
NAMED = 3


class DescribeParameters(Parameters):
    """What to describe."""

    shorthand = "workload"
    workload: Workload
    pod: PodName | None = Field(
        default=None, description="Only this pod of the workload; without it the worst of its pods."
    )
    pods: int = Field(default=3, ge=0, le=10, description="Most pods described where none is named, the worst first.")
    events: int = Field(default=50, ge=0, le=200, description="Most events told, the latest of all.")


class ConditionEntry(Result):
    """A condition that the workload's controller wrote."""

    type: str
    status: str = Field(description="True, False or Unknown.")
    reason: str
    message: str


class DescribeResult(Result):
    """What matters of the description; all of it is in the artifact."""

    conditions: list[ConditionEntry]
    images: list[str] = Field(description="Of the pod template's containers, in order.")
    pods: list[str] = Field(description="Names of the pods described, the worst first.")
    warnings: int = Field(description="Warnings among the events about the workload, its ReplicaSets and those pods.")
    warning_reasons: list[str] = Field(description="Their reasons, such as BackOff or FailedCreate, each once, sorted.")
    artifact: str = Field(description="Artifact id of the text.")
    summary: str


class Describe(Read[DescribeParameters, DescribeResult]):
    """Reads the workload, its pods and the events about them."""

    name = "kubernetes.describe"
    summary = "Keep a description of a workload and its worst pods, with events and without values of variables."
    example = """\
id: described
action: kubernetes.describe
with:
  workload: "${params.workload}"
"""
    parameters = DescribeParameters
    result = DescribeResult

    def permissions(self, params: DescribeParameters) -> tuple[Permission, ...]:
        """Return the rights to read the workload, its pods and the events of its namespace."""
        workload = params.workload
        return (
            *workload_rights(workload, "get"),
            *rights(workload, "pods", "list"),
            *rights(workload, "events", "list"),
        )

    async def execute(self, ctx: StepContext, params: DescribeParameters) -> DescribeResult:
        """Read and keep; raises NotFoundError for a named pod that is none of the workload's."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        seen = await cluster.described(workload)
        state = seen.templated.state
        found = await cluster.pod_states(workload.namespace, state.selector)
        pods = worst_first(each for each in found if belongs(each.pod, workload))
        shown = [pod_named(pods, workload, params.pod)] if params.pod else pods[: params.pods]
        events = await _events(cluster, workload, state.meta, shown)
        latest = events[-params.events :] if params.events else []
        text = written(
            Described(workload=workload, seen=seen, pods=shown, total=len(pods), events=latest, now=ctx.clock.now())
        )
        name = f"{workload.kind}-{workload.name}.describe.txt"
        warnings = [each.event.reason for each in events if each.event.warning]
        return DescribeResult(
            conditions=[
                ConditionEntry(
                    type=each.type, status=each.status, reason=each.reason, message=each.message[:SHOWN_TEXT]
                )
                for each in seen.conditions
            ],
            images=[each.image for each in seen.templated.template.containers],
            pods=[each.pod.name for each in shown],
            warnings=len(warnings),
            warning_reasons=sorted(set(warnings)),
            artifact=await ctx.evidence.keep(name, "text/plain", _bounded(text)),
            summary=_told(pods, warnings, state.stalled),
        )


async def _events(
    cluster: KubernetesCluster, workload: Workload, meta: ObjectMeta, pods: Sequence[PodState]
) -> list[EventAbout]:
    """Read the events about all that is described, the newest last."""
    about = [(str(workload), await cluster.events_about(meta))]
    if workload.kind == "deployment":
        about.append(("its ReplicaSet", await cluster.replica_set_events(workload)))
    about += [(f"pod {each.pod.name}", await cluster.events_about(each.meta)) for each in pods]
    every = [EventAbout(about=name, event=event) for name, events in about for event in events]
    return sorted(every, key=lambda each: each.event.at)


def _bounded(text: str) -> bytes:
    content = text.encode()
    if len(content) <= MAX_BYTES:
        return content
    whole = content[:MAX_BYTES].rpartition(b"\n")[0]
    return whole + f"\n(cut here: {len(content) - len(whole)} bytes more)\n".encode()


def _told(pods: Sequence[PodState], warnings: Sequence[str], stalled: str | None) -> str:
    well = sum(each.ready for each in pods)
    worst = next((each for each in pods if not each.ready and not each.completed), None)
    troubles = [
        f"{well} of {len(pods)} pods ready",
        f"worst: {worst.pod.name} ({why_not_ready(worst)})" if worst else "",
        stalled or "",
        f"{len(warnings)} warnings ({', '.join(sorted(set(warnings))[:NAMED])})" if warnings else "no warnings",
    ]
    return "; ".join(each for each in troubles if each)
