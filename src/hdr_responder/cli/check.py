"""Checks settings and documents together, so that one look tells everything that is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict

from hdr_responder.cli.failures import ExitCode
from hdr_responder.cli.output import note, print_json, say
from hdr_responder.cli.parameters import Json
from hdr_responder.errors import ConfigError

if TYPE_CHECKING:
    from hdr_responder.documents.catalogue import Documents
    from hdr_responder.settings import Settings

_PLACED = re.compile(r"(?P<file>.+?):(?P<line>[0-9]+):(?P<column>[0-9]+): (?P<message>.*)")

ConfigDir = Annotated[
    Path | None,
    typer.Option(
        "--config",
        exists=True,
        file_okay=False,
        metavar="DIR",
        help="Folder of responder.yaml and the documents; by default HDR_CONFIG__DIR, else config.",
    ),
]
PlaybooksDir = Annotated[
    Path | None,
    typer.Option(
        "--playbooks",
        exists=True,
        file_okay=False,
        metavar="DIR",
        help="Folder of the playbooks; by default HDR_PLAYBOOKS__DIR, else playbooks.",
    ),
]


class ProblemView(BaseModel):
    """One mistake; what the environment says wrongly has no file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str | None = None
    line: int | None = None
    column: int | None = None
    message: str
    value: str | None = None
    expected: str | None = None
    suggestion: str | None = None


class CheckView(BaseModel):
    """The result; ``checked`` counts what was read, where all is well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ok: bool
    problems: tuple[ProblemView, ...]
    checked: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found: problems as lines and as views, or what was read."""

    lines: tuple[str, ...]
    problems: tuple[ProblemView, ...]
    documents: Documents | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(*, config: ConfigDir = None, playbooks: PlaybooksDir = None, as_json: Json = False) -> None:
    """Check settings and documents; tells every mistake at its file, line and column."""
    outcome = examine(overlaid(os.environ, config, playbooks))
    counts = _counts(outcome.documents) if outcome.documents and not outcome.problems else {}
    if as_json:
        print_json(CheckView(ok=not outcome.problems, problems=outcome.problems, checked=counts))
    elif outcome.problems:
        for line in outcome.lines:
            say(line)
        note(f"{len(outcome.lines)} problem{'s' if len(outcome.lines) > 1 else ''}")
    else:
        say("ok: settings, " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    if outcome.problems:
        raise typer.Exit(ExitCode.BAD)


def overlaid(environ: Mapping[str, str], config: Path | None, playbooks: Path | None) -> dict[str, str]:
    """Return the environment with the folders that the command line names."""
    named = {"HDR_CONFIG__DIR": config, "HDR_PLAYBOOKS__DIR": playbooks}
    return {**environ, **{variable: str(path) for variable, path in named.items() if path is not None}}


def examine(environ: Mapping[str, str]) -> Outcome:
    """Check settings and documents; wrong settings do not keep the documents from being checked."""
    from hdr_responder.actions.registry import registry
    from hdr_responder.app.documents import target_names, unknown_effects
    from hdr_responder.documents.catalogue import load
    from hdr_responder.documents.problems import DocumentError
    from hdr_responder.settings import load_settings

    lines: list[str] = []
    settings: Settings | None = None
    documents: Documents | None = None
    try:
        settings = load_settings(environ=environ)
    except ConfigError as error:
        lines = str(error).splitlines()
    if settings:
        lines += unknown_effects(settings)
    problems = [_placed(line) for line in lines]
    folders = (settings.config.dir, settings.playbooks.dir) if settings else _folders(environ)
    try:
        documents = load(*folders, registry(), target_names(settings) if settings else None)
    except DocumentError as error:
        lines += [str(problem) for problem in error.problems]
        problems += [ProblemView.model_validate(problem.to_json()) for problem in error.problems]
    return Outcome(lines=tuple(lines), problems=tuple(problems), documents=documents)


def _placed(line: str) -> ProblemView:
    found = _PLACED.fullmatch(line)
    if found is None:
        return ProblemView(message=line)
    return ProblemView(
        file=found["file"], line=int(found["line"]), column=int(found["column"]), message=found["message"]
    )


def _folders(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return where the documents are, as far as settings with mistakes tell."""
    from hdr_responder.documents.source import read_sources

    config = environ.get("HDR_CONFIG__DIR") or "config"
    sources, _ = read_sources(Path(config) / "responder.yaml")
    written: Any = sources[0].value if sources else lambda _: None
    named = environ.get("HDR_PLAYBOOKS__DIR") or written(("playbooks", "dir"))
    return Path(config).expanduser(), Path(named if isinstance(named, str) else "playbooks").expanduser()


def _counts(documents: Documents) -> dict[str, int]:
    return {
        "services": len(documents.services.services),
        "triage rules": len(documents.triage.rules),
        "groups": len(documents.escalation.groups),
        "playbooks": len(documents.playbooks),
    }
