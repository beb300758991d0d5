"""What a playbook would do about an alert: offline, always the same for the same input, and changing nothing."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from hdr_responder.cli.check import ConfigDir, PlaybooksDir, overlaid
from hdr_responder.cli.failures import ExitCode
from hdr_responder.cli.output import note, print_json
from hdr_responder.cli.parameters import Json, reading
from hdr_responder.errors import InvalidInputError, PermanentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hdr_responder.cli.server_dry_run import DryRunView

_MOMENT: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


def _moment(text: str) -> datetime:
    try:
        return _MOMENT.validate_python(text)
    except ValidationError as error:
        message = f"{text[:40]!r} is no time with its offset; expected for example 2026-12-24T18:00:00Z"
        raise InvalidInputError(message) from error


def plan(
    *,
    playbook: Annotated[str, typer.Argument(help="The playbook's name.")],
    alert: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, metavar="FILE", help="What Alertmanager delivers, as JSON.")
    ],
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=reading(_moment),
            metavar="TIME",
            help="When it would start, for freezes and windows (2026-12-24T18:00Z).",
        ),
    ] = None,
    server_dry_run: Annotated[
        bool,
        typer.Option("--server-dry-run", help="Also rehearse each change on its real target and ask for the rights."),
    ] = False,
    config: ConfigDir = None,
    playbooks: PlaybooksDir = None,
    as_json: Json = False,
) -> None:
    """Print what a playbook would do about an alert: steps, targets, rights, guards, undo, verification and mode."""
    from hdr_responder.app.documents import load_documents
    from hdr_responder.cli.plan_text import plan_view, print_plan
    from hdr_responder.cli.rehearsal import Setting, rehearse
    from hdr_responder.cli.server_dry_run import rehearse_on_servers
    from hdr_responder.settings import load_settings

    settings = load_settings(environ=overlaid(os.environ, config, playbooks))
    documents = load_documents(settings)
    compiled = documents.playbook(playbook)
    try:
        rehearsal = rehearse(Setting(settings=settings, documents=documents, at=at), compiled, _read(alert))
    except InvalidInputError as error:
        raise PermanentError(f"{alert}: {error}") from error
    for bad in rehearsal.bad:
        note(f"{alert}: {bad.field}: {bad.problem}; this alert is left out")
    if rehearsal.others:
        note(f"The plan is for the first incident; {rehearsal.others} more would get one of their own.")
    reach = documents.services.reach
    asked = rehearse_on_servers(settings, reach, compiled, rehearsal) if server_dry_run else None
    dry_run = asyncio.run(asked) if asked is not None else None
    if as_json:
        print_json(plan_view(rehearsal, dry_run))
    else:
        print_plan(rehearsal, compiled, dry_run)
    raise typer.Exit(_code(dry_run or ()))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from error


def _code(dry_run: Sequence[DryRunView]) -> ExitCode:
    failed = [d for d in dry_run if d.ok is False]
    if any(d.unreachable for d in failed):
        return ExitCode.UNREACHABLE
    return ExitCode.BAD if failed else ExitCode.DONE
