"""JSON Schemas of the documents, for editors."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hdr_responder.cli.output import note
from hdr_responder.errors import PermanentError


class Kind(StrEnum):
    """What a document can be."""

    PLAYBOOK = "Playbook"
    SERVICE_CATALOGUE = "ServiceCatalogue"
    TRIAGE = "Triage"
    ESCALATION = "Escalation"
    CALENDAR = "Calendar"

    @property
    def file_name(self) -> str:
        """The name of the file that holds its schema."""
        return f"{self.lower()}.json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schema)


def schema(
    *,
    kind: Annotated[
        Kind | None, typer.Argument(case_sensitive=False, help="One kind of document; all without it.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(file_okay=False, metavar="DIR", help="Write one file a kind there.")
    ] = None,
) -> None:
    """Print the JSON Schema of a kind of document, for editors to complete and check with."""
    kinds = [kind] if kind else list(Kind)
    if write is not None:
        _write(write, kinds)
    elif kind:
        typer.echo(text(kind), nl=False)
    else:
        typer.echo(_dumped({str(k): json.loads(text(k)) for k in kinds}), nl=False)


def text(kind: Kind) -> str:
    """Return the schema of a kind as it stands in a file."""
    from hdr_responder.actions.registry import registry
    from hdr_responder.documents.schema import schema as make

    return _dumped(make(kind, registry()))


def _dumped(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _write(folder: Path, kinds: list[Kind]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            folder.joinpath(kind.file_name).write_text(text(kind), encoding="utf-8")
    except OSError as error:
        raise PermanentError(f"{folder} cannot be written: {error.strerror or type(error).__name__}") from error
    note(f"Wrote {', '.join(kind.file_name for kind in kinds)} to {folder}.")
