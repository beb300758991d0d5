"""What other documents would have done differently with the same input: priorities, pages and runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hdr_responder.engine.simulation.account import Simulated, SimulatedIncident, SimulatedRun
from hdr_responder.records.presentation import moment
from hdr_responder.records.views import View

_Identity = tuple[str, str, str, int]


class Difference(View):
    """One incident that differs; a side is empty where it has no such incident."""

    title: str
    cluster: str
    service: str
    before: tuple[str, ...]
    """What only the other documents would have done."""
    after: tuple[str, ...]
    """What only the present ones would do."""


class Comparison(View):
    """The same deliveries through two versions of the documents."""

    deliveries: int
    incidents_before: int
    incidents_after: int
    pages_before: int
    pages_after: int
    runs_before: dict[str, int]
    runs_after: dict[str, int]
    differences: tuple[Difference, ...]


def compare(before: Simulated, after: Simulated) -> Comparison:
    """Return what differs, in the order in which the incidents were opened."""
    old, new = _by_identity(before.incidents), _by_identity(after.incidents)
    opened = {i: incident.opened_at for side in (new, old) for i, incident in side.items()}
    identities = sorted(opened, key=lambda i: (opened[i], i))
    differences = (_difference(old.get(i), new.get(i)) for i in identities)
    return Comparison(
        deliveries=after.deliveries,
        incidents_before=len(before.incidents),
        incidents_after=len(after.incidents),
        pages_before=before.pages,
        pages_after=after.pages,
        runs_before=dict(sorted(before.runs.items())),
        runs_after=dict(sorted(after.runs.items())),
        differences=tuple(d for d in differences if d),
    )


def _by_identity(incidents: Sequence[SimulatedIncident]) -> dict[_Identity, SimulatedIncident]:
    """Name incidents so that the same one has the same name on both sides: the n-th of its place and problem."""
    seen: Counter[tuple[str, str, str]] = Counter()
    found: dict[_Identity, SimulatedIncident] = {}
    for incident in incidents:
        place = (incident.cluster, incident.service, incident.problem)
        found[(*place, seen[place])] = incident
        seen[place] += 1
    return found


def _difference(old: SimulatedIncident | None, new: SimulatedIncident | None) -> Difference | None:
    before, after = _told(old), _told(new)
    gone, come = Counter(before) - Counter(after), Counter(after) - Counter(before)
    shown = new or old
    if shown is None or not (gone or come):
        return None
    return Difference(
        title=shown.title,
        cluster=shown.cluster,
        service=shown.service,
        before=tuple(_in_order(before, gone)),
        after=tuple(_in_order(after, come)),
    )


def _in_order(lines: Sequence[str], only: Counter[str]) -> list[str]:
    left = Counter(only)
    kept = []
    for line in lines:
        if left[line]:
            left[line] -= 1
            kept.append(line)
    return kept


def _told(incident: SimulatedIncident | None) -> list[str]:
    """Return what is compared, a line each: an incident's priority, its pages, its runs."""
    if incident is None:
        return []
    pages = [f"page at {moment(p.at)}" for p in incident.pages]
    return [f"opened as {incident.priority}", *pages, *(_run(r) for r in incident.runs)]


def _run(run: SimulatedRun) -> str:
    on = f" on {', '.join(run.targets)}" if run.targets else ""
    guards = ", ".join(sorted({v.guard for v in run.refusals}))
    but = f" (refused by {guards})" if guards else ""
    started = f", started at {moment(run.started_at)}" if run.started_at else ""
    return f"run {run.playbook} in mode {run.mode}{on}: {run.status}{but}{started}"
