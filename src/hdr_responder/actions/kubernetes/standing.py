"""What stands of the isolations that runs of ours made of a workload, read from the marks on the objects themselves.

No record of a run is needed, so that an isolation can be ended long after, and by another responder. What somebody
changed since we wrote it is not ours to take back: it is told and left.
"""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from hdr_responder.actions.kubernetes.marks import STEP, STOPPED, UNDONE
from hdr_responder.actions.kubernetes.policies import (
    SELECTED,
    WORKLOAD,
    Denial,
    denies,
    deny_all,
    is_inert,
    is_ours,
)
from hdr_responder.actions.kubernetes.service_cuts import Cut, holders, is_cut, uncut
from hdr_responder.domain.ports.kubernetes import (
    KubernetesCluster,
    NetworkPolicy,
    ObjectMeta,
    Selector,
    Service,
    WorkloadState,
)
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import NotFoundError

_LABELS = TypeAdapter(dict[str, str])


class Stopped(BaseModel):
    """A workload that was scaled to zero within its isolation, and what brings it back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: str
    replicas: int


class Standing(BaseModel):
    """The parts of all isolations of one workload that can be taken back; ``left`` tells of those that cannot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    denials: tuple[Denial, ...] = ()
    cuts: tuple[Cut, ...] = ()
    stopped: Stopped | None = None
    left: tuple[str, ...] = ()

    @property
    def anything(self) -> bool:
        """Whether there is something to take back."""
        return bool(self.denials or self.cuts)


async def look_up(cluster: KubernetesCluster, workload: Workload) -> WorkloadState | None:
    """Read the workload; None when it does not exist (any more): its isolation can be ended all the same."""
    try:
        return await cluster.workload(workload)
    except NotFoundError:
        return None


async def standing(cluster: KubernetesCluster, workload: Workload, seen: WorkloadState | None) -> Standing:
    """Find the policies and Services of a workload's isolations, and whether it was stopped with them."""
    denials: list[Denial] = []
    cuts: list[Cut] = []
    left: list[str] = []
    runs: set[str] = set()
    for policy in await cluster.network_policies(workload.namespace):
        if not is_ours(policy) or policy.meta.annotations.get(WORKLOAD) != str(workload):
            continue
        runs.add(_run(policy.meta.annotations.get(STEP, "")))
        if is_inert(policy) or _is_as_written(policy):
            name, uid = policy.meta.ref.name, policy.meta.uid
            denials.append(Denial(policy=name, uid=uid, spec=deny_all(policy.pods)))
        else:
            left.append(f"policy {policy.meta.ref.name}: somebody edited it since")
    for service in await cluster.services(workload.namespace):
        if not _concerns(service, workload, seen):
            continue
        runs.update(_run(each) for each in holders(service.meta))
        cut = _cut(service)
        if cut is not None:
            cuts.append(cut)
        else:
            left.append(f"service {service.meta.ref.name}: somebody changed its selector since it was cut")
    stopped = _stopped(seen, runs) if seen is not None else None
    return Standing(denials=tuple(denials), cuts=tuple(cuts), stopped=stopped, left=tuple(left))


def _is_as_written(policy: NetworkPolicy) -> bool:
    wrote = policy.meta.annotations.get(SELECTED)
    return denies(policy) and wrote == json.dumps(deny_all(policy.pods)["podSelector"], sort_keys=True)


def _concerns(service: Service, workload: Workload, seen: WorkloadState | None) -> bool:
    """Tell whether a cut Service is the workload's; one that lost its marks, by what it selected."""
    if not is_cut(service):
        return False
    marked = service.meta.annotations.get(WORKLOAD)
    if marked is None and seen is not None:
        return Selector(labels=uncut(service.selector)).selects(seen.pod_labels)
    return marked == str(workload)


def _cut(service: Service) -> Cut | None:
    """Return the cut as we wrote it, None when the Service no longer says so."""
    try:
        selector = _LABELS.validate_json(service.meta.annotations.get(SELECTED, ""))
    except ValidationError:
        return None
    cut = Cut(service=service.meta.ref.name, uid=service.meta.uid, selector=selector)
    return cut if selector and service.selector == cut.cut_selector else None


def _stopped(seen: WorkloadState, runs: set[str]) -> Stopped | None:
    """Tell whether one of these runs took the workload's replicas away and they are away still."""
    step, replicas = stopped_by(seen.meta)
    if not replicas or seen.replicas != 0 or _run(step) not in runs or seen.meta.annotations.get(UNDONE) == step:
        return None
    return Stopped(uid=seen.meta.uid, replicas=replicas)


def stopped_by(meta: ObjectMeta) -> tuple[str, int]:
    """Return the key of the step that took all replicas away, and how many there were; 0 when nobody says so."""
    step, _, replicas = meta.annotations.get(STOPPED, "").partition(" ")
    return step, int(replicas) if replicas.isascii() and replicas.isdigit() else 0


def _run(step_key: str) -> str:
    return step_key.partition("/")[0]
