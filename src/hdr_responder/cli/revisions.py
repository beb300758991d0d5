"""Another version of the documents: a folder that holds them, or a revision of the checkout that they are in."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hdr_responder.errors import PermanentError

_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where one version's documents are."""

    config: Path
    playbooks: Path


@contextmanager
def other_version(name: str, present: Folders) -> Iterator[Folders]:
    """Yield the folders of another version, which are gone afterwards where a revision was meant.

    ``name`` is a folder that holds both under the names that they have now, else a git revision. Raises PermanentError
    when it is neither.
    """
    folder = Path(name)
    if folder.is_dir():
        yield _found(name, folder / _below(present.config), folder / _below(present.playbooks))
        return
    top = Path(_git(present.config, "rev-parse", "--show-toplevel").strip())
    inner = [_inside(top, present.config), _inside(top, present.playbooks)]
    with tempfile.TemporaryDirectory(prefix="hdr-responder-") as temporary:
        archive = Path(temporary) / "documents.tar"
        commit = _commit(top, name)
        _git(top, "archive", "--format=tar", f"--output={archive}", commit, "--", *map(str, inner))
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, filter="data")
        yield _found(name, *(Path(temporary) / path for path in inner))


def _found(name: str, config: Path, playbooks: Path) -> Folders:
    for path in (config, playbooks):
        if not path.is_dir():
            raise PermanentError(f"{name} holds no folder {path.name} with documents")
    return Folders(config=config, playbooks=playbooks)


def _below(path: Path) -> Path:
    return Path(path.name) if path.is_absolute() else path


def _inside(top: Path, path: Path) -> Path:
    try:
        return path.resolve().relative_to(top.resolve())
    except ValueError as error:
        raise PermanentError(f"{path} is not in the git checkout {top}: it has no other revisions there") from error


def _commit(top: Path, name: str) -> str:
    """Return the id of a revision, so that nothing that people type is taken for an option."""
    try:
        return _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
    except PermanentError as error:
        raise PermanentError(f"{name} is neither a folder nor a git revision") from error


def _git(where: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(where), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603 - git
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PermanentError(f"git cannot be asked: {error}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise PermanentError(f"git {arguments[0]}: {said[-1] if said else 'refused'}")
    return done.stdout
