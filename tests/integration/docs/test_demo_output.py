"""README shows what the demo really prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.docs.markdown import ROOT, blocks


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers and the spaces that align them."""
    return re.sub(r"\d[\d.]*", "#", " ".join(line.split())).replace("[ #", "[#")


def test_the_shape_keeps_the_words() -> None:
    assert shape("[  1.5s] session 6100 waits,  3 of 3") == "[#s] session # waits, # of #"
    assert shape("[ 11.1s] a") == shape("[  1.1s] a")


@pytest.mark.service
def test_readme_shows_the_demo_as_it_is(tmp_path: Path) -> None:
    (shown,) = [b.body for b in blocks(ROOT / "README.md") if "the remediation was verified" in b.body]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HDR_")}
    done = subprocess.run(
        [sys.executable, "-m", "hdr_responder", "demo", "--output", str(tmp_path / "demo")],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = [shape(line) for line in done.stdout.splitlines()]
    missing = [line for line in shown.splitlines() if shape(line) not in printed]
    assert not missing, done.stdout
    # The demo, the timeline's follower and the console are tasks of their own: each keeps its order, not the whole.
    for whose in (r"\[#s\] (?!INC)", r"\[#s\] INC", r"\|"):
        places = [printed.index(s) for line in shown.splitlines() if re.match(whose, s := shape(line))]
        assert places
        assert places == sorted(places)
