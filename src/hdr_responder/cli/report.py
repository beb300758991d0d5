"""The report over a period: what automation did, and what it would have done."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from hdr_responder.cli.context import in_session
from hdr_responder.cli.output import clock, note, print_json, print_table, say
from hdr_responder.cli.parameters import Json, period

if TYPE_CHECKING:
    from hdr_responder.app.session import Session
    from hdr_responder.records.reports import RunsReport, WouldHaveDone

MOST_RUNS = 10_000
WEEK = timedelta(days=7)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    *,
    since: Annotated[
        timedelta | None, typer.Option(parser=period, metavar="DURATION", show_default="7d", help="How far back.")
    ] = None,
    would_have_done: Annotated[
        bool, typer.Option("--would-have-done", help="List what was only observed, step by step.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Report what became of the runs of a period."""

    async def read(session: Session) -> RunsReport:
        from hdr_responder.records.reports import runs_report

        until = session.clock.now()
        begin = until - (since or WEEK)
        found = await session.records.runs_between(begin, until, MOST_RUNS)
        if len(found) == MOST_RUNS:
            note(f"Only the first {MOST_RUNS} runs are counted; choose a shorter period.")
        return runs_report(found, since=begin, until=until)

    made = in_session(read)
    if as_json:
        print_json(made)
    elif would_have_done:
        _print_observed(made)
    else:
        _print_counts(made)


def _print_counts(made: RunsReport) -> None:
    say(f"{made.runs} runs from {clock(made.since)} to {clock(made.until)}")
    outcomes = [(what, str(count)) for what, count in made.outcomes.items()]
    print_table(("OUTCOME", "RUNS"), outcomes, empty="No playbook ran.")
    if made.by_playbook:
        print_table(("PLAYBOOK", "RUNS"), [(what, str(count)) for what, count in made.by_playbook.items()], empty="")
    if made.would_have_done:
        note(f"{len(made.would_have_done)} runs were only observed: --would-have-done lists them.")


def _print_observed(made: RunsReport) -> None:
    if not made.would_have_done:
        note(f"Nothing was only observed from {clock(made.since)} to {clock(made.until)}.")
    for item in made.would_have_done:
        _print_one(item)


def _print_one(item: WouldHaveDone) -> None:
    say(f"{clock(item.at)}  {item.priority} {item.incident} {item.title}: would have run {item.playbook}")
    for step in item.steps:
        say(f"  would: {step}")
    for refusal in item.but:
        say(f"  but {refusal}")
