"""Runs the command line: as people do, as a process of its own, in the repository's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


def environment(home: Path, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without anything that settings would read from it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HDR_", "XDG_DATA", "KUBE", "NO_COLOR"))}
    return {**kept, "HOME": str(home), **(variables or {})}


def run_process(home: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> Ended:
    """Run ``hdr-responder`` in the repository's folder."""
    ended = subprocess.run(
        [sys.executable, "-m", "hdr_responder", *arguments],
        cwd=ROOT,
        env=environment(home, variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return Ended(code=ended.returncode, out=ended.stdout, err=ended.stderr)
