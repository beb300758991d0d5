"""What the documents would have made of recorded deliveries: offline, on a virtual clock, changing nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdr_responder.cli.check import ConfigDir, PlaybooksDir, overlaid
from hdr_responder.cli.context import in_session
from hdr_responder.cli.output import clock, note, print_json, print_table, say
from hdr_responder.cli.parameters import Json, period
from hdr_responder.errors import PermanentError

if TYPE_CHECKING:
    from hdr_responder.cli.recordings import Recording
    from hdr_responder.engine.simulation import Comparison, Simulated, SimulatedIncident, SimulatedRun

STORED = "incidents"
WEEK = timedelta(days=7)
COLUMNS = ("AT", "INCIDENT", "WHAT", "DETAIL")

_Row = tuple[datetime, str, str]


class Assume(StrEnum):
    """How every started run ends."""

    VERIFIED = "verified"
    FAILED = "failed"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FILE|DIR|incidents",
            help="Recorded deliveries: a body, a folder of bodies, JSON lines, or those that the service has stored.",
        ),
    ],
    assume: Annotated[Assume, typer.Option(help="How every started run ends.")] = Assume.VERIFIED,
    diff: Annotated[
        str | None,
        typer.Option(metavar="REV|DIR", help="Print only what differs from another version of the documents."),
    ] = None,
    since: Annotated[
        timedelta | None,
        typer.Option(parser=period, metavar="DURATION", show_default="7d", help="How far back, with incidents."),
    ] = None,
    config: ConfigDir = None,
    playbooks: PlaybooksDir = None,
    as_json: Json = False,
) -> None:
    """Print what would have been opened, paged and run for recorded deliveries.

    Nobody acknowledges or approves anything, and every run that starts ends as assumed.
    """
    from hdr_responder.telemetry import configure_logs

    recording = _recording(source, since or WEEK)
    configure_logs("console", "error")
    environ = overlaid(os.environ, config, playbooks)
    now = _simulated(recording, environ, assume)
    for skipped in now.skipped:
        note(f"{recording.place(skipped.delivery)}: {skipped.problem}; this delivery is left out")
    if now.deliveries == len(now.skipped):
        raise PermanentError(f"{source} holds no delivery that could be replayed")
    if diff is not None:
        _print_comparison(_compared(recording, environ, assume, diff, now), diff, as_json=as_json)
    elif as_json:
        print_json(now)
    else:
        _print(now)


def _recording(source: str, since: timedelta) -> Recording:
    from hdr_responder.cli.recordings import recorded, stored

    if source == STORED:
        return in_session(lambda session: stored(session, since))
    return recorded(Path(source))


def _simulated(recording: Recording, environ: Mapping[str, str], assume: Assume) -> Simulated:
    from hdr_responder.app.documents import load_documents
    from hdr_responder.engine.simulation import World
    from hdr_responder.engine.simulation import simulate as replay
    from hdr_responder.settings import load_settings

    settings = load_settings(environ=environ)
    world = World(settings=settings, documents=load_documents(settings), assume=assume.value)
    return asyncio.run(replay(world, recording))


def _compared(
    recording: Recording, environ: Mapping[str, str], assume: Assume, other: str, now: Simulated
) -> Comparison:
    from hdr_responder.cli.revisions import Folders, other_version
    from hdr_responder.engine.simulation import compare
    from hdr_responder.settings import load_settings

    settings = load_settings(environ=environ)
    with other_version(other, Folders(config=settings.config.dir, playbooks=settings.playbooks.dir)) as folders:
        before = _simulated(recording, overlaid(environ, folders.config, folders.playbooks), assume)
    return compare(before, now)


def _print(made: Simulated) -> None:
    rows = [(clock(at), i.ref, what, detail) for i in made.incidents for at, what, detail in _rows(i)]
    print_table(COLUMNS, rows, empty="Nothing would have been opened.")
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(made.runs.items()))
    runs = sum(made.runs.values())
    say(
        f"{_counted(made.deliveries - len(made.skipped), 'delivery', 'deliveries')}: "
        f"{_counted(len(made.incidents), 'incident')}, {_counted(made.pages, 'page')}, {_counted(runs, 'run')}"
        + (f" ({outcomes})" if outcomes else "")
    )
    if made.refusals:
        say("Runs refused by " + ", ".join(f"{guard} {count}" for guard, count in sorted(made.refusals.items())))
    say(f"Assumed: every run that starts is {made.assumed}; nobody acknowledges, approves, pauses or holds anything.")


def _rows(incident: SimulatedIncident) -> list[_Row]:
    """Return what happens to an incident, in the order in which it does."""
    rows: list[_Row] = [(change.at, change.kind, change.summary) for change in incident.changes]
    rows += [(page.at, "paged", page.reason) for page in incident.pages]
    for run in incident.runs:
        rows += _run_rows(run)
    if incident.not_planned:
        rows.append((incident.opened_at, "no run", incident.not_planned))
    return sorted(rows, key=lambda row: row[0])


def _run_rows(run: SimulatedRun) -> list[_Row]:
    on = f" on {', '.join(run.targets)}" if run.targets else ""
    planned = f"{run.playbook} in mode {run.mode}{on}: {run.mode_reason}"
    rows: list[_Row] = [(run.planned_at, "planned", planned)]
    rows += [(v.at, "refused", f"{run.playbook} by {v.guard}: {v.reason}") for v in run.refusals]
    if run.started_at:
        rows.append((run.started_at, "started", f"{run.playbook}{on}"))
    if run.ended_at:
        rows.append((run.ended_at, run.status, f"{run.playbook}: {run.reason}"))
    return rows


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _print_comparison(made: Comparison, other: str, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    if not made.differences:
        say(f"Nothing differs from {other} for {_counted(made.deliveries, 'delivery', 'deliveries')}.")
        return
    say(f"- {other}")
    say("+ the present documents")
    for found in made.differences:
        where = f" in {found.cluster}" if found.cluster else ""
        say(f"{found.title}{where}")
        for sign, lines in (("-", found.before), ("+", found.after)):
            for line in lines:
                say(f"  {sign} {line}")
    say(
        f"{_counted(made.deliveries, 'delivery', 'deliveries')}: incidents {made.incidents_before} -> "
        f"{made.incidents_after}, pages {made.pages_before} -> {made.pages_after}, runs "
        f"{sum(made.runs_before.values())} -> {sum(made.runs_after.values())}"
    )
