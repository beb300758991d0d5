"""What a simulation tells: incidents with their priority, pages and runs, from the records that the stages wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.notifications import Notification
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode, Run, RunStatus, Verification
from hdr_responder.domain.timeline import EntryKind, TimelineEntry
from hdr_responder.records.views import View

T = TypeVar("T")

_CHANGING = frozenset(
    {EntryKind.OPENED, EntryKind.REOPENED, EntryKind.PRIORITY, EntryKind.MITIGATED, EntryKind.RESOLVED}
)
_REFUSING = frozenset({EntryKind.GUARD_REFUSED, EntryKind.APPROVAL_ASKED})


class Skipped(View):
    """A delivery that is not Alertmanager's contract, by its number in the input."""

    delivery: int
    problem: str


class SimulatedPage(View):
    """Somebody would have been woken."""

    at: datetime
    reason: str


class SimulatedChange(View):
    """Where an incident would have stood from then on: opened, with another priority, mitigated, resolved, reopened."""

    at: datetime
    kind: EntryKind
    summary: str


class SimulatedRefusal(View):
    """A guard would have refused a run."""

    at: datetime
    guard: str
    reason: str


class SimulatedRun(View):
    """A run that would have been planned, and what would have become of it."""

    playbook: str
    mode: Mode
    mode_reason: str
    status: RunStatus
    verification: Verification
    targets: tuple[str, ...]
    planned_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    reason: str
    refusals: tuple[SimulatedRefusal, ...]


class SimulatedIncident(View):
    """An incident that would have been opened."""

    ref: str
    title: str
    cluster: str
    service: str
    problem: str
    priority: Priority
    priority_rule: str
    priority_reason: str
    status: IncidentStatus
    opened_at: datetime
    resolved_at: datetime | None
    alerts_total: int
    episodes: int
    changes: tuple[SimulatedChange, ...]
    pages: tuple[SimulatedPage, ...]
    runs: tuple[SimulatedRun, ...]
    not_planned: str | None
    """Why nothing was planned; null where something was."""


class Simulated(View):
    """Everything that a simulation tells; the same input gives the same answer."""

    assumed: str
    """How every started run ended: verified or failed."""
    since: datetime | None
    """When the first delivery came; null when there was none."""
    until: datetime | None
    deliveries: int
    skipped: tuple[Skipped, ...]
    incidents: tuple[SimulatedIncident, ...]

    @property
    def pages(self) -> int:
        """How often somebody would have been woken."""
        return sum(len(i.pages) for i in self.incidents)

    @property
    def runs(self) -> Counter[str]:
        """How many runs would have been planned, by what would have become of them."""
        return Counter(_outcome(r) for i in self.incidents for r in i.runs)

    @property
    def refusals(self) -> Counter[str]:
        """How many runs each guard would have refused."""
        return Counter(g for i in self.incidents for r in i.runs for g in {v.guard for v in r.refusals})


def _outcome(run: SimulatedRun) -> str:
    return run.verification if run.verification is not Verification.NONE else run.status


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The records of a simulation that is over."""

    since: datetime | None = None
    until: datetime | None = None
    incidents: Sequence[Incident] = ()
    runs: Sequence[Run] = ()
    entries: Sequence[TimelineEntry] = ()
    pages: Sequence[Notification] = ()

    def tell(self, *, assumed: str, deliveries: int, skipped: Iterable[Skipped]) -> Simulated:
        """Return the records in the order of the incidents' numbers."""
        pages = _grouped(self.pages, lambda n: n.incident_id)
        entries = _grouped(self.entries, lambda e: e.incident_id)
        runs = _grouped(self.runs, lambda r: r.incident_id)
        incidents = (
            _incident(i, entries.get(i.id, []), runs.get(i.id, []), pages.get(i.id, [])) for i in self.incidents
        )
        return Simulated(
            assumed=assumed,
            since=self.since,
            until=self.until,
            deliveries=deliveries,
            skipped=tuple(skipped),
            incidents=tuple(incidents),
        )


def _grouped(items: Iterable[T], key: Callable[[T], int | None]) -> Mapping[int | None, list[T]]:
    groups: dict[int | None, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _incident(
    incident: Incident, entries: Sequence[TimelineEntry], runs: Sequence[Run], pages: Sequence[Notification]
) -> SimulatedIncident:
    not_planned = next((e.summary for e in reversed(entries) if e.kind is EntryKind.NOT_PLANNED), None)
    return SimulatedIncident(
        ref=incident.ref,
        title=incident.title,
        cluster=incident.cluster,
        service=incident.service,
        problem=incident.problem,
        priority=incident.priority,
        priority_rule=incident.priority_rule,
        priority_reason=incident.priority_reason,
        status=incident.status,
        opened_at=incident.opened_at,
        resolved_at=incident.resolved_at,
        alerts_total=incident.alerts_total,
        episodes=incident.episode,
        changes=tuple(SimulatedChange(at=e.at, kind=e.kind, summary=e.summary) for e in entries if e.kind in _CHANGING),
        pages=tuple(SimulatedPage(at=p.created_at, reason=str(p.payload["text"])) for p in pages),
        runs=tuple(_run(r, [e for e in entries if e.run_id == r.id]) for r in runs),
        not_planned=None if runs else not_planned,
    )


def _run(run: Run, entries: Sequence[TimelineEntry]) -> SimulatedRun:
    return SimulatedRun(
        playbook=run.playbook,
        mode=run.mode,
        mode_reason=run.plan.mode_reason,
        status=run.status,
        verification=run.verification,
        targets=tuple(t.title for t in run.plan.targets),
        planned_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        reason=run.reason,
        refusals=tuple(v for e in entries for v in _refusals(e, run)),
    )


def _refusals(entry: TimelineEntry, run: Run) -> Iterable[SimulatedRefusal]:
    """Return the refusals that an entry tells of; those of a run that was only observed stand in its plan."""
    if entry.kind is EntryKind.OBSERVED:
        named = {v.guard: v.reason for v in run.plan.verdicts if not v.allowed}
    else:
        told = entry.detail.get("guards") if entry.kind in _REFUSING else None
        named = {g: str(reason) for g, reason in told.items()} if isinstance(told, dict) else {}
    return [SimulatedRefusal(at=entry.at, guard=guard, reason=reason) for guard, reason in named.items()]
