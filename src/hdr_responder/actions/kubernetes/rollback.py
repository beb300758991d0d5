"""Takes a release back: puts the pod template of an earlier revision in place of the present one.

The template is written exactly as that revision has it. Then the cluster takes the revision's own pods up again (the
same ReplicaSet gets the next number) and the history keeps one entry a template; any mark of ours on the template would
make yet another revision of it. So the step's key is carried by the workload itself and written together with the
template, and observing asks for both.

What was captured names revisions by their digests and holds no template: those may carry secrets as plain text, and the
cluster keeps them anyway.
"""

from __future__ import annotations

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
from hdr_responder.actions.kubernetes.differences import differences, fingerprint, release_fingerprint
from hdr_responder.actions.kubernetes.fencing import change, require_fence
from hdr_responder.actions.kubernetes.history import history_rights
from hdr_responder.actions.kubernetes.marks import METADATA_ANNOTATIONS, STEP, UNDONE, annotate, pointer, replace, test
from hdr_responder.actions.kubernetes.releases import History, read_history
from hdr_responder.actions.kubernetes.rights import workload_rights
from hdr_responder.actions.kubernetes.rollouts import claim_workload, workload_target
from hdr_responder.actions.kubernetes.story import story_rights, tell
from hdr_responder.actions.kubernetes.surveying import restart_impact, surveyed
from hdr_responder.domain.ports.kubernetes import JsonPatch, Revision, TemplatedWorkload, WorkloadState
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import TargetSurvey
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import AmbiguousError, ConflictError, HdrError, NotFoundError, TemporaryError

TEMPLATE = "/spec/template"
CHANGE_CAUSE = "kubernetes.io/change-cause"
"""Tells why the present revision was made; it goes back with the template, as kubectl does it, or the history lies."""


class RolloutUndoParameters(Parameters):
    """What to take back, and how far."""

    shorthand = "workload"
    workload: Workload
    to_revision: int | None = Field(
        default=None, ge=1, description="A revision by its number; without it that of the release before the present."
    )


class RolloutUndoResult(Result):
    """What was gone back to."""

    workload: str = Field(description="The workload, as kind/name.")
    revision: int = Field(
        description="The revision gone back to, by its old number: the cluster gives it the next one."
    )
    from_revision: int = Field(description="The revision that was left.")
    changes: list[str] = Field(description="What going back changed.")
    summary: str


class Side(BaseModel):
    """One revision of the workload, by what does not change when the cluster numbers it anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    name: str
    template: str
    """Digest of the whole template."""
    release: str
    """Digest of the release that it belongs to."""
    change_cause: str | None


class Rollback(BaseModel):
    """The change that was decided; stored as the step's state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: str
    before: Side
    after: Side
    changes: list[str]


class RolloutUndo(Mutation[RolloutUndoParameters, RolloutUndoResult]):
    """Puts an earlier template back; the pods are replaced under the workload's own update strategy."""

    name = "kubernetes.rollout_undo"
    summary = "Roll a workload back to the release before the present one, or to a revision."
    example = """\
id: rollback
action: kubernetes.rollout_undo
with:
  workload: "${params.workload}"
"""
    parameters = RolloutUndoParameters
    result = RolloutUndoResult
    undoable = Undo.RESTORES
    holds_fence = True
    destructive = False
    effect_group = "workload"

    def permissions(self, params: RolloutUndoParameters) -> tuple[Permission, ...]:
        """Return the rights to read the workload with its revisions and to patch it."""
        workload = params.workload
        return (*history_rights(workload), *workload_rights(workload, "patch"), *story_rights(workload))

    def target(self, params: RolloutUndoParameters) -> Target:
        """Return the workload; other ways to replace its pods share the effect."""
        return workload_target(params.workload, self.effect_group)

    async def survey(self, systems: Systems, params: RolloutUndoParameters) -> TargetSurvey:
        """Look at the workload: its pods are replaced as by a restart, and GitOps controllers track its template."""
        workload = params.workload
        seen = await systems.cluster(workload.cluster).workload(workload)
        return surveyed(seen, restart_impact(workload.kind, seen), changes=seen.meta)

    async def dry_run(self, ctx: StepContext, params: RolloutUndoParameters) -> None:
        """Rehearse the patch; refuses where no pod would be replaced, or nothing is there to go back to."""
        workload = params.workload
        cluster = ctx.systems.cluster(workload.cluster)
        history = await read_history(cluster, workload)
        refuse_waiting(workload, history.workload.state)
        decided, revision = decide(history, params)
        same = test("/metadata/uid", decided.uid)
        patch = _swap(history.workload, revision, decided.before, decided.after, {STEP: ctx.step_key})
        await cluster.patch(history.workload.meta.ref, [same, *patch], dry_run=True)

    async def claim(self, ctx: StepContext, params: RolloutUndoParameters) -> None:
        """Raise the fence on the workload."""
        await claim_workload(ctx, params.workload)

    async def capture(self, ctx: StepContext, params: RolloutUndoParameters) -> State:
        """Decide the revision, once, from the history as it is now."""
        history = await read_history(ctx.systems.cluster(params.workload.cluster), params.workload)
        decided, _ = decide(history, params)
        require_fence(history.workload.meta, ctx.fence, decided.uid)
        return decided.model_dump(mode="json")

    async def execute(self, ctx: StepContext, params: RolloutUndoParameters, state: State) -> RolloutUndoResult:
        """Put the revision's template in place of the one that the step was decided on, and look whether it is there.

        Raises ConflictError when somebody changed the template since, AmbiguousError when it is another than ours
        afterwards (admission changed what we wrote, or somebody else did) or could not be looked at.
        """
        decided = Rollback.model_validate(state)
        await self._swap_in(ctx, params.workload, decided)
        try:
            observed = await self.observe(ctx, params, state)
        except HdrError as e:
            raise AmbiguousError(f"the template was written, and whether it stands could not be seen: {e}") from e
        if observed.result is None:
            raise AmbiguousError(observed.detail)
        return observed.result

    async def observe(
        self, ctx: StepContext, params: RolloutUndoParameters, state: State
    ) -> Observed[RolloutUndoResult]:
        """Look for this step's key, and for the template."""
        decided = Rollback.model_validate(state)
        seen = await ctx.systems.cluster(params.workload.cluster).templated(params.workload)
        if seen.meta.uid != decided.uid:
            return Observed(seen=Seen.UNKNOWN, detail=f"{params.workload} was deleted and created anew")
        present = fingerprint(seen.template)
        if seen.meta.annotations.get(STEP) != ctx.step_key:
            if present == decided.before.template:
                return Observed(seen=Seen.NO_EFFECT, detail="the pod template is the one from before")
            return Observed(seen=Seen.UNKNOWN, detail="the pod template was changed, and not by this step")
        if present != decided.after.template:
            detail = f"{params.workload} carries this step, but its pod template is not that of the revision"
            return Observed(seen=Seen.UNKNOWN, detail=detail)
        result = outcome(params.workload, decided)
        return Observed(seen=Seen.TOOK_EFFECT, result=result, detail="the pod template is that of the revision")

    async def undo(self, ctx: StepContext, params: RolloutUndoParameters, state: State) -> Undone:
        """Put the template from before back while the release that we went back to still stands.

        Raises NotFoundError when the cluster does not keep that revision any more.
        """
        decided, workload = Rollback.model_validate(state), params.workload
        try:
            history = await read_history(ctx.systems.cluster(workload.cluster), workload)
        except NotFoundError:
            return Undone.NOTHING_TO_UNDO
        seen = history.workload
        if seen.meta.uid != decided.uid:
            return Undone.DRIFTED
        if seen.meta.annotations.get(UNDONE) == ctx.step_key:
            return Undone.UNDONE
        if fingerprint(seen.template) == decided.before.template:
            return Undone.NOTHING_TO_UNDO
        if release_fingerprint(seen.template) != decided.after.release:
            return Undone.DRIFTED
        revision = _kept(history, decided.before)
        await self.claim(ctx, params)
        return await self._put_back(ctx, workload, decided, revision)

    async def announce(self, ctx: StepContext, params: RolloutUndoParameters, state: State, *, undone: bool) -> None:
        """Write an Event on the workload."""
        decided, workload = Rollback.model_validate(state), params.workload
        seen = await ctx.systems.cluster(workload.cluster).workload(workload)
        if undone:
            reason, done = "RollbackUndone", f"brought back the template of revision {decided.before.number}"
        else:
            reason, done = "RolledBack", f"rolled this back to the template of revision {decided.after.number}"
        await tell(ctx, workload.cluster, seen.meta, reason=reason, done=done)

    async def _swap_in(self, ctx: StepContext, workload: Workload, decided: Rollback) -> None:
        cluster = ctx.systems.cluster(workload.cluster)
        history = await read_history(cluster, workload)

        def build(seen: TemplatedWorkload) -> JsonPatch | None:
            if seen.meta.annotations.get(STEP) == ctx.step_key:
                return None
            if fingerprint(seen.template) != decided.before.template:
                raise ConflictError(f"the pod template of {workload} was changed since this step looked at it")
            revision = _kept(history, decided.after)
            return _swap(seen, revision, decided.before, decided.after, {STEP: ctx.step_key})

        await change(cluster, ctx.fence, decided.uid, lambda: cluster.templated(workload), build)

    async def _put_back(self, ctx: StepContext, workload: Workload, decided: Rollback, revision: Revision) -> Undone:
        cluster = ctx.systems.cluster(workload.cluster)
        drifted = False

        def build(seen: TemplatedWorkload) -> JsonPatch | None:
            nonlocal drifted
            if seen.meta.annotations.get(UNDONE) == ctx.step_key:
                return None
            drifted = release_fingerprint(seen.template) != decided.after.release
            mark = {UNDONE: ctx.step_key}
            return None if drifted else _swap(seen, revision, decided.after, decided.before, mark)

        await change(cluster, ctx.fence, decided.uid, lambda: cluster.templated(workload), build)
        return Undone.DRIFTED if drifted else Undone.UNDONE


def refuse_waiting(workload: Workload, seen: WorkloadState) -> None:
    """Raise ConflictError where a changed template would replace no pod by itself."""
    if seen.paused:
        raise ConflictError(f"{workload} is paused: a changed pod template would wait until it is resumed")
    if seen.update_strategy == "OnDelete":
        raise ConflictError(
            f"{workload} has the update strategy OnDelete: a changed template replaces no pod by itself"
        )


def decide(history: History, params: RolloutUndoParameters) -> tuple[Rollback, Revision]:
    """Decide where to go back to.

    Raises ConflictError or NotFoundError where there is nothing to go back to, TemporaryError in the moments until the
    cluster has recorded the present template.
    """
    present = history.current
    if present is None:
        raise TemporaryError(f"the cluster has not recorded the present pod template of {params.workload} yet")
    wanted = _explicit(history, params, present) if params.to_revision else _earlier(history, params.workload, present)
    decided = Rollback(
        uid=history.workload.meta.uid,
        before=_side(present, history.workload.meta.annotations.get(CHANGE_CAUSE)),
        after=_side(wanted, wanted.change_cause),
        changes=differences(present.template, wanted.template) or ["restarted"],
    )
    return decided, wanted


def _explicit(history: History, params: RolloutUndoParameters, present: Revision) -> Revision:
    found = history.numbered(params.to_revision or 0)
    if found is None:
        kept = ", ".join(str(each.number) for each in history.revisions)
        raise NotFoundError(f"{params.workload} has no revision {params.to_revision} (the cluster keeps {kept})")
    if fingerprint(found.template) == fingerprint(present.template):
        raise ConflictError(f"the pod template of {params.workload} is that of revision {params.to_revision} already")
    return found


def _earlier(history: History, workload: Workload, present: Revision) -> Revision:
    release = history.release_of(present.template)
    assert release is not None
    earlier = history.before(release)
    if earlier is not None:
        return earlier.newest
    left = history.after(release)
    if left is not None:
        detail = f"revision {left.newest.number} is newer and was gone back from; name it as to_revision to go there"
    else:
        detail = "all that the cluster keeps is restarts of it, or the present revision alone"
    raise ConflictError(f"{workload} has no release before the present one: {detail}")


def _side(revision: Revision, change_cause: str | None) -> Side:
    return Side(
        number=revision.number,
        name=revision.name,
        template=fingerprint(revision.template),
        release=release_fingerprint(revision.template),
        change_cause=change_cause,
    )


def _kept(history: History, side: Side) -> Revision:
    """Return the revision of one side, whatever number it has now."""
    for each in history.revisions:
        if each.name == side.name and fingerprint(each.template) == side.template:
            return each
    raise NotFoundError(f"the cluster does not keep the revision {side.number} ({side.name}) any more")


def _swap(
    seen: TemplatedWorkload, revision: Revision, leaving: Side, reaching: Side, mark: dict[str, str]
) -> JsonPatch:
    """Return the patch that writes a revision's template over the one that was seen.

    The generation counts every change of the spec (of a Deployment, those of its annotations too): with a test on it no
    change that came between looking and writing is lost, and a controller that writes the status is no conflict.
    The change cause follows while it is the one that belongs to the template that is left.
    """
    annotations = seen.meta.annotations
    follows = annotations.get(CHANGE_CAUSE) == leaving.change_cause
    cause = reaching.change_cause
    wanted = {**mark, **({CHANGE_CAUSE: cause} if follows and cause is not None else {})}
    drop = follows and cause is None and CHANGE_CAUSE in annotations
    return [
        test("/metadata/generation", seen.meta.generation),
        replace(TEMPLATE, dict(revision.template.manifest)),
        *annotate(METADATA_ANNOTATIONS, annotations, wanted),
        *([{"op": "remove", "path": METADATA_ANNOTATIONS + pointer(CHANGE_CAUSE)}] if drop else []),
    ]


def outcome(workload: Workload, decided: Rollback) -> RolloutUndoResult:
    """Return the result of a change that was made."""
    before, after = decided.before, decided.after
    return RolloutUndoResult(
        workload=str(workload),
        revision=after.number,
        from_revision=before.number,
        changes=decided.changes,
        summary=f"rolled back from revision {before.number} to {after.number}: {', '.join(decided.changes)}",
    )
