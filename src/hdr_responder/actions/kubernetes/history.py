"""Reads what was rolled out when: the revisions that the cluster keeps, and the release that runs now."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.kubernetes.differences import differences
from hdr_responder.actions.kubernetes.releases import History, Release, changes_of, read_history, running
from hdr_responder.actions.kubernetes.rights import rights, workload_rights
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.ports.kubernetes import Revision
from hdr_responder.domain.workloads import Workload

NO_RELEASE = timedelta(days=36500)
"""The age where there is no release to go back from: older than any line that a playbook draws, so that
``age < fresh`` is false, and no number that is mistaken for an age."""

SHOWN_CAUSE = 200
MINUTE = timedelta(minutes=1)


def history_rights(workload: Workload) -> tuple[Permission, ...]:
    """Return the rights to read a workload and the revisions that the cluster keeps of it."""
    kept = "apps/replicasets" if workload.kind == "deployment" else "apps/controllerrevisions"
    return (*workload_rights(workload, "get"), *rights(workload, kept, "list"))


class RolloutHistoryParameters(Parameters):
    """Whose history to read."""

    shorthand = "workload"
    workload: Workload
    limit: int = Field(default=10, ge=1, le=100, description="Most revisions told, the newest ones.")


class RevisionEntry(Result):
    """One revision of the pod template."""

    number: int
    created: datetime = Field(description="When this template first appeared; going back to it does not change that.")
    images: list[str] = Field(description="Of its containers, in order.")
    change_cause: str = Field(description="As the annotation kubernetes.io/change-cause says, else empty.")
    changes: list[str] = Field(description="Against the revision numbered before it.")
    current: bool = Field(description="Whether the present pod template is exactly this one.")


class RolloutHistoryResult(Result):
    """The revisions that the cluster keeps."""

    revisions: list[RevisionEntry] = Field(description="Newest first.")
    total: int = Field(description="Revisions that the cluster keeps.")
    current: int | None = Field(description="Number of the present one; null while the cluster has not recorded it.")
    summary: str


class RolloutHistory(Read[RolloutHistoryParameters, RolloutHistoryResult]):
    """Lists the revisions of a workload's pod template."""

    name = "kubernetes.rollout_history"
    summary = "List the revisions of a workload's pod template: when, which images, why, what changed."
    example = """\
id: history
action: kubernetes.rollout_history
with:
  workload: "${params.workload}"
  limit: 5
"""
    parameters = RolloutHistoryParameters
    result = RolloutHistoryResult

    def permissions(self, params: RolloutHistoryParameters) -> tuple[Permission, ...]:
        """Return the rights to read the workload and its revisions."""
        return history_rights(params.workload)

    async def execute(self, ctx: StepContext, params: RolloutHistoryParameters) -> RolloutHistoryResult:
        """Read."""
        history = await read_history(ctx.systems.cluster(params.workload.cluster), params.workload)
        current = history.current
        newest = list(reversed(history.revisions))[: params.limit]
        entries = [_entry(history, each, current) for each in newest]
        number = current.number if current else None
        return RolloutHistoryResult(
            revisions=entries,
            total=len(history.revisions),
            current=number,
            summary=_told(entries, len(history.revisions), number),
        )


def _entry(history: History, revision: Revision, current: Revision | None) -> RevisionEntry:
    return RevisionEntry(
        number=revision.number,
        created=revision.created,
        images=[each.image for each in revision.template.containers],
        change_cause=(revision.change_cause or "")[:SHOWN_CAUSE],
        changes=changes_of(history, revision),
        current=current is not None and revision.number == current.number,
    )


def _told(entries: list[RevisionEntry], total: int, current: int | None) -> str:
    at = f"revision {current} is current" if current is not None else "the present template is not recorded yet"
    last = next((f"; it changed {', '.join(each.changes)}" for each in entries if each.current and each.changes), "")
    return f"{total} {'revision' if total == 1 else 'revisions'} kept, {at}{last}"


class LastReleaseParameters(Parameters):
    """Whose release to find."""

    shorthand = "workload"
    workload: Workload


class LastReleaseResult(Result):
    """The release that runs now, and what it changed against the one before it."""

    found: bool = Field(description="Whether the cluster knows a release before the present one, to go back to.")
    age: Duration = Field(
        description="Since the present release first appeared; 36500d where none is found, so that a comparison such as"
        " age < 30m is false."
    )
    at: datetime | None = Field(description="When it first appeared; null where none is found.")
    revision: int = Field(description="The revision that is rolled out now.")
    previous_revision: int | None = Field(description="The newest revision of the release before it.")
    changes: list[str] = Field(
        description="What it changed against that; values of environment variables are not told."
    )
    summary: str


class LastRelease(Read[LastReleaseParameters, LastReleaseResult]):
    """Finds the newest change of the pod template that was neither a restart nor a run's annotation."""

    name = "kubernetes.last_release"
    summary = "Tell how old the release is that runs now and what it changed; a restart is no release."
    example = """\
id: release
action: kubernetes.last_release
with:
  workload: "${params.workload}"
"""
    parameters = LastReleaseParameters
    result = LastReleaseResult

    def permissions(self, params: LastReleaseParameters) -> tuple[Permission, ...]:
        """Return the rights to read the workload and its revisions."""
        return history_rights(params.workload)

    async def execute(self, ctx: StepContext, params: LastReleaseParameters) -> LastReleaseResult:
        """Read; raises TemporaryError in the moments until the cluster has recorded the present template."""
        workload = params.workload
        history = await read_history(ctx.systems.cluster(workload.cluster), workload)
        revision = running(history, workload)
        release = history.release_of(revision.template)
        assert release is not None
        previous = history.before(release)
        if previous is None:
            return _none(history, release, revision)
        changes = differences(previous.newest.template, revision.template)
        age = max(ctx.clock.now() - release.appeared, timedelta(0))
        return LastReleaseResult(
            found=True,
            age=age,
            at=release.appeared,
            revision=revision.number,
            previous_revision=previous.newest.number,
            changes=changes,
            summary=f"a release {ago(age)}: {', '.join(changes)}{_returned(history, release)}{_pending(history)}",
        )


def _none(history: History, release: Release, revision: Revision) -> LastReleaseResult:
    left = history.after(release)
    if left is not None:
        why = f"no release to go back from: the oldest one known runs, gone back to from revision {left.newest.number}"
    elif len(history.revisions) > 1:
        why = f"no release known: all {len(history.revisions)} revisions kept are restarts of the same one"
    else:
        why = "no release known: the cluster keeps the present revision alone"
    return LastReleaseResult(
        found=False,
        age=NO_RELEASE,
        at=None,
        revision=revision.number,
        previous_revision=None,
        changes=[],
        summary=why + _pending(history),
    )


def _returned(history: History, release: Release) -> str:
    left = history.after(release)
    return f" (gone back to from revision {left.newest.number})" if left else ""


def _pending(history: History) -> str:
    return "" if history.current else " (paused, with a newer template that is not rolled out)"


def ago(length: timedelta) -> str:
    """Return a length of time as people say it, in its largest whole unit."""
    for unit, size in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", MINUTE)):
        count = length // size
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "less than a minute ago"
