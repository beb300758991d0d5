"""Finds the programs that scripts/test-tools.sh installs or builds.

A missing program is an error that says how to get it, never a skipped test.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from tests.services.processes import ServiceError

_ADVICE = "run `make test`, or scripts/test-tools.sh, which install what the tests need"


def require_program(name: str) -> Path:
    """A program on PATH, also where system folders are not on it; raises ServiceError when it is missing."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"]))
    if found is None:
        raise ServiceError(f"{name} is not installed: {_ADVICE}")
    return Path(found)


def require_built(module: str, name: str) -> Path:
    """A program built from the Go module in ``tests/services/go/<module>``; raises ServiceError when it is missing."""
    program = _built_folder(module) / name
    if not os.access(program, os.X_OK):
        raise ServiceError(f"{program} does not exist: {_ADVICE}")
    return program


def _built_folder(module: str) -> Path:
    """Keyed by the module's pinned versions, as scripts/test-tools.sh does it."""
    source = Path(__file__).parent / "go" / module
    pinned = b"".join((source / name).read_bytes() for name in ("go.mod", "go.sum"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "hdr-responder" / "bin" / f"{module}-{hashlib.sha256(pinned).hexdigest()[:12]}"
