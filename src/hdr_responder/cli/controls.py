"""The switches that people set: pause, resume and hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from hdr_responder.cli.context import in_session
from hdr_responder.cli.output import clock, print_json, print_table, say
from hdr_responder.cli.parameters import By, Json, duration, name, text
from hdr_responder.cli.runs import COLUMNS, row
from hdr_responder.records.views import PauseView, hold_view, run_summary


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(pause)
    app.command()(resume)
    app.command()(hold)


def pause(
    *,
    reason: Annotated[str | None, typer.Argument(parser=text, help="Why, for the people who find it stopped.")] = None,
    by: By,
    as_json: Json = False,
) -> None:
    """Stop all automation; nothing automatic starts any more once this returns. Lists the runs in flight."""
    in_flight = in_session(lambda s: s.operations.pause(by=by, reason=reason))
    if as_json:
        print_json(PauseView(paused=True, runs_in_flight=tuple(run_summary(r) for r in in_flight)))
        return
    say("Automation is paused; hdr-responder resume lets it go on.")
    if in_flight:
        say(f"Still in flight, each until its next step ({len(in_flight)}):")
    print_table(COLUMNS, [row(run_summary(r)) for r in in_flight], empty="Nothing is in flight.")


def resume(*, by: By, as_json: Json = False) -> None:
    """Let automation go on; what was held is asked again."""
    state = in_session(lambda s: s.operations.resume(by=by))
    if as_json:
        print_json(PauseView(paused=state.engaged))
    else:
        say("Automation goes on.")


def hold(
    *,
    service: Annotated[str, typer.Argument(parser=name, help="The service's name in the catalogue.")],
    length: Annotated[
        timedelta, typer.Argument(parser=duration, metavar="DURATION", help="How long (30m); 0 ends a hold.")
    ],
    reason: Annotated[str | None, typer.Option(parser=text, metavar="TEXT", help="Why.")] = None,
    by: By,
    as_json: Json = False,
) -> None:
    """Keep automation away from one service for a while."""
    held = in_session(lambda s: s.operations.hold(service, length, by=by, reason=reason))
    if as_json:
        print_json(hold_view(held))
    elif length:
        say(f"Automation keeps away from {held.service} until {clock(held.until)}.")
    else:
        say(f"Automation may act on {held.service} again.")
