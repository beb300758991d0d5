"""The post-mortem, to standard output or into a file that is never overwritten unasked: people write in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdr_responder.cli.context import in_session
from hdr_responder.cli.output import note
from hdr_responder.cli.parameters import IncidentRef
from hdr_responder.domain.incidents import format_ref
from hdr_responder.domain.ports.records import MAX_PAGE, PageRequest, Records
from hdr_responder.errors import ConflictError, PermanentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hdr_responder.app.session import Session
    from hdr_responder.domain.timeline import TimelineEntry

MOST_PAGES = 20
"""At most this many times `MAX_PAGE` entries of a timeline are read."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(postmortem)


def postmortem(
    *,
    incident: IncidentRef,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE", help="Write it there instead of printing it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write an incident's post-mortem as Markdown, from its records."""
    from hdr_responder.records.postmortem import render

    if output is not None and output.exists() and not force:
        raise ConflictError(_taken(output))

    async def read(session: Session) -> str:
        record = await session.records.incident(incident)
        return render(record, await whole_timeline(session.records, incident))

    text = in_session(read)
    if output is None:
        typer.echo(text, nl=False)
        return
    _write(output, text, force=force)
    note(f"The post-mortem of {format_ref(incident)} is in {output}.")


async def whole_timeline(records: Records, incident_id: int) -> Sequence[TimelineEntry]:
    """Return an incident's timeline in order."""
    entries: list[TimelineEntry] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await records.timeline(incident_id, PageRequest(limit=MAX_PAGE, cursor=cursor))
        entries.extend(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    return entries


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConflictError(_taken(path)) from None
    except OSError as error:
        raise PermanentError(f"{path} cannot be written: {error.strerror or type(error).__name__}") from error


def _taken(path: Path) -> str:
    return f"{path} exists and people may have written in it; --force overwrites it"
