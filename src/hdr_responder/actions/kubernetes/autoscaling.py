"""Lets a workload's replicas follow its CPU usage, by an autoscaler of our own or by the one that it has (manual C5).

An autoscaler that is missing is first made in an inert form, for a workload that does not exist, so that the change
itself is a patch under the fence like every other. Undo deletes only what we made, and puts back the rules of one that
was there. Replicas that an autoscaler of ours added stay, since the load that it answered may still be there; those
that it took away are given back, since nothing would bring them back without it.
"""

from __future__ import annotations

import contextlib

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Permission,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
    Undone,
)
from hdr_responder.actions.kubernetes.autoscaler_rules import Rules, is_inert, manifest, spec
from hdr_responder.actions.kubernetes.bounds import REPLICAS
from hdr_responder.actions.kubernetes.fencing import ATTEMPTS, Look, change, claim, require_fence
from hdr_responder.actions.kubernetes.marks import METADATA_ANNOTATIONS, STEP, UNDONE, annotate, replace, test
from hdr_responder.actions.kubernetes.rights import AUTOSCALERS, KINDS, rights, workload_rights
from hdr_responder.actions.kubernetes.rollouts import claim_workload, workload_target
from hdr_responder.actions.kubernetes.scaling import ScalingParameters, refuse_foreign
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import fewer_impact, surveyed
from hdr_responder.domain.ports.kubernetes import Autoscaler, JsonPatch, KubernetesCluster, WorkloadState
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import AmbiguousError, ConflictError, NotFoundError, TemporaryError

LISTED_PODS = 200


class AutoscaleParameters(ScalingParameters):
    """Between how many replicas, and for which usage."""

    minimum: int = Field(ge=1, description="Fewest replicas.")
    maximum: int = Field(ge=1, description="Most replicas.")
    cpu_percent: int = Field(default=70, ge=1, le=100, description="Wanted CPU usage in percent of what pods request.")

    @model_validator(mode="after")
    def _ordered(self) -> AutoscaleParameters:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum ({self.minimum}) is beyond maximum ({self.maximum})")
        return self


class AutoscaleResult(Result):
    """The autoscaler as it is now."""

    autoscaler: str = Field(description="Its name.")
    created: bool = Field(description="Whether it was made; else it was there and its bounds were changed.")
    summary: str


class AutoscaleState(BaseModel):
    """The autoscaler before the change; ``before`` is None when it was made for this step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    uid: str
    before: Rules | None
    workload_uid: str
    replicas: int
    """Of the workload before."""


class Autoscale(Mutation[AutoscaleParameters, AutoscaleResult]):
    """Makes an autoscaler, or changes the bounds of the one that is there."""

    name = "kubernetes.autoscale"
    summary = "Let a workload's replicas follow its CPU usage between two bounds."
    example = """\
id: autoscale
action: kubernetes.autoscale
with:
  workload: "${params.workload}"
  minimum: 3
  maximum: 10
  cpu_percent: 70
"""
    parameters = AutoscaleParameters
    result = AutoscaleResult
    undoable = Undo.RESTORES
    holds_fence = True
    destructive = False
    effect_group = "replicas"

    def permissions(self, params: AutoscaleParameters) -> tuple[Permission, ...]:
        """Return the rights to see what pods request, to manage autoscalers, and to give replicas back on undo."""
        workload = params.workload
        return (
            *workload_rights(workload, "get", "patch"),
            *rights(workload, "pods", "list"),
            *rights(workload, AUTOSCALERS, "get", "list", "create", "patch", "delete"),
            *story_rights(workload),
        )

    def target(self, params: AutoscaleParameters) -> Target:
        """Return the workload: its replicas are what changes."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: AutoscaleParameters) -> TargetSurvey:
        """Look at the workload: replicas beyond the maximum go at once, and GitOps controllers track their number."""
        workload = params.workload
        cluster = systems.cluster(workload.cluster)
        seen, found = await cluster.workload(workload), await cluster.autoscaler(workload)
        most = vars(params).get("maximum", 1)  # absent where an earlier step gives it
        impact = fewer_impact(workload.kind, seen, most) if (seen.replicas or 0) > most else None
        return surveyed(seen, impact, changes=found.meta if found else seen.meta)

    async def dry_run(self, ctx: StepContext, params: AutoscaleParameters) -> None:
        """Rehearse the autoscaler in its final form; refuses where it could not work."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        await refuse_useless(cluster, workload)
        found = await _find(cluster, workload)
        refuse_foreign(found)
        if found is None or is_inert(found):
            final = manifest(ctx, workload, _wanted(params), inert=False)
            with contextlib.suppress(ConflictError):  # its inert form is there already: an earlier attempt made it
                await cluster.create_autoscaler(final, dry_run=True)
        else:
            before = Rules.of(found)
            await cluster.patch(found.meta.ref, before.patch(_wanted(params, before)), dry_run=True)

    async def claim(self, ctx: StepContext, params: AutoscaleParameters) -> None:
        """Raise the fence on the autoscaler; one that is missing is made in its inert form."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)

        async def look() -> Autoscaler:
            found = await _find(cluster, workload)
            if found is None:
                # Another attempt of this step may have created it meanwhile, which the next look shows.
                with contextlib.suppress(ConflictError, AmbiguousError):
                    await cluster.create_autoscaler(manifest(ctx, workload, _wanted(params), inert=True))
                found = await cluster.read_autoscaler(workload.namespace, workload.name)
            return found

        await claim(cluster, ctx.fence, look)

    async def capture(self, ctx: StepContext, params: AutoscaleParameters) -> State:
        """Remember the autoscaler and what it was told."""
        cluster = ctx.systems.cluster(params.workload.cluster)
        seen, found = await cluster.workload(params.workload), await _find(cluster, params.workload)
        if found is None:
            raise NotFoundError(f"the autoscaler of {params.workload} is gone since it was claimed")
        require_fence(found.meta, ctx.fence, found.meta.uid)
        before = None if is_inert(found) else Rules.of(found)
        state = AutoscaleState(
            name=found.meta.ref.name,
            uid=found.meta.uid,
            before=before,
            workload_uid=seen.meta.uid,
            replicas=seen.replicas or 0,
        )
        return state.model_dump(mode="json")

    async def execute(self, ctx: StepContext, params: AutoscaleParameters, state: State) -> AutoscaleResult:
        """Tell the autoscaler its rules, and whom it scales."""
        captured = AutoscaleState.model_validate(state)
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)

        def patch(seen: Autoscaler) -> JsonPatch | None:
            if seen.meta.annotations.get(STEP) == ctx.step_key:
                return None
            mark = annotate(METADATA_ANNOTATIONS, seen.meta.annotations, {STEP: ctx.step_key})
            if captured.before is None:
                return [replace("/spec", spec(workload, _wanted(params), inert=False)), *mark]
            if Rules.of(seen) != captured.before:
                raise ConflictError(f"{seen.meta.ref} was changed by somebody else since this step looked at it")
            return [*captured.before.patch(_wanted(params, captured.before)), *mark]

        await change(cluster, ctx.fence, captured.uid, _reader(cluster, workload, captured), patch)
        return _result(params, captured)

    async def observe(self, ctx: StepContext, params: AutoscaleParameters, state: State) -> Observed[AutoscaleResult]:
        """Look for this step's key on the autoscaler."""
        captured = AutoscaleState.model_validate(state)
        cluster = ctx.systems.cluster(params.workload.cluster)
        try:
            seen = await _reader(cluster, params.workload, captured)()
        except NotFoundError:
            return Observed(seen=Seen.NO_EFFECT, detail=f"there is no autoscaler {captured.name}")
        if seen.meta.uid != captured.uid:
            return Observed(seen=Seen.UNKNOWN, detail=f"{seen.meta.ref} was deleted and created anew")
        if seen.meta.annotations.get(STEP) == ctx.step_key:
            detail = "the autoscaler carries this step"
            return Observed(seen=Seen.TOOK_EFFECT, result=_result(params, captured), detail=detail)
        if is_inert(seen) if captured.before is None else Rules.of(seen) == captured.before:
            return Observed(seen=Seen.NO_EFFECT, detail="the autoscaler is as it was before")
        return Observed(seen=Seen.UNKNOWN, detail=f"{seen.meta.ref} was changed, and not marked by this step")

    async def undo(self, ctx: StepContext, params: AutoscaleParameters, state: State) -> Undone:
        """Delete the autoscaler that we made, or put the old rules back, while it still says what we wrote."""
        captured = AutoscaleState.model_validate(state)
        try:
            if captured.before is None:
                return await self._delete(ctx, params, captured)
            return await self._put_back(ctx, params, captured, captured.before)
        except NotFoundError:
            return Undone.NOTHING_TO_UNDO

    async def announce(self, ctx: StepContext, params: AutoscaleParameters, state: State, *, undone: bool) -> None:
        """Write an Event on the workload."""
        del state
        workload = params.workload
        seen = await ctx.systems.cluster(workload.cluster).workload(workload)
        reason, done = ("AutoscalingUndone", "took its autoscaling back") if undone else ("Autoscaled", _told(params))
        await tell(ctx, workload.cluster, seen.meta, reason=reason, done=done)

    async def _put_back(
        self, ctx: StepContext, params: AutoscaleParameters, captured: AutoscaleState, before: Rules
    ) -> Undone:
        cluster = ctx.systems.cluster(params.workload.cluster)
        look, ours = _reader(cluster, params.workload, captured), _wanted(params, before)
        seen = await look()
        if seen.meta.uid == captured.uid and seen.meta.annotations.get(UNDONE) == ctx.step_key:
            return Undone.UNDONE
        if seen.meta.uid == captured.uid and Rules.of(seen) == before:
            return Undone.NOTHING_TO_UNDO
        if seen.meta.uid != captured.uid or Rules.of(seen) != ours:
            return Undone.DRIFTED
        await claim(cluster, ctx.fence, look)
        drifted = False

        def patch(found: Autoscaler) -> JsonPatch | None:
            nonlocal drifted
            if found.meta.annotations.get(UNDONE) == ctx.step_key:
                return None
            drifted = Rules.of(found) != ours
            mark = annotate(METADATA_ANNOTATIONS, found.meta.annotations, {UNDONE: ctx.step_key})
            return None if drifted else [*ours.patch(before), *mark]

        await change(cluster, ctx.fence, captured.uid, look, patch)
        return Undone.DRIFTED if drifted else Undone.UNDONE

    async def _delete(self, ctx: StepContext, params: AutoscaleParameters, captured: AutoscaleState) -> Undone:
        cluster = ctx.systems.cluster(params.workload.cluster)
        look, asked = _reader(cluster, params.workload, captured), False
        for _ in range(ATTEMPTS):
            try:
                seen = await look()
                inert = is_inert(seen)
                if seen.meta.uid != captured.uid or not (inert or _is_as_written(seen, params)):
                    return Undone.DRIFTED
                await claim(cluster, ctx.fence, look)
                claimed = await look()
                require_fence(claimed.meta, ctx.fence, captured.uid)
                if inert == is_inert(claimed) and (inert or _is_as_written(claimed, params)):
                    if not inert:
                        await _give_back(ctx, params.workload, captured)
                    asked = not inert
                    await cluster.delete_autoscaler(claimed.meta)
                    return Undone.NOTHING_TO_UNDO if inert else Undone.UNDONE
            except NotFoundError:
                return Undone.UNDONE if asked else Undone.NOTHING_TO_UNDO
            except (ConflictError, AmbiguousError):
                continue
        raise TemporaryError(f"cluster {cluster.name}: the autoscaler {captured.name} keeps changing")


async def _find(cluster: KubernetesCluster, workload: Workload) -> Autoscaler | None:
    """Return the workload's autoscaler, or the inert one that was made for it; None without either.

    Raises ConflictError when an autoscaler of another workload has the name.
    """
    found = await cluster.autoscaler(workload)
    if found is not None:
        return found
    try:
        named = await cluster.read_autoscaler(workload.namespace, workload.name)
    except NotFoundError:
        return None
    if not is_inert(named):
        raise ConflictError(f"{named.meta.ref} exists and scales {named.target}")
    return named


async def refuse_useless(cluster: KubernetesCluster, workload: Workload) -> None:
    """Raise ConflictError where an autoscaler would compute nothing (Kubernetes contract).

    The pods are asked and not their template, since the cluster fills in requests from limits and from the defaults
    of the namespace.
    """
    seen = await cluster.workload(workload)
    if not seen.replicas:
        raise ConflictError(f"{workload} is scaled to zero, which suspends every autoscaler")
    requests = await cluster.cpu_requests(workload.namespace, seen.selector, limit=LISTED_PODS)
    if not requests.pods:
        raise ConflictError(f"{workload} has no pods that run: nothing shows that they request CPU")
    if requests.missing:
        named = ", ".join(requests.missing[:3])
        raise ConflictError(f"{workload} requests no CPU ({named}): its usage would have no percentage")


async def _give_back(ctx: StepContext, workload: Workload, captured: AutoscaleState) -> None:
    """Raise the replicas to what they were where the autoscaler left fewer; none at all is a person's doing."""
    cluster = ctx.systems.cluster(workload.cluster)

    def fewer(seen: WorkloadState) -> bool:
        return seen.meta.uid == captured.workload_uid and 0 < (seen.replicas or 0) < captured.replicas

    def patch(seen: WorkloadState) -> JsonPatch | None:
        if not fewer(seen):
            return None
        mark = annotate(METADATA_ANNOTATIONS, seen.meta.annotations, {UNDONE: ctx.step_key})
        return [test(REPLICAS, seen.replicas), replace(REPLICAS, captured.replicas), *mark]

    with contextlib.suppress(NotFoundError):  # without the workload its autoscaler goes all the same
        if fewer(await cluster.workload(workload)):
            await claim_workload(ctx, workload)
            await change(cluster, ctx.fence, captured.workload_uid, lambda: cluster.workload(workload), patch)


def _wanted(params: AutoscaleParameters, before: Rules | None = None) -> Rules:
    return Rules.by_cpu(params.minimum, params.maximum, params.cpu_percent, before)


def _reader(cluster: KubernetesCluster, workload: Workload, captured: AutoscaleState) -> Look[Autoscaler]:
    return lambda: cluster.read_autoscaler(workload.namespace, captured.name)


def _is_as_written(seen: Autoscaler, params: AutoscaleParameters) -> bool:
    workload = params.workload
    return seen.target == f"{KINDS[workload.kind]}/{workload.name}" and Rules.of(seen) == _wanted(params)


def _result(params: AutoscaleParameters, captured: AutoscaleState) -> AutoscaleResult:
    return AutoscaleResult(autoscaler=captured.name, created=captured.before is None, summary=_told(params))


def _told(params: AutoscaleParameters) -> str:
    return f"autoscales this between {params.minimum} and {params.maximum} replicas at {params.cpu_percent} % CPU"
