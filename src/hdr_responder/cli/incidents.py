"""Incidents: list, show, ack, lead, resolve, note."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hdr_responder.cli.context import in_session
from hdr_responder.cli.output import clock, print_json, print_more, print_table, say
from hdr_responder.cli.parameters import By, Cursor, IncidentRef, Json, Limit, group, name, text
from hdr_responder.cli.postmortem import whole_timeline
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.ports.records import IncidentFilter, IncidentRecord, PageRequest
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.timeline import TimelineEntry
from hdr_responder.records import presentation as words
from hdr_responder.records.views import IncidentSummary, incident_summary, incident_view, page_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hdr_responder.app.session import Session

ALERTS_SHOWN = 20
COLUMNS = ("INCIDENT", "PRIORITY", "STATUS", "SERVICE", "ALERTS", "STARTED", "TITLE")

app = group("What people work on.")


@app.command("list")
def list_(
    *,
    status: Annotated[list[IncidentStatus] | None, typer.Option(help="Only these; may be given several times.")] = None,
    priority: Annotated[
        list[Priority] | None, typer.Option(case_sensitive=False, help="Only these; may be given several times.")
    ] = None,
    service: Annotated[str | None, typer.Option(parser=name, metavar="NAME", help="Only of this service.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """List incidents, newest first."""
    which = IncidentFilter(statuses=tuple(status or ()), priorities=tuple(priority or ()), service=service)
    page = in_session(lambda s: s.records.incidents(which, PageRequest(limit=limit, cursor=cursor)))
    view = page_view(page, incident_summary)
    if as_json:
        print_json(view)
        return
    print_table(COLUMNS, [_row(item) for item in view.items], empty="There are no such incidents.")
    print_more(view.next_cursor)


@app.command()
def show(*, incident: IncidentRef, as_json: Json = False) -> None:
    """Show an incident with its alerts, runs, evidence and timeline."""

    async def read(session: Session) -> tuple[IncidentRecord, Sequence[TimelineEntry]]:
        return await session.records.incident(incident), await whole_timeline(session.records, incident)

    record, timeline = in_session(read)
    if as_json:
        print_json(incident_view(record))
    else:
        _print_record(record, timeline)


@app.command()
def ack(*, incident: IncidentRef, by: By, as_json: Json = False) -> None:
    """Acknowledge an incident; automation goes on."""
    _told(in_session(lambda s: s.operations.acknowledge(incident, by=by)), as_json=as_json)


@app.command()
def lead(
    *,
    incident: IncidentRef,
    person: Annotated[
        str | None, typer.Option(parser=name, metavar="NAME", help="Who is given command; absent: you take it.")
    ] = None,
    by: By,
    as_json: Json = False,
) -> None:
    """Take command of an incident: from then on its automation asks before it acts."""
    changed = in_session(lambda s: s.operations.lead(incident, by=by, person=person))
    if as_json:
        print_json(incident_summary(changed))
    else:
        say(
            f"{words.person(changed.commander or by)} has command of {changed.ref}; its automation asks before it acts."
        )


@app.command()
def resolve(
    *,
    incident: IncidentRef,
    note: Annotated[str | None, typer.Option(parser=text, metavar="TEXT", help="What ended it.")] = None,
    by: By,
    as_json: Json = False,
) -> None:
    """Declare an incident over, also while alerts still fire; a new occurrence reopens it."""
    _told(in_session(lambda s: s.operations.resolve(incident, by=by, note=note)), as_json=as_json)


@app.command()
def note(
    *,
    incident: IncidentRef,
    written: Annotated[str, typer.Argument(parser=text, metavar="TEXT", help="What to write.")],
    by: By,
    as_json: Json = False,
) -> None:
    """Write on an incident's timeline."""
    changed = in_session(lambda s: s.operations.note(incident, by=by, text=written))
    if as_json:
        print_json(incident_summary(changed))
    else:
        say(f"Written on the timeline of {changed.ref}.")


def _told(incident: Incident, *, as_json: bool) -> None:
    if as_json:
        print_json(incident_summary(incident))
    else:
        say(f"{incident.ref}: {words.status_line(incident)}")


def _row(incident: IncidentSummary) -> tuple[str, ...]:
    bound = ">=" if incident.alerts_lower_bound else ""
    alerts = f"{bound}{incident.alerts_firing}/{bound}{incident.alerts_total}"
    service = incident.service or "unknown"
    started = clock(incident.started_at)
    return incident.ref, incident.priority, incident.status, service, alerts, started, incident.title


def _print_record(record: IncidentRecord, timeline: Sequence[TimelineEntry]) -> None:
    from hdr_responder.adapters.console import card_lines

    for line in card_lines(record):
        say(line)
    shown = record.alerts[:ALERTS_SHOWN]
    say("Alerts")
    for alert in shown:
        until = clock(alert.ends_at) if alert.ends_at else "firing"
        say(f"  {clock(alert.starts_at)} - {until}  {words.labels_line(alert.labels)}")
    if words.more(len(shown), record.incident.alerts_total):
        say(f"  {words.more(len(shown), record.incident.alerts_total)}")
    if record.artifacts:
        say("Evidence")
    for artifact in record.artifacts:
        say(f"  {artifact.id}  {words.one_line(artifact.name)} ({artifact.size} bytes)")
    say("Timeline")
    for entry in timeline:
        say(f"  {clock(entry.at)}  {words.person(entry.actor)}: {words.one_line(entry.summary, 1000)}")
