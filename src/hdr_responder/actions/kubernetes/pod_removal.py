"""Takes one pod of a workload away, so that its controller starts another (manual C2).

The fence is carried by the pod: the removal is bound to the pod's uid and resourceVersion, so a late worker whose fence
was raised above it meets a conflict, looks again and finds that it lost. A pod that nothing owns would not come
back and is refused. That the very pod is gone is the effect, whoever brought it about: no other pod is ever hit.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

from pydantic import Field

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Parameters,
    Permission,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
)
from hdr_responder.actions.kubernetes.fencing import ATTEMPTS, UNANSWERED_ATTEMPTS, claim, require_fence
from hdr_responder.actions.kubernetes.rights import KINDS, ObjectName, rights, workload_rights
from hdr_responder.actions.kubernetes.rollouts import workload_target
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import surveyed
from hdr_responder.domain.ports.kubernetes import KubernetesCluster, ObjectMeta, OwnedPod
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import Impact, TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import AmbiguousError, ConflictError, NotFoundError, TemporaryError


class RemovalParameters(Parameters):
    """Which pod of which workload goes."""

    workload: Workload = Field(description="The workload that the pod must belong to, and that starts another.")
    pod: ObjectName = Field(description="Name of the pod.")


class RemovalResult(Result):
    """Which pod was taken away."""

    pod: str = Field(description="Name of the pod.")
    uid: str = Field(description="Its uid: a pod of the same name that comes later is another.")


P = TypeVar("P", bound=RemovalParameters)


class PodRemoval(Mutation[P, RemovalResult]):
    """What deletion and eviction share."""

    result = RemovalResult
    undoable = Undo.NONE
    holds_fence = True
    destructive = False
    effect_group = "workload"

    @abstractmethod
    async def remove(self, cluster: KubernetesCluster, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Ask the cluster to take the pod away."""

    @abstractmethod
    def removal_rights(self, workload: Workload) -> tuple[Permission, ...]:
        """Return the rights to take pods away."""

    def permissions(self, params: P) -> tuple[Permission, ...]:
        """Return the rights to find the pod and its owners, to fence and to remove it."""
        workload = params.workload
        owners = rights(workload, "apps/replicasets", "get") if workload.kind == "deployment" else ()
        return (
            *workload_rights(workload, "get"),
            *owners,
            *rights(workload, "pods", "get", "patch"),
            *self.removal_rights(workload),
            *story_rights(workload),
        )

    def target(self, params: P) -> Target:
        """Return the workload; other ways to replace its pods share the effect."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: P) -> TargetSurvey:
        """Look at the workload: at most one healthy pod goes."""
        seen = await systems.cluster(params.workload.cluster).workload(params.workload)
        return surveyed(seen, Impact(unavailable=1, healthy=seen.available))

    async def dry_run(self, ctx: StepContext, params: P) -> None:
        """Rehearse the removal; refuses a pod of another owner or of none."""
        cluster = ctx.systems.cluster(params.workload.cluster)
        await cluster.workload(params.workload)
        seen = await _owned(cluster, params)
        if seen.leaving:
            raise ConflictError(f"{seen.meta.ref} is being deleted already")
        await self.remove(cluster, seen.meta, dry_run=True)

    async def claim(self, ctx: StepContext, params: P) -> None:
        """Raise the fence on the pod; one that is gone needs none."""
        cluster = ctx.systems.cluster(params.workload.cluster)
        try:
            await claim(cluster, ctx.fence, lambda: _owned(cluster, params))
        except NotFoundError:
            return

    async def capture(self, ctx: StepContext, params: P) -> State:
        """Fix the pod by its uid."""
        seen = await _owned(ctx.systems.cluster(params.workload.cluster), params)
        require_fence(seen.meta, ctx.fence, seen.meta.uid)
        return {"uid": seen.meta.uid}

    async def execute(self, ctx: StepContext, params: P, state: State) -> RemovalResult:
        """Take the pod away while it is the one that was captured and carries our fence."""
        cluster, uid = ctx.systems.cluster(params.workload.cluster), str(state["uid"])
        unanswered: AmbiguousError | None = None
        lost = 0
        for _ in range(ATTEMPTS):
            try:
                seen = await _standing(cluster, params, uid)
                if seen is None:
                    return _result(params, state)
                require_fence(seen.meta, ctx.fence, uid)
                await self.remove(cluster, seen.meta)
            except (ConflictError, NotFoundError):  # a deletion whose answer was lost may have been sent once more
                continue
            except AmbiguousError as error:
                unanswered, lost = error, lost + 1
                if lost >= UNANSWERED_ATTEMPTS:
                    break
                continue
            except TemporaryError as error:
                if unanswered is not None:
                    raise unanswered from error
                raise
            return _result(params, state)
        if unanswered is not None:
            raise unanswered
        raise TemporaryError(f"cluster {cluster.name}: pod {params.pod} keeps changing, it was not removed")

    async def observe(self, ctx: StepContext, params: P, state: State) -> Observed[RemovalResult]:
        """Look whether the pod that was captured is gone or going."""
        seen = await _standing(ctx.systems.cluster(params.workload.cluster), params, str(state["uid"]))
        if seen is None:
            detail = "the pod is gone or on its way out"
            return Observed(seen=Seen.TOOK_EFFECT, result=_result(params, state), detail=detail)
        return Observed(seen=Seen.NO_EFFECT, detail="the pod is still there")

    async def announce(self, ctx: StepContext, params: P, state: State, *, undone: bool) -> None:
        """Write an Event on the workload."""
        del state, undone
        workload = params.workload
        seen = await ctx.systems.cluster(workload.cluster).workload(workload)
        await tell(ctx, workload.cluster, seen.meta, reason="PodRemoved", done=f"removed pod {params.pod} of this")


class DeletePod(PodRemoval[RemovalParameters]):
    """Deletes a pod whatever disruption budgets say."""

    name = "kubernetes.delete_pod"
    summary = "Delete one pod of a workload, so that its controller starts another."
    example = """\
id: replace
action: kubernetes.delete_pod
with:
  workload: "${params.workload}"
  pod: neural-hdr-7d4b9c-x2x7q
undo: none
"""
    parameters = RemovalParameters

    async def remove(self, cluster: KubernetesCluster, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Delete it."""
        await cluster.delete_pod(meta, dry_run=dry_run)

    def removal_rights(self, workload: Workload) -> tuple[Permission, ...]:
        """Return the right to delete pods."""
        return rights(workload, "pods", "delete")


class EvictPod(PodRemoval[RemovalParameters]):
    """Evicts a pod, which a PodDisruptionBudget may refuse for now."""

    name = "kubernetes.evict_pod"
    summary = "Evict one pod of a workload, if its disruption budget allows it now; its controller starts another."
    example = """\
id: replace
action: kubernetes.evict_pod
with:
  workload: "${params.workload}"
  pod: neural-hdr-7d4b9c-x2x7q
undo: none
retry: {attempts: 3, delay: 20s}
"""
    parameters = RemovalParameters

    async def remove(self, cluster: KubernetesCluster, meta: ObjectMeta, *, dry_run: bool = False) -> None:
        """Evict it."""
        await cluster.evict_pod(meta, dry_run=dry_run)

    def removal_rights(self, workload: Workload) -> tuple[Permission, ...]:
        """Return the right to evict pods."""
        return rights(workload, "pods/eviction", "create")


async def _owned(cluster: KubernetesCluster, params: RemovalParameters) -> OwnedPod:
    """Read the pod; raises ConflictError when it is not the workload's."""
    workload = params.workload
    seen = await cluster.owned_pod(workload.namespace, params.pod)
    if seen.owner != f"{KINDS[workload.kind]}/{workload.name}":
        owner = seen.owner or "nothing, so that it would not come back"
        raise ConflictError(f"{seen.meta.ref} does not belong to {workload}: it is owned by {owner}")
    return seen


async def _standing(cluster: KubernetesCluster, params: RemovalParameters, uid: str) -> OwnedPod | None:
    """Return the pod that was captured while it stands, None when it is gone, going, or another has its name."""
    try:
        seen = await cluster.owned_pod(params.workload.namespace, params.pod)
    except NotFoundError:
        return None
    return None if seen.leaving or seen.meta.uid != uid else seen


def _result(params: RemovalParameters, state: State) -> RemovalResult:
    return RemovalResult(pod=params.pod, uid=str(state["uid"]))
