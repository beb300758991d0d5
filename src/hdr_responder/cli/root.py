"""All commands under one name, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from hdr_responder import __version__
from hdr_responder.cli import (
    check,
    controls,
    deliveries,
    doctor,
    incidents,
    plan,
    postmortem,
    rbac,
    report,
    runs,
    schema,
    service,
    simulate,
    test_playbooks,
)
from hdr_responder.cli.failures import complain
from hdr_responder.cli.output import say
from hdr_responder.cli.parameters import group

NAME = "hdr-responder"

app = group("Answers alerts the way a careful senior on-call engineer would.")
for module in (service, check, plan, simulate, test_playbooks, schema, rbac, doctor, controls, postmortem, report):
    module.register(app)
app.add_typer(incidents.app, name="incidents")
app.add_typer(runs.app, name="runs")
app.add_typer(deliveries.app, name="deliveries")


def _version(*, wanted: bool) -> None:
    if wanted:
        say(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=lambda wanted: _version(wanted=wanted), is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Answers alerts the way a careful senior on-call engineer would.

    Exit codes: 0 done, 1 the documents or the outcome are bad, 2 usage, 3 a dependency cannot be reached.
    """
    del version


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line (this process's by default) and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments, prog_name=NAME)
    except Exception as error:  # noqa: BLE001 - people get a line; `complain` tells a defect from an expected error
        sys.exit(complain(error))
    sys.exit(0)
