"""Changes named settings of one container of a pod template: its environment, its resources.

Both are "these names from these values to those": what was there is captured once, each patch tests that the spec is
the one it was made for, and undo puts the values back while all of them still are ours. The step's key is carried by
the workload and not by the template, so that undoing restores the template to the letter and the cluster takes the
earlier revision's pods up again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

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
    Undone,
)
from hdr_responder.actions.kubernetes.fencing import change, require_fence
from hdr_responder.actions.kubernetes.marks import METADATA_ANNOTATIONS, STEP, UNDONE, annotate, test
from hdr_responder.actions.kubernetes.rights import workload_rights
from hdr_responder.actions.kubernetes.rollback import refuse_waiting
from hdr_responder.actions.kubernetes.rollouts import claim_workload, workload_target
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import restart_impact, surveyed
from hdr_responder.domain.ports.kubernetes import ContainerTemplate, JsonPatch, TemplatedWorkload
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError, NotFoundError

CONTAINERS = "/spec/template/spec/containers"
CONTAINER_NAME = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""A DNS label (Kubernetes contract)."""


class ContainerParameters(Parameters):
    """Whose setting changes."""

    workload: Workload
    container: str | None = Field(
        default=None,
        max_length=63,
        pattern=CONTAINER_NAME,
        description="Of the pod template; may be left out where it has one container alone.",
    )


class Setting(BaseModel):
    """One named value before and after; None before where it was absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    before: str | None
    after: str


class SettingsChange(BaseModel):
    """The change that was decided; stored as the step's state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: str
    container: str
    settings: tuple[Setting, ...]
    """Those that change; what has its value already is left out."""


P = TypeVar("P", bound=ContainerParameters)
R = TypeVar("R", bound=Result)


class ContainerSettings(Mutation[P, R]):
    """What all changes of a container's settings share; they differ in where a setting is kept and what may change."""

    undoable = Undo.RESTORES
    holds_fence = True
    destructive = False
    effect_group = "workload"
    reason: str
    """What the Event calls it, followed by ``Undone`` for the way back."""

    @abstractmethod
    def wanted(self, params: P) -> dict[str, str]:
        """Return the settings that the step asks for."""

    @abstractmethod
    def present(self, container: ContainerTemplate) -> Mapping[str, str]:
        """Return the settings that a container has now."""

    @abstractmethod
    def same(self, one: str, other: str) -> bool:
        """Tell whether two values mean the same to the cluster."""

    @abstractmethod
    def refuse(self, params: P, container: ContainerTemplate, changes: tuple[Setting, ...]) -> None:
        """Raise ConflictError where these changes must not be made."""

    @abstractmethod
    def write(self, where: str, container: ContainerTemplate, values: Mapping[str, str | None]) -> JsonPatch:
        """Return operations that set values below the container's JSON pointer; None takes a setting away."""

    @abstractmethod
    def outcome(self, params: P, made: SettingsChange) -> R:
        """Return the result of a change that was made."""

    @abstractmethod
    def told(self, made: SettingsChange, *, undone: bool) -> str:
        """Tell the change as an Event reads on after our name."""

    def permissions(self, params: P) -> tuple[Permission, ...]:
        """Return the rights to read and patch the workload."""
        return (*workload_rights(params.workload, "get", "patch"), *story_rights(params.workload))

    def target(self, params: P) -> Target:
        """Return the workload; other ways to replace its pods share the effect."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: P) -> TargetSurvey:
        """Look at the workload: its pods are replaced as by a restart, and GitOps controllers track its template."""
        workload = params.workload
        seen = await systems.cluster(workload.cluster).workload(workload)
        return surveyed(seen, restart_impact(workload.kind, seen), changes=seen.meta)

    async def dry_run(self, ctx: StepContext, params: P) -> None:
        """Rehearse the patch; refuses where the changed template would replace no pod."""
        cluster = ctx.systems.cluster(params.workload.cluster)
        seen = await cluster.templated(params.workload)
        refuse_waiting(params.workload, seen.state)
        decided = self._decide(params, seen)
        same = test("/metadata/uid", decided.uid)
        await cluster.patch(seen.meta.ref, [same, *self._patch(ctx, seen, decided)], dry_run=True)

    async def claim(self, ctx: StepContext, params: P) -> None:
        """Raise the fence on the workload."""
        await claim_workload(ctx, params.workload)

    async def capture(self, ctx: StepContext, params: P) -> State:
        """Decide the values, once, from what is there now."""
        seen = await ctx.systems.cluster(params.workload.cluster).templated(params.workload)
        require_fence(seen.meta, ctx.fence, seen.meta.uid)
        return self._decide(params, seen).model_dump(mode="json")

    async def execute(self, ctx: StepContext, params: P, state: State) -> R:
        """Write the values that were decided; raises ConflictError when somebody changed one of them since."""
        decided, workload = SettingsChange.model_validate(state), params.workload
        cluster = ctx.systems.cluster(workload.cluster)

        def build(seen: TemplatedWorkload) -> JsonPatch | None:
            if seen.meta.annotations.get(STEP) == ctx.step_key:
                return None
            if not self._holds_before(seen, decided):
                raise ConflictError(f"container {decided.container} of {workload} was changed since this step looked")
            return self._patch(ctx, seen, decided)

        await change(cluster, ctx.fence, decided.uid, lambda: cluster.templated(workload), build)
        return self.outcome(params, decided)

    async def observe(self, ctx: StepContext, params: P, state: State) -> Observed[R]:
        """Look for this step's key, then for the values."""
        decided, workload = SettingsChange.model_validate(state), params.workload
        seen = await ctx.systems.cluster(workload.cluster).templated(workload)
        if seen.meta.uid != decided.uid:
            return Observed(seen=Seen.UNKNOWN, detail=f"{workload} was deleted and created anew")
        if seen.meta.annotations.get(STEP) == ctx.step_key:
            result = self.outcome(params, decided)
            return Observed(seen=Seen.TOOK_EFFECT, result=result, detail="the workload carries this step")
        if self._holds_before(seen, decided):
            return Observed(seen=Seen.NO_EFFECT, detail="the values are those from before")
        return Observed(seen=Seen.UNKNOWN, detail=f"container {decided.container} was changed, and not by this step")

    async def undo(self, ctx: StepContext, params: P, state: State) -> Undone:
        """Put all values back while every one of them is still ours."""
        decided, workload = SettingsChange.model_validate(state), params.workload
        try:
            seen = await ctx.systems.cluster(workload.cluster).templated(workload)
        except NotFoundError:
            return Undone.NOTHING_TO_UNDO
        if seen.meta.uid != decided.uid:
            return Undone.DRIFTED
        if seen.meta.annotations.get(UNDONE) == ctx.step_key:
            return Undone.UNDONE
        if self._holds_before(seen, decided):
            return Undone.NOTHING_TO_UNDO
        if not self._holds_after(seen, decided):
            return Undone.DRIFTED
        await self.claim(ctx, params)
        return await self._put_back(ctx, workload, decided)

    async def announce(self, ctx: StepContext, params: P, state: State, *, undone: bool) -> None:
        """Write an Event on the workload; it names the settings."""
        made, workload = SettingsChange.model_validate(state), params.workload
        seen = await ctx.systems.cluster(workload.cluster).workload(workload)
        reason = f"{self.reason}Undone" if undone else self.reason
        await tell(ctx, workload.cluster, seen.meta, reason=reason, done=self.told(made, undone=undone))

    async def _put_back(self, ctx: StepContext, workload: Workload, decided: SettingsChange) -> Undone:
        cluster = ctx.systems.cluster(workload.cluster)
        drifted = False

        def build(seen: TemplatedWorkload) -> JsonPatch | None:
            nonlocal drifted
            if seen.meta.annotations.get(UNDONE) == ctx.step_key:
                return None
            drifted = not self._holds_after(seen, decided)
            values = {each.name: each.before for each in decided.settings}
            return None if drifted else self._write(seen, decided.container, values, {UNDONE: ctx.step_key})

        await change(cluster, ctx.fence, decided.uid, lambda: cluster.templated(workload), build)
        return Undone.DRIFTED if drifted else Undone.UNDONE

    def _decide(self, params: P, seen: TemplatedWorkload) -> SettingsChange:
        container = chosen(params, seen)
        present = self.present(container)
        wanted = [Setting(name=name, before=present.get(name), after=to) for name, to in self.wanted(params).items()]
        changes = tuple(each for each in wanted if each.before is None or not self.same(each.before, each.after))
        self.refuse(params, container, changes)
        return SettingsChange(uid=seen.meta.uid, container=container.name, settings=changes)

    def _patch(self, ctx: StepContext, seen: TemplatedWorkload, decided: SettingsChange) -> JsonPatch:
        values = {each.name: each.after for each in decided.settings}
        return self._write(seen, decided.container, values, {STEP: ctx.step_key})

    def _write(
        self, seen: TemplatedWorkload, name: str, values: Mapping[str, str | None], mark: Mapping[str, str]
    ) -> JsonPatch:
        """Return the patch; the generation counts every change of the spec, so the places in it are those seen."""
        container = named(seen, name)
        assert container is not None
        where = f"{CONTAINERS}/{seen.template.containers.index(container)}"
        return [
            test("/metadata/generation", seen.meta.generation),
            test(f"{where}/name", name),
            *self.write(where, container, values),
            *annotate(METADATA_ANNOTATIONS, seen.meta.annotations, mark),
        ]

    def _holds_before(self, seen: TemplatedWorkload, decided: SettingsChange) -> bool:
        container = named(seen, decided.container)
        return container is not None and all(self._is(container, each.name, each.before) for each in decided.settings)

    def _holds_after(self, seen: TemplatedWorkload, decided: SettingsChange) -> bool:
        container = named(seen, decided.container)
        return container is not None and all(self._is(container, each.name, each.after) for each in decided.settings)

    def _is(self, container: ContainerTemplate, name: str, value: str | None) -> bool:
        present = self.present(container).get(name)
        if present is None or value is None:
            return present is value
        return self.same(present, value)


def named(seen: TemplatedWorkload, name: str) -> ContainerTemplate | None:
    """Return the container of this name; the initial ones are none of those that serve."""
    return next((each for each in seen.template.containers if each.name == name and not each.initial), None)


def chosen(params: ContainerParameters, seen: TemplatedWorkload) -> ContainerTemplate:
    """Return the container that is meant.

    Raises NotFoundError for one that the template has not, ConflictError when several could be meant.
    """
    serving = [each for each in seen.template.containers if not each.initial]
    names = ", ".join(each.name for each in serving)
    if params.container is not None:
        found = named(seen, params.container)
        if found is None:
            raise NotFoundError(f"{params.workload} has no container {params.container} (it has {names})")
        return found
    if len(serving) > 1:
        raise ConflictError(f"{params.workload} has several containers ({names}): name the one that is meant")
    return serving[0]
