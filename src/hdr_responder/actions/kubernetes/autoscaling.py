"""Lets a workload's replicas follow its CPU usage, by an autoscaler of our own or by the one that it has (manual C5).

An autoscaler that is missing is first made in an inert form, for a workload that does not exist, so that the change
itself is a patch under the fence like every other. Undo deletes only what we made, and puts back the bounds of one that
was there; the replicas stay as the autoscaler left them, since the load that it answered is still there.
"""

from __future__ import annotations

import contextlib

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

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
from hdr_responder.actions.kubernetes.fencing import ATTEMPTS, Look, change, claim, require_fence
from hdr_responder.actions.kubernetes.marks import (
    FENCE,
    MANAGED_BY,
    METADATA_ANNOTATIONS,
    STEP,
    UNDONE,
    annotate,
    replace,
    test,
)
from hdr_responder.actions.kubernetes.rights import AUTOSCALERS, KINDS, rights, workload_rights
from hdr_responder.actions.kubernetes.rollouts import workload_target
from hdr_responder.actions.kubernetes.scaling import ScalingParameters, refuse_foreign
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import surveyed
from hdr_responder.domain.ports.kubernetes import MANAGER, Autoscaler, JsonPatch, KubernetesCluster
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import Impact, TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import AmbiguousError, ConflictError, NotFoundError, TemporaryError

NOTHING = "hdr-responder-scales-nothing"
"""Name of the workload that an inert autoscaler is for; none has it."""


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


class Rules(BaseModel):
    """What an autoscaler is told: its bounds and what it scales by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: int
    maximum: int
    metrics: list[JsonValue]

    @classmethod
    def wanted(cls, params: AutoscaleParameters) -> Rules:
        """Return what the step writes."""
        target: dict[str, JsonValue] = {"type": "Utilization", "averageUtilization": params.cpu_percent}
        return cls(
            minimum=params.minimum,
            maximum=params.maximum,
            metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        )

    @classmethod
    def of(cls, seen: Autoscaler) -> Rules:
        """Return what an autoscaler is told now."""
        return cls(minimum=seen.min_replicas, maximum=seen.max_replicas, metrics=list(seen.metrics))

    def patch(self, after: Rules) -> JsonPatch:
        """Return the operations that test these rules and replace them."""
        old, new = self.fields(), after.fields()
        tested = [test(f"/spec/{field}", value) for field, value in old.items()]
        return [*tested, *(replace(f"/spec/{field}", value) for field, value in new.items())]

    def fields(self) -> dict[str, JsonValue]:
        """Return the fields of the autoscaler's spec."""
        return {"minReplicas": self.minimum, "maxReplicas": self.maximum, "metrics": self.metrics}


class AutoscaleState(BaseModel):
    """The autoscaler before the change; ``before`` is None when it was made for this step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    uid: str
    before: Rules | None


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
        """Return the rights to read the workload and to manage autoscalers."""
        workload = params.workload
        return (
            *workload_rights(workload, "get"),
            *rights(workload, AUTOSCALERS, "get", "list", "create", "patch", "delete"),
            *story_rights(workload),
        )

    def target(self, params: AutoscaleParameters) -> Target:
        """Return the workload: its replicas are what changes."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: AutoscaleParameters) -> TargetSurvey:
        """Look at the workload; a maximum below its replicas takes some away."""
        cluster = systems.cluster(params.workload.cluster)
        seen, found = await cluster.workload(params.workload), await cluster.autoscaler(params.workload)
        fewer = (seen.replicas or 0) - params.maximum
        impact = Impact(unavailable=fewer, healthy=seen.available) if fewer > 0 else None
        return surveyed(seen, impact, changes=found.meta if found else None)

    async def dry_run(self, ctx: StepContext, params: AutoscaleParameters) -> None:
        """Rehearse the autoscaler in its final form; refuses where it could not work."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        templated = await cluster.templated(workload)
        silent = [c.name for c in templated.template.containers if not c.initial and "cpu" not in c.requests]
        if silent:
            raise ConflictError(f"{workload} requests no CPU ({', '.join(silent)}): its usage would have no percentage")
        if not templated.state.replicas:
            raise ConflictError(f"{workload} is scaled to zero, which suspends every autoscaler")
        found = await _find(cluster, workload)
        refuse_foreign(found)
        if found is None or _is_inert(found):
            final = manifest(ctx, workload, Rules.wanted(params), inert=False)
            with contextlib.suppress(ConflictError):  # its inert form is there already: an earlier attempt made it
                await cluster.create_autoscaler(final, dry_run=True)
        else:
            await cluster.patch(found.meta.ref, Rules.of(found).patch(Rules.wanted(params)), dry_run=True)

    async def claim(self, ctx: StepContext, params: AutoscaleParameters) -> None:
        """Raise the fence on the autoscaler; one that is missing is made in its inert form."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)

        async def look() -> Autoscaler:
            found = await _find(cluster, workload)
            if found is None:
                # Another attempt of this step may have created it meanwhile, which the next look shows.
                with contextlib.suppress(ConflictError, AmbiguousError):
                    await cluster.create_autoscaler(manifest(ctx, workload, Rules.wanted(params), inert=True))
                found = await cluster.read_autoscaler(workload.namespace, workload.name)
            return found

        await claim(cluster, ctx.fence, look)

    async def capture(self, ctx: StepContext, params: AutoscaleParameters) -> State:
        """Remember the autoscaler and what it was told."""
        found = await _find(ctx.systems.cluster(params.workload.cluster), params.workload)
        if found is None:
            raise NotFoundError(f"the autoscaler of {params.workload} is gone since it was claimed")
        require_fence(found.meta, ctx.fence, found.meta.uid)
        before = None if _is_inert(found) else Rules.of(found)
        state = AutoscaleState(name=found.meta.ref.name, uid=found.meta.uid, before=before)
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
                return [replace("/spec", spec(workload, Rules.wanted(params), inert=False)), *mark]
            if Rules.of(seen) != captured.before:
                raise ConflictError(f"{seen.meta.ref} was changed by somebody else since this step looked at it")
            return [*captured.before.patch(Rules.wanted(params)), *mark]

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
        if _is_inert(seen) if captured.before is None else Rules.of(seen) == captured.before:
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
        look, ours = _reader(cluster, params.workload, captured), Rules.wanted(params)
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
                inert = _is_inert(seen)
                if seen.meta.uid != captured.uid or not (inert or _is_as_written(seen, params)):
                    return Undone.DRIFTED
                await claim(cluster, ctx.fence, look)
                claimed = await look()
                require_fence(claimed.meta, ctx.fence, captured.uid)
                if inert == _is_inert(claimed) and (inert or _is_as_written(claimed, params)):
                    asked = not inert
                    await cluster.delete_autoscaler(claimed.meta)
                    return Undone.NOTHING_TO_UNDO if inert else Undone.UNDONE
            except NotFoundError:
                return Undone.UNDONE if asked else Undone.NOTHING_TO_UNDO
            except (ConflictError, AmbiguousError):
                continue
        raise TemporaryError(f"cluster {cluster.name}: the autoscaler {captured.name} keeps changing")


def manifest(ctx: StepContext, workload: Workload, rules: Rules, *, inert: bool) -> dict[str, JsonValue]:
    """Return the autoscaler as it is created: ours by label, fenced, with the incident for whoever finds it."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": workload.name,
            "namespace": workload.namespace,
            "labels": {MANAGED_BY: MANAGER},
            "annotations": {FENCE: str(ctx.fence), "hdr-responder.io/incident": ctx.incident_ref},
        },
        "spec": spec(workload, rules, inert=inert),
    }


def spec(workload: Workload, rules: Rules, *, inert: bool) -> dict[str, JsonValue]:
    """Return what the autoscaler is told, and whom it scales: nobody while it is inert."""
    name = NOTHING if inert else workload.name
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": KINDS[workload.kind], "name": name},
        **rules.fields(),
    }


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
    if not _is_inert(named):
        raise ConflictError(f"{named.meta.ref} exists and scales {named.target}")
    return named


def _reader(cluster: KubernetesCluster, workload: Workload, captured: AutoscaleState) -> Look[Autoscaler]:
    return lambda: cluster.read_autoscaler(workload.namespace, captured.name)


def _is_inert(seen: Autoscaler) -> bool:
    return seen.meta.labels.get(MANAGED_BY) == MANAGER and seen.target.endswith(f"/{NOTHING}")


def _is_as_written(seen: Autoscaler, params: AutoscaleParameters) -> bool:
    workload = params.workload
    return seen.target == f"{KINDS[workload.kind]}/{workload.name}" and Rules.of(seen) == Rules.wanted(params)


def _result(params: AutoscaleParameters, captured: AutoscaleState) -> AutoscaleResult:
    return AutoscaleResult(autoscaler=captured.name, created=captured.before is None, summary=_told(params))


def _told(params: AutoscaleParameters) -> str:
    return f"autoscales this between {params.minimum} and {params.maximum} replicas at {params.cpu_percent} % CPU"
