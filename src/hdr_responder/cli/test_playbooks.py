"""Runs the tests that playbooks carry: offline, with no cluster and no database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, ConfigDict

from hdr_responder.cli.check import ConfigDir, PlaybooksDir, overlaid
from hdr_responder.cli.failures import ExitCode
from hdr_responder.cli.output import note, print_json, say
from hdr_responder.cli.parameters import Json

if TYPE_CHECKING:
    from hdr_responder.documents.source import Source
    from hdr_responder.engine.simulation.trials import Failure
    from hdr_responder.settings import Settings

_SUFFIXES = (".yaml", ".yml")


class FailureView(BaseModel):
    """An expectation that does not hold, at its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    line: int
    column: int
    what: str
    expected: str
    actual: str


class PlaybookTestView(BaseModel):
    """One test and how it ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    playbook: str
    name: str
    file: str
    line: int
    passed: bool
    failures: tuple[FailureView, ...]


class PlaybookTestsView(BaseModel):
    """All that were run; ``untested`` names playbooks without tests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ok: bool
    tests: tuple[PlaybookTestView, ...]
    untested: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Playbooks that are tested: those of ``path``, loaded with all of ``folder``."""

    folder: Path
    path: Path


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("test")(run_tests)


def run_tests(
    *,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(exists=True, metavar="[PATHS]...", help="Playbooks or folders of them; all without it."),
    ] = None,
    config: ConfigDir = None,
    playbooks: PlaybooksDir = None,
    as_json: Json = False,
) -> None:
    """Run the tests of playbooks, offline; tells every expectation that does not hold at its file, line and column."""
    from hdr_responder.settings import load_settings

    settings = load_settings(environ=overlaid(os.environ, config, playbooks))
    wanted = paths or [settings.playbooks.dir]
    views: dict[tuple[Path, int], PlaybookTestView] = {}
    untested: dict[Path, str] = {}
    for asked in dict.fromkeys(_asked(path, settings.playbooks.dir) for path in wanted):
        for source, name, found in _run(asked, settings):
            file = Path(source.file).resolve()
            views |= {(file, view.line): view for view in found}
            untested |= {} if found else {file: f"{source.file}: {name}"}
    ok = all(view.passed for view in views.values())
    made = PlaybookTestsView(ok=ok, tests=tuple(views.values()), untested=tuple(untested.values()))
    if as_json:
        print_json(made)
    else:
        _print(made)
    raise typer.Exit(ExitCode.DONE if made.ok else ExitCode.BAD)


def _asked(path: Path, folder: Path) -> _Asked:
    """Return with which others a path is loaded: those of the settings' folder where it is in it, else its own."""
    if path.resolve().is_relative_to(folder.resolve()):
        return _Asked(folder, path)
    return _Asked(path if path.is_dir() else path.parent, path)


def _run(asked: _Asked, settings: Settings) -> Iterator[tuple[Source, str, list[PlaybookTestView]]]:
    """Yield each playbook below the path with its tests, in the order of the files."""
    from hdr_responder.actions.registry import registry
    from hdr_responder.app.documents import target_names
    from hdr_responder.documents.catalogue import load
    from hdr_responder.engine.simulation.trials import Trial

    known = registry()
    documents = load(settings.config.dir, asked.folder, known, target_names(settings))
    trial = Trial(settings=settings, documents=documents, registry=known)
    for source in _sources(asked.path):
        playbook = documents.playbook(str(source.value(("metadata", "name"))))
        yield (
            source,
            playbook.name,
            [
                _view(source, playbook.name, i, test.name, trial.failures(playbook, test))
                for i, test in enumerate(playbook.model.tests)
            ],
        )


def _sources(path: Path) -> Iterator[Source]:
    from hdr_responder.documents.source import read_sources

    files = sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file()) if path.is_dir() else [path]
    for file in files:
        yield from read_sources(file)[0]


def _view(source: Source, playbook: str, index: int, name: str, failures: Sequence[Failure]) -> PlaybookTestView:
    at = ("tests", index)
    found = []
    for failure in failures:
        place = source.position((*at, *failure.loc))
        found.append(
            FailureView(
                file=source.file,
                line=place.line,
                column=place.column,
                what=failure.what,
                expected=failure.expected,
                actual=failure.actual,
            )
        )
    line = source.position(at).line
    return PlaybookTestView(
        playbook=playbook, name=name, file=source.file, line=line, passed=not found, failures=tuple(found)
    )


def _print(made: PlaybookTestsView) -> None:
    for view in made.tests:
        for f in view.failures:
            say(f"{f.file}:{f.line}:{f.column}: {view.name}: {f.what}: expected {f.expected}, got {f.actual}")
    failed = sum(not view.passed for view in made.tests)
    for name in made.untested:
        note(f"{name} has no tests")
    if not made.tests:
        say("no tests")
    elif failed:
        say(f"{failed} of {len(made.tests)} tests failed")
    else:
        say(f"ok: {len(made.tests)} tests passed")
