"""Reports over a period: what automation did, and what it would have done where it only observes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.runs import Run, RunStatus
from hdr_responder.records.presentation import planned_line, refusals


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WouldHaveDone(_Frozen):
    """One run that was only observed."""

    at: datetime
    incident: str
    title: str
    priority: str
    playbook: str
    steps: tuple[str, ...]
    targets: tuple[str, ...]
    but: tuple[str, ...]
    """Guards that would have held it, each with its reason."""


class RunsReport(_Frozen):
    """What became of the runs of a period. ``outcomes`` counts verification where there was one, else the status."""

    since: datetime
    until: datetime
    runs: int
    outcomes: dict[str, int]
    by_playbook: dict[str, int]
    would_have_done: tuple[WouldHaveDone, ...]


def runs_report(runs: Sequence[tuple[Run, Incident]], *, since: datetime, until: datetime) -> RunsReport:
    """Summarise the runs of a period."""
    outcomes = Counter(str(r.verification if r.verification != "none" else r.status) for r, _ in runs)
    return RunsReport(
        since=since,
        until=until,
        runs=len(runs),
        outcomes=dict(sorted(outcomes.items())),
        by_playbook=dict(sorted(Counter(r.playbook for r, _ in runs).items())),
        would_have_done=tuple(_would(r, i) for r, i in runs if r.status is RunStatus.OBSERVED),
    )


def _would(run: Run, incident: Incident) -> WouldHaveDone:
    return WouldHaveDone(
        at=run.created_at,
        incident=incident.ref,
        title=incident.title,
        priority=incident.priority,
        playbook=run.playbook,
        steps=tuple(planned_line(s) for s in run.plan.steps),
        targets=tuple(t.title for t in run.plan.targets),
        but=refusals(run.plan.verdicts),
    )
