"""The post-mortem, written from the record: everything the machine knows filled in, everything else left to people.

It is Markdown. Text from outside is put so that it cannot become markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from hdr_responder.domain.alerts import Occurrence
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.ports.records import IncidentRecord
from hdr_responder.domain.runs import Run, Step
from hdr_responder.domain.timeline import TimelineEntry
from hdr_responder.records.presentation import (
    alert_counts,
    labels_line,
    length,
    moment,
    more,
    one_line,
    planned_line,
    priority_line,
    refusals,
    run_line,
    runbook_url,
    status_line,
    step_lines,
    verification_line,
)

ALERTS_SHOWN = 20
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~])")
_TO_FILL = "_To be written by people._"


def render(record: IncidentRecord, timeline: Sequence[TimelineEntry]) -> str:
    """Return the post-mortem of an incident as Markdown."""
    incident = record.incident
    parts = (
        f"# Post-mortem {incident.ref}: {_plain(incident.title)}",
        _summary(record),
        _section("Impact", _TO_FILL),
        _section("Root cause", _TO_FILL),
        _section("Detection and response", _response(incident, timeline)),
        _section("What automation did", _runs(record)),
        _section("Alerts", _alerts(record)),
        _section("Evidence", _evidence(record)),
        _section("Timeline (UTC)", _timeline(timeline)),
        _section("What went well, what did not", _TO_FILL),
        _section("Action items", "| what | who | until |\n|---|---|---|\n| | | |"),
    )
    return "\n\n".join(parts) + "\n"


def _summary(record: IncidentRecord) -> str:
    incident = record.incident
    rows = [
        ("Service", _plain(incident.service) or "unknown"),
        ("Cluster", _plain(incident.cluster) or "none named"),
        ("Priority", _plain(priority_line(incident))),
        ("Status", _plain(str(status_line(incident)))),
        ("Started", moment(incident.started_at)),
        ("Resolved", moment(incident.resolved_at) if incident.resolved_at else "not yet"),
        ("Duration", length(incident.resolved_at - incident.started_at) if incident.resolved_at else "still open"),
        ("Alerts", alert_counts(incident)),
        ("Times opened", str(incident.episode)),
    ]
    runbook = runbook_url(record)
    if runbook:
        rows.append(("Runbook", f"<{runbook}>"))
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)


def _response(incident: Incident, timeline: Sequence[TimelineEntry]) -> str:
    paged = next((e.at for e in timeline if e.kind == "paged"), None)
    return "\n".join(
        (
            f"- First alert began {moment(incident.started_at)}; the incident was opened "
            f"{_after(incident.started_at, incident.opened_at)}.",
            f"- Paged: {_when(incident.opened_at, paged)}.",
            f"- Acknowledged: {_when(incident.opened_at, incident.acknowledged_at)}"
            + (f" by {_plain(incident.acknowledged_by)}." if incident.acknowledged_by else "."),
            f"- Mitigated: {_when(incident.opened_at, incident.mitigated_at)}.",
            f"- Resolved: {_when(incident.opened_at, incident.resolved_at)}"
            + (f" by {_plain(incident.resolved_by)}." if incident.resolved_by else "."),
        )
    )


def _runs(record: IncidentRecord) -> str:
    if not record.runs:
        return "Nothing was automated."
    return "\n\n".join(_run(run, steps) for run, steps in record.runs)


def _run(run: Run, steps: Sequence[Step]) -> str:
    lines = [f"**{_plain(run_line(run))}**", ""]
    if run.mode == "observe":
        lines += [f"- would: {_plain(planned_line(p))}" for p in run.plan.steps]
    else:
        lines += [f"- {_plain(line)}" for line in step_lines(run, steps)]
    lines += [f"- held by {_plain(r)}" for r in refusals(run.plan.verdicts) if run.status.is_ended is False]
    verified = verification_line(run)
    if verified:
        lines.append(f"- {_plain(verified)}")
    lines.append(f"- Run `{run.id}`, playbook version `{run.plan.digest[:12]}`")
    return "\n".join(lines)


def _alerts(record: IncidentRecord) -> str:
    shown = record.alerts[:ALERTS_SHOWN]
    lines = [_alert(a) for a in shown]
    rest = more(len(shown), record.incident.alerts_total)
    return "\n".join(lines + ([f"- {rest}"] if rest else [])) or "None."


def _alert(alert: Occurrence) -> str:
    until = moment(alert.ends_at) if alert.ends_at else "still firing"
    return f"- {moment(alert.starts_at)} to {until}: {_plain(labels_line(alert.labels))}"


def _evidence(record: IncidentRecord) -> str:
    return (
        "\n".join(
            f"- {_plain(a.name)} ({a.size} bytes, {moment(a.created_at)}), artifact `{a.id}`" for a in record.artifacts
        )
        or "None was kept."
    )


def _timeline(timeline: Sequence[TimelineEntry]) -> str:
    rows = (f"| {e.at:%H:%M:%S} | {_plain(one_line(e.actor))} | {_plain(one_line(e.summary))} |" for e in timeline)
    return "| time | who | what |\n|---|---|---|\n" + "\n".join(rows)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _after(start: datetime, end: datetime) -> str:
    return f"{length(end - start)} later" if end >= start else "before it, by the clocks"


def _when(opened: datetime, at: datetime | None) -> str:
    return f"{length(at - opened)} after opening ({moment(at)})" if at else "never"


def _plain(text: str | None) -> str:
    """Return outside text with everything escaped that Markdown reads as markup."""
    return _MARKUP.sub(r"\\\1", one_line(text or "", 1000))
