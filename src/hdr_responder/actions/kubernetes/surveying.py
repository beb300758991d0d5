"""What a step would take away of a workload, who owns it, and whether somebody keeps automation away from it.

The numbers are those by which Kubernetes' controllers replace pods, so that a refusal speaks of what would happen.
"""

from __future__ import annotations

from hdr_responder.actions.kubernetes.marks import HOLD, parse_hold
from hdr_responder.domain.ports.kubernetes import ObjectMeta, WorkloadState
from hdr_responder.domain.survey import GitOpsOwner, Impact, TargetSurvey
from hdr_responder.domain.workloads import WorkloadKind

DEPLOYMENT_DEFAULT = "25%"
"""``maxUnavailable`` and ``maxSurge`` of a Deployment that says nothing."""


def surveyed(seen: WorkloadState, impact: Impact | None = None, *, changes: ObjectMeta | None = None) -> TargetSurvey:
    """Return what a step finds at a workload.

    ``changes`` is the object of which the step writes fields that a GitOps controller tracks, None when it writes none:
    annotations that are added to an object, and objects that are created, are left alone by Argo CD and Flux.
    """
    reverting = changes.gitops if changes else None
    owner = reverting or seen.meta.gitops
    note = seen.meta.annotations.get(HOLD)
    return TargetSurvey(
        impact=impact,
        owner=GitOpsOwner(name=owner, reverts=reverting is not None) if owner else None,
        hold=parse_hold(note) if note is not None else None,
    )


def all_healthy(seen: WorkloadState) -> Impact:
    """Return the impact of taking everything away."""
    return Impact(unavailable=seen.available, healthy=seen.available)


def fewer_impact(kind: WorkloadKind, seen: WorkloadState, wanted: int) -> Impact:
    """Return how many healthy pods go when only ``wanted`` stay.

    A Deployment gives up its unavailable pods first, a StatefulSet those with the highest ordinals, healthy or not.
    """
    taken = seen.available - wanted if kind == "deployment" else seen.desired - wanted
    return Impact(unavailable=max(taken, 0), healthy=seen.available)


def restart_impact(kind: WorkloadKind, seen: WorkloadState) -> Impact:
    """Return how many healthy pods a restart takes away at a time under the workload's own update strategy.

    Pods that are unavailable already count towards what a Deployment or DaemonSet may miss, so that few or none of the
    healthy ones are taken then.
    """
    missing = max(seen.desired - seen.available, 0)
    match kind, seen.update_strategy:
        case _, "OnDelete":
            taken = 0
        case "deployment", "Recreate":
            taken = seen.available
        case "deployment", _:
            taken = _of_deployment(seen) - missing
        case "daemonset", _:
            taken = _of_daemonset(seen) - missing
        case _:
            taken = min(_at_least_one(seen.max_unavailable or 1, seen.desired), max(seen.desired - seen.partition, 0))
    return Impact(unavailable=max(taken, 0), healthy=seen.available)


def _of_deployment(seen: WorkloadState) -> int:
    """Percentages of ``maxUnavailable`` round down and of ``maxSurge`` up; when both give zero, one pod may miss."""
    surge = _share(_or(seen.max_surge, DEPLOYMENT_DEFAULT), seen.desired, up=True)
    unavailable = _share(_or(seen.max_unavailable, DEPLOYMENT_DEFAULT), seen.desired, up=False)
    return min(unavailable if unavailable or surge else 1, seen.desired)


def _of_daemonset(seen: WorkloadState) -> int:
    """Percentages round up; without a surge at least one pod may miss."""
    surge = _share(_or(seen.max_surge, 0), seen.desired, up=True)
    unavailable = _share(_or(seen.max_unavailable, 1), seen.desired, up=True)
    return unavailable if unavailable or surge else 1


def _at_least_one(written: int | str, whole: int) -> int:
    return max(_share(written, whole, up=True), 1)


def _or(written: int | str | None, default: int | str) -> int | str:
    return default if written is None else written


def _share(written: int | str, whole: int, *, up: bool) -> int:
    """Return a number, or the share that a percentage is of ``whole``, rounded up or down."""
    if isinstance(written, int):
        return written
    hundredths = int(written.removesuffix("%")) * whole
    return -(-hundredths // 100) if up else hundredths // 100
