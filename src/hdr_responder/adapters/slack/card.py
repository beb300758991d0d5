"""An incident's one message, for whoever is woken at night: what, how bad, what is being done, what to press."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hdr_responder.adapters.slack.text import (
    BUTTON_LIMIT,
    FIELD_LIMIT,
    MESSAGE_LIMIT,
    Block,
    context,
    escape,
    fields,
    fit,
    header,
    lines,
    link,
    plain,
    section,
    when,
)
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.ports.records import IncidentRecord
from hdr_responder.domain.runs import Run, RunStatus, Step
from hdr_responder.records import presentation as words

ACTION_PREFIX = "hdr_"
MAX_RUNS = 4
MAX_STEPS = 8
MAX_DECISIONS = 3
MAX_REFUSALS = 4
LINE_LIMIT = 320

_SIGNS = {
    IncidentStatus.TRIGGERED: "🔴",
    IncidentStatus.ACKNOWLEDGED: "🟠",
    IncidentStatus.MITIGATED: "🟡",
    IncidentStatus.RESOLVED: "🟢",
    IncidentStatus.CLOSED: "🟢",
}


class Press(StrEnum):
    """The ``action_id`` of each button."""

    ACKNOWLEDGE = f"{ACTION_PREFIX}ack"
    RESOLVE = f"{ACTION_PREFIX}resolve"
    APPROVE = f"{ACTION_PREFIX}approve"
    DENY = f"{ACTION_PREFIX}deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a message shows; ``text`` stands in notifications and where blocks cannot be shown."""

    text: str
    blocks: tuple[Block, ...] = ()


def card(record: IncidentRecord, *, buttons: bool = True) -> Content:
    """Return the message of an incident as it is now, within Slack's limits."""
    incident = record.incident
    blocks: list[Block] = [
        header(f"{_SIGNS[incident.status]} {words.headline(incident)}"),
        fields(_facts(incident)),
        section(f"*Why {incident.priority}*\n{fit(words.priority_line(incident), LINE_LIMIT)}"),
        section(lines(["*Automation*", *_automation(record)])),
    ]
    if buttons:
        blocks += _decisions(record)
        blocks += _controls(incident)
    blocks.append(context(_footer(record)))
    return Content(text=summary(incident), blocks=tuple(blocks))


def summary(incident: Incident) -> str:
    """Return the incident in one escaped line."""
    told = f"{words.headline(incident)}. {words.status_line(incident).text}. {words.alert_counts(incident)}."
    return fit(told, MESSAGE_LIMIT)


def _facts(incident: Incident) -> Iterator[tuple[str, str]]:
    status = words.status_line(incident)
    yield "Status", f"{fit(status.text, FIELD_LIMIT)}\nsince {when(status.since)}"
    yield "Began", when(incident.started_at)
    where = f" (cluster {words.one_line(incident.cluster, 80)})" if incident.cluster else ""
    yield "Service", fit(f"{words.one_line(incident.service, 120) or 'none in particular'}{where}", 320)
    yield "Alerts", escape(words.alert_counts(incident))
    if incident.acknowledged_by and incident.status is not IncidentStatus.ACKNOWLEDGED:
        yield "Acknowledged by", fit(words.person(incident.acknowledged_by), FIELD_LIMIT)
    if incident.commander:
        yield "In command", fit(words.person(incident.commander), FIELD_LIMIT)
    if incident.episode > 1:
        yield "Reopened", f"{incident.episode - 1} times" if incident.episode > 2 else "once"


def _automation(record: IncidentRecord) -> Iterator[str]:
    """Tell the newest run in full and the ones before it in a line each."""
    runs = sorted(record.runs, key=lambda r: r[0].created_at, reverse=True)
    if not runs:
        yield "Nothing has been done automatically."
        return
    yield from _newest(*runs[0])
    for run, _ in runs[1:MAX_RUNS]:
        yield f"• {fit(words.run_line(run), LINE_LIMIT)}"
    left_out = words.more(min(len(runs), MAX_RUNS), len(runs))
    if left_out:
        yield left_out


def _newest(run: Run, steps: tuple[Step, ...]) -> Iterator[str]:
    yield f"• {fit(words.run_line(run), LINE_LIMIT)}"
    if run.status in {RunStatus.HELD, RunStatus.AWAITING_APPROVAL, RunStatus.OBSERVED}:
        for refusal in words.refusals(run.plan.verdicts)[:MAX_REFUSALS]:
            yield f"    Refused by {fit(refusal, LINE_LIMIT)}"
    begun = words.step_lines(run, steps, ahead=False)
    for line in begun[:MAX_STEPS]:
        yield f"    {fit(line, LINE_LIMIT)}"
    if len(begun) > MAX_STEPS:
        yield f"    {words.more(MAX_STEPS, len(begun))}"
    verification = words.verification_line(run)
    if verification:
        yield f"*{escape(verification)}*"


def _decisions(record: IncidentRecord) -> Iterator[Block]:
    """Ask for each run that waits for approval, with what it would do right above the buttons."""
    waiting = [run for run, _ in record.runs if run.status is RunStatus.AWAITING_APPROVAL]
    for run in waiting[:MAX_DECISIONS]:
        planned = [p for p in run.plan.steps if p.mutates] or list(run.plan.steps)
        wanted = [f"{i}. {fit(words.planned_line(p), LINE_LIMIT)}" for i, p in enumerate(planned[:MAX_STEPS], start=1)]
        left_out = words.more(len(wanted), len(planned))
        asked = f"*Approve {fit(words.one_line(run.playbook, 80), 200)}?*"
        yield section(lines([asked, *wanted, *([left_out] if left_out else [])], limit=2000))
        yield {
            "type": "actions",
            "block_id": f"hdr_run_{run.id}",
            "elements": [
                _button(Press.APPROVE, "Approve", str(run.id), style="primary"),
                _button(Press.DENY, "Deny", str(run.id), style="danger"),
            ],
        }
    if len(waiting) > MAX_DECISIONS:
        left_out = words.more(MAX_DECISIONS, len(waiting))
        yield context(f"{left_out} wait for approval: `/incident show {record.incident.ref}`")


def _controls(incident: Incident) -> list[Block]:
    if not incident.status.is_open:
        return []
    buttons = [_resolve_button(incident)]
    if incident.status is IncidentStatus.TRIGGERED:
        buttons.insert(0, _button(Press.ACKNOWLEDGE, "Acknowledge", incident.ref, style="primary"))
    return [{"type": "actions", "block_id": "hdr_incident", "elements": buttons}]


def _resolve_button(incident: Incident) -> dict[str, Any]:
    button = _button(Press.RESOLVE, "Resolve", incident.ref)
    if incident.alerts_firing:
        question = (
            f"{words.alert_counts(incident)}. Repeats of them will not reopen {incident.ref}, a new occurrence will."
        )
        button["confirm"] = {
            "title": plain(f"Resolve {incident.ref}?", 100),
            "text": plain(question, 300),
            "confirm": plain("Resolve", 30),
            "deny": plain("Not yet", 30),
        }
    return button


def _button(action: Press, label: str, value: str, *, style: str | None = None) -> dict[str, Any]:
    button: dict[str, Any] = {
        "type": "button",
        "action_id": action.value,
        "text": plain(label, BUTTON_LIMIT),
        "value": value,
    }
    return button | ({"style": style} if style else {})


def _footer(record: IncidentRecord) -> str:
    runbook = words.runbook_url(record)
    shown = f"{link(runbook, 'Runbook')} · " if runbook else ""
    return f"{shown}More: `/incident show {record.incident.ref}`"
