"""Tells how the pods of a workload or of a namespace are, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import Field

from hdr_responder.actions.contract import Permission, Read, Result, StepContext
from hdr_responder.actions.kubernetes.choosing import PodChoice, choice_rights, chosen_pods, cluster_of, worst_first
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.kubernetes import ContainerState, Ended, PodState

NAMED = 3
SHOWN_REASON = 200
STARTING = frozenset({"", "PodInitializing", "ContainerCreating"})
"""Reasons of waiting that say nothing but that something else comes first."""


class PodsParameters(PodChoice):
    """Whose pods to tell about."""

    limit: int = Field(default=50, ge=1, le=500, description="Most pods listed, the worst first; all are counted.")


class PodEntry(Result):
    """One pod."""

    name: str
    phase: str
    ready: bool
    running: bool = Field(description="Whether every container runs.")
    restarts: int = Field(description="Of all its containers.")
    reason: str = Field(description="Why it is not ready, such as CrashLoopBackOff or Unschedulable; empty when it is.")
    last_end: str = Field(description="How the last run of a container ended (OOMKilled, Error); empty if none did.")
    exit_code: int | None = Field(description="Of that run.")
    age: Duration
    node: str = Field(description="Empty until it is scheduled.")


class PodsResult(Result):
    """How the pods are."""

    total: int
    running: int = Field(description="Pods of which every container runs.")
    ready: int
    not_ready: int = Field(description="Pods that are not ready; those that completed their work do not count.")
    completed: int = Field(description="Pods that ended with success, as those of a Job do.")
    restarts: int = Field(description="Of all containers of all pods.")
    problems: dict[str, int] = Field(
        description="How many pods are not ready, by the reason; those that completed their work do not count."
    )
    not_running: list[str] = Field(
        description="Names of pods that neither run nor completed, the worst first, at most limit."
    )
    worst: str = Field(description="Name of the pod that is worst off; empty when all are ready or completed.")
    pods: list[PodEntry] = Field(description="The worst first, at most limit.")
    omitted: int = Field(description="Pods that are counted and not listed.")
    summary: str


class Pods(Read[PodsParameters, PodsResult]):
    """Lists and counts pods."""

    name = "kubernetes.pods"
    summary = "Tell how pods of a workload or a namespace are: phase, readiness, restarts and why, worst first."
    example = """\
id: pods
action: kubernetes.pods
with:
  workload: "${params.workload}"
"""
    parameters = PodsParameters
    result = PodsResult

    def permissions(self, params: PodsParameters) -> tuple[Permission, ...]:
        """Return the rights to find the pods."""
        return choice_rights(params)

    async def execute(self, ctx: StepContext, params: PodsParameters) -> PodsResult:
        """Read."""
        found = worst_first(await chosen_pods(ctx.systems.cluster(cluster_of(params)), params))
        now = ctx.clock.now()
        waiting = [each for each in found if not each.ready and not each.completed]
        stopped = [each for each in found if not each.running and not each.completed]
        return PodsResult(
            total=len(found),
            running=sum(each.running for each in found),
            ready=sum(each.ready for each in found),
            not_ready=len(waiting),
            completed=sum(each.completed for each in found),
            restarts=sum(each.pod.restarts for each in found),
            problems=dict(Counter(map(why_not_ready, waiting))),
            not_running=[each.pod.name for each in stopped[: params.limit]],
            worst=(stopped or waiting)[0].pod.name if stopped or waiting else "",
            pods=[_entry(each, now) for each in found[: params.limit]],
            omitted=max(len(found) - params.limit, 0),
            summary=_told(found, waiting),
        )


def _entry(state: PodState, now: datetime) -> PodEntry:
    ended = last_end(state)
    return PodEntry(
        name=state.pod.name,
        phase=state.pod.phase,
        ready=state.ready,
        running=state.running,
        restarts=state.pod.restarts,
        reason=why_not_ready(state),
        last_end=ended.reason if ended else "",
        exit_code=ended.exit_code if ended else None,
        age=max(now - state.created, timedelta(0)),
        node=state.node,
    )


def why_not_ready(state: PodState) -> str:
    """Return the reason in the cluster's words, those of a container before the pod's; empty for a ready pod."""
    if state.ready or state.completed:
        return ""
    stopped = (each for each in map(_stopped, state.containers) if each)
    starting = (each.why for each in state.containers if each.why)
    waiting = ", ".join(each.name for each in state.containers if not each.ready and not each.initial)
    words = (
        state.reason,
        "Terminating" if state.deleted else "",
        next(stopped, ""),
        next(starting, ""),
        f"not ready: {waiting}" if waiting else "",
    )
    return next((each for each in words if each), state.pod.phase)[:SHOWN_REASON]


def _stopped(container: ContainerState) -> str:
    """Return why a container does not run; an initial one that succeeded did its work."""
    if container.state == "waiting" and container.why not in STARTING:
        return container.why
    if container.ended and not (container.initial and container.ended.exit_code == 0):
        return f"{container.ended.reason or 'Terminated'} (exit code {container.ended.exit_code})"
    return ""


def last_end(state: PodState) -> Ended | None:
    """Return how the run of a container ended that ended last, initial containers that did their work apart."""
    ends = [
        end
        for each in state.containers
        for end in (each.ended, each.last_ended)
        if end is not None and not (each.initial and end.exit_code == 0)
    ]
    return max(ends, key=lambda end: end.at.timestamp() if end.at else 0.0, default=None)


def _told(found: Sequence[PodState], waiting: Sequence[PodState]) -> str:
    if not found:
        return "no pods"
    completed = sum(each.completed for each in found)
    ready = f"{sum(each.ready for each in found)} of {len(found) - completed} pods ready"
    done = f", {completed} completed" if completed else ""
    if not waiting:
        return ready + done
    named = ", ".join(f"{each.pod.name} ({why_not_ready(each)})" for each in waiting[:NAMED])
    more = f" and {len(waiting) - NAMED} more" if len(waiting) > NAMED else ""
    return f"{ready}{done}; not ready: {named}{more}"
