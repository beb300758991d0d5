"""The words in which people read about incidents and runs, so that Slack, the console and the post-mortem say the same.

Everything here is plain text without markup. It carries text from outside as it came, only flattened to one line and
shortened: whoever shows it escapes it for its medium.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.ports.records import IncidentRecord
from hdr_responder.domain.runs import GuardVerdict, Plan, PlannedStep, Run, RunStatus, Step, StepStatus, Verification

ELLIPSIS = "…"
TITLE_LIMIT = 200
REASON_LIMIT = 300
NAME_LIMIT = 80
URL_LIMIT = 2000

_RUNBOOK_ANNOTATIONS = ("runbook_url", "runbook")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co"})
_UNITS = (
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("min", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
)

_RUN_STATUS = {
    RunStatus.OBSERVED: "observed only, nothing was done",
    RunStatus.AWAITING_APPROVAL: "waits for approval",
    RunStatus.HELD: "held by a guard",
    RunStatus.RUNNING: "running",
    RunStatus.VERIFYING: "done, checking whether it helped",
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.AMBIGUOUS: "unclear whether it took effect, a person decides",
    RunStatus.CANCELLED: "cancelled",
    RunStatus.DENIED: "denied",
    RunStatus.EXPIRED: "expired while it waited",
}

_VERIFICATION = {
    Verification.PENDING: "Verification: under way",
    Verification.VERIFIED: "Verification: it helped",
    Verification.FAILED: "Verification: it did not help",
    Verification.INCONCLUSIVE: "Verification: inconclusive, no evidence either way",
}

_STEP_STATUS = {
    StepStatus.PENDING: "to come",
    StepStatus.STARTED: "started",
    StepStatus.SUCCEEDED: "done",
    StepStatus.FAILED: "failed",
    StepStatus.SKIPPED: "skipped",
    StepStatus.AMBIGUOUS: "unclear whether it took effect",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLine:
    """Where an incident stands and since when, apart so that a medium can show the time in its reader's zone."""

    text: str
    since: datetime

    def __str__(self) -> str:
        return f"{self.text} since {moment(self.since)}"


def shorten(text: str, limit: int) -> str:
    """Return ``text`` with at most ``limit`` characters (at least 1), cut visibly."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS


def one_line(text: str, limit: int = REASON_LIMIT) -> str:
    """Return outside text on one line without characters that steer terminals or turn the reading direction."""
    visible = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c) not in _UNSEEN)
    return shorten(" ".join(visible.split()), limit)


def moment(at: datetime) -> str:
    """Return a time as people compare it across systems: UTC to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def length(span: timedelta) -> str:
    """Return a span in its two largest units (``2 h 5 min``); below a second it is ``< 1 s``."""
    if span < timedelta(seconds=1):
        return "< 1 s"
    parts: list[str] = []
    for unit, size in _UNITS:
        count, span = divmod(span, size)
        if count:
            parts.append(f"{count} {unit}")
        if len(parts) == 2 or (parts and not count):
            break
    return " ".join(parts)


def person(name: str) -> str:
    """Return a name for reading: without the account that is kept with it for the audit (``alice (slack:U1)``)."""
    return one_line(re.sub(r" \([a-z]+:[^()\s]+\)$", "", name), NAME_LIMIT)


def headline(incident: Incident) -> str:
    """Return what tells this incident from others at a glance."""
    title = one_line(incident.title, TITLE_LIMIT) or "untitled"
    about = f" {one_line(incident.service, NAME_LIMIT)}" if incident.service else ""
    return f"{incident.priority} {incident.ref}{about}: {title}"


def status_line(incident: Incident) -> StatusLine:
    """Return where the incident stands, by whom, and since when."""
    reached: tuple[str, datetime | None]
    match incident.status:
        case IncidentStatus.TRIGGERED:
            reached = ("Triggered, not acknowledged yet", incident.opened_at)
        case IncidentStatus.ACKNOWLEDGED:
            reached = (f"Acknowledged{_by(incident.acknowledged_by)}", incident.acknowledged_at)
        case IncidentStatus.MITIGATED:
            reached = ("Mitigated, not yet confirmed as over", incident.mitigated_at)
        case IncidentStatus.RESOLVED:
            reached = (f"Resolved{_by(incident.resolved_by)}", incident.resolved_at)
        case IncidentStatus.CLOSED:
            reached = ("Closed", incident.closed_at)
    text, since = reached
    return StatusLine(text=text, since=since or incident.opened_at)


def acknowledged_line(incident: Incident) -> str:
    """Return who took note of it, empty when nobody did."""
    if not incident.acknowledged_by:
        return ""
    at = f" at {moment(incident.acknowledged_at)}" if incident.acknowledged_at else ""
    return f"{person(incident.acknowledged_by)}{at}"


def priority_line(incident: Incident) -> str:
    """Return the priority with the reason for it."""
    if incident.priority_set_by:
        return f"{incident.priority}, set by {person(incident.priority_set_by)}"
    reason = one_line(incident.priority_reason) or "no reason was given"
    return f"{incident.priority}: {reason} (rule {one_line(incident.priority_rule, NAME_LIMIT)})"


def alert_counts(incident: Incident) -> str:
    """Return how many alerts it has; counts of truncated groups are lower bounds (Alertmanager contract rule 10)."""
    at_least = ">= " if incident.lower_bound else ""
    noun = "alert" if incident.alerts_total == 1 and not incident.lower_bound else "alerts"
    return f"{at_least}{incident.alerts_firing} firing of {at_least}{incident.alerts_total} {noun}"


def run_line(run: Run) -> str:
    """Return one line on a run: what, how far it may go by itself, where it stands and why."""
    asked = f", asked for by {person(run.requested_by)}" if run.requested_by else ""
    why = f": {one_line(run.reason)}" if run.reason.strip() else ""
    return f"{one_line(run.playbook, NAME_LIMIT)} ({run.mode}{asked}) {_RUN_STATUS[run.status]}{why}"


def run_status(status: RunStatus) -> str:
    """Return a run's status in words."""
    return _RUN_STATUS[status]


def verification_line(run: Run) -> str:
    """Return whether the remediation helped; empty when nothing was done that could be verified."""
    return _VERIFICATION.get(run.verification, "")


def refusals(verdicts: Sequence[GuardVerdict]) -> tuple[str, ...]:
    """Return the guards that refused, each with its reason."""
    return tuple(f"{v.guard}: {one_line(v.reason)}" for v in verdicts if not v.allowed)


def planned_line(step: PlannedStep) -> str:
    """Return what a step would do and to what."""
    target = f" on {one_line(step.target.title, NAME_LIMIT)}" if step.target else ""
    return f"{one_line(step.summary).rstrip('.') or step.action}{target}"


def step_lines(run: Run, steps: Sequence[Step], *, ahead: bool = True) -> list[str]:
    """Return what became of each step: ``2. Restart the workers: done after 12 s``; ``ahead`` those to come, too."""
    going = run.status is RunStatus.RUNNING and not any(s.status is StepStatus.STARTED for s in steps)
    # A read leaves no trace until it has ended: the next step of a run that goes on is what it is at.
    current = next((s for s in steps if s.status is StepStatus.PENDING), None) if going else None
    shown = [s for s in steps if ahead or s is current or s.status is not StepStatus.PENDING]
    return [_step_line(s, run.plan, "under way" if s is current else _STEP_STATUS[s.status]) for s in shown]


def _step_line(step: Step, plan: Plan, status: str) -> str:
    planned = next((p for p in plan.steps if p.id == step.step_id), None)
    what = planned_line(planned) if planned else step.action
    took = f" after {length(step.ended_at - step.started_at)}" if step.started_at and step.ended_at else ""
    why = f" ({one_line(step.error)})" if step.error else ""
    undone = f"; undone: {one_line(step.undone)}" if step.undone else ""
    return f"{step.position + 1}. {what}: {status}{took}{why}{undone}"


def runbook_url(record: IncidentRecord) -> str | None:
    """Return the first runbook that an alert of the incident names, if it is a web address."""
    for occurrence in record.alerts:
        for name in _RUNBOOK_ANNOTATIONS:
            url = occurrence.annotations.get(name, "").strip()
            if is_web_address(url):
                return url
    return None


def is_web_address(url: str) -> bool:
    """Tell whether people can open it: other schemes (``javascript:``) are never shown as links."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and len(url) <= URL_LIMIT and url.isprintable()


def labels_line(labels: Mapping[str, str], limit: int = REASON_LIMIT) -> str:
    """Return labels as Prometheus writes them, in alphabetical order."""
    return one_line(", ".join(f"{k}={v}" for k, v in sorted(labels.items())), limit)


def more(shown: int, total: int) -> str:
    """Return how many were left out, empty when all are shown."""
    return f"and {total - shown} more" if total > shown else ""


def _by(name: str | None) -> str:
    return f" by {person(name)}" if name else ""
