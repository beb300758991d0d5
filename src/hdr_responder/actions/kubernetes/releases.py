"""The history of a workload as releases: which one runs, since when, and which one it replaced.

The cluster's revisions are not releases. A restart makes a revision, and going back to an older template moves that
template's revision to the end. So revisions that are equal in the release sense are one release, and releases are
ordered by when they first appeared. The release before the present one is then never one that was already gone back
*from*: undoing a release twice goes further back and not forth again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hdr_responder.actions.kubernetes.differences import differences, fingerprint, release_fingerprint
from hdr_responder.domain.ports.kubernetes import KubernetesCluster, PodTemplate, Revision, TemplatedWorkload
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import TemporaryError


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The revisions of one release, oldest number first."""

    revisions: tuple[Revision, ...]

    @property
    def newest(self) -> Revision:
        """The revision that ran last."""
        return self.revisions[-1]

    @property
    def appeared(self) -> datetime:
        """When its template was first rolled out, as far as the cluster remembers."""
        return min(each.created for each in self.revisions)

    @property
    def order(self) -> tuple[datetime, int]:
        """Where it stands among releases; the number tells apart what came in the same second."""
        return self.appeared, min(each.first_number for each in self.revisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A workload's revisions, and those of them that its present template is."""

    workload: TemplatedWorkload
    revisions: tuple[Revision, ...]
    """Oldest number first."""

    @property
    def current(self) -> Revision | None:
        """The revision of exactly the present template; None while the cluster has not recorded it."""
        return exactly(self.workload.template, self.revisions)

    def release_of(self, template: PodTemplate) -> Release | None:
        """Return the release that a template belongs to, None when the cluster keeps no revision of it."""
        wanted = release_fingerprint(template)
        same = tuple(each for each in self.revisions if release_fingerprint(each.template) == wanted)
        return Release(revisions=same) if same else None

    def before(self, release: Release) -> Release | None:
        """Return the newest of the releases that appeared before this one."""
        earlier = [each for each in self._releases() if each.order < release.order]
        return max(earlier, key=lambda each: each.order, default=None)

    def after(self, release: Release) -> Release | None:
        """Return the newest release that appeared after this one, which then was gone back from."""
        later = [each for each in self._releases() if each.order > release.order]
        return max(later, key=lambda each: each.order, default=None)

    def numbered(self, number: int) -> Revision | None:
        """Return the revision of this number."""
        return next((each for each in self.revisions if each.number == number), None)

    def _releases(self) -> list[Release]:
        groups: dict[str, list[Revision]] = {}
        for each in self.revisions:
            groups.setdefault(release_fingerprint(each.template), []).append(each)
        return [Release(revisions=tuple(group)) for group in groups.values()]


def exactly(template: PodTemplate, revisions: Sequence[Revision]) -> Revision | None:
    """Return the newest revision of exactly this template."""
    wanted = fingerprint(template)
    return next((each for each in reversed(revisions) if fingerprint(each.template) == wanted), None)


async def read_history(cluster: KubernetesCluster, workload: Workload) -> History:
    """Read a workload and its revisions."""
    seen = await cluster.templated(workload)
    return History(workload=seen, revisions=await cluster.revisions(workload, seen.state))


def running(history: History, workload: Workload) -> Revision:
    """Return the revision that is rolled out: that of the present template, or of a paused workload the newest.

    Raises TemporaryError while the cluster has not recorded the present template, which it does within moments.
    """
    if history.current is not None:
        return history.current
    if history.workload.state.paused and history.revisions:
        return history.revisions[-1]
    raise TemporaryError(f"the cluster has not recorded the present pod template of {workload} as a revision yet")


def changes_of(history: History, revision: Revision) -> list[str]:
    """Tell what a revision changed against the one numbered before it; a mere restart is told as one."""
    place = history.revisions.index(revision)
    if place == 0:
        return []
    previous = history.revisions[place - 1].template
    return differences(previous, revision.template) or ["restarted"]
