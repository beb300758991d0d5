"""One mistake a file: `check` must say it at its very place, and say nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from hdr_responder.documents.catalogue import load
from hdr_responder.documents.problems import DocumentError
from tests.unit.documents.example_actions import registry

DOCUMENTS = Path(__file__).parents[2] / "documents"
BAD = sorted((DOCUMENTS / "bad").glob("*.yaml"))
_EXPECT = re.compile(r"# expect: (\d+):(\d+): (.*)")
_PLACES = {name: f"{name}.yaml" for name in ("services", "triage", "escalation", "calendar")}


def _folder_with(bad: Path, folder: Path) -> Path:
    shutil.copytree(DOCUMENTS / "good", folder)
    place = _PLACES.get(bad.stem.partition("-")[0])
    if place is None:
        shutil.rmtree(folder / "playbooks")
        (folder / "playbooks").mkdir()
    target = folder / (place or f"playbooks/{bad.name}")
    shutil.copy(bad, target)
    return target


@pytest.mark.parametrize("bad", BAD, ids=[p.stem for p in BAD])
def test_a_mistake_is_told_at_its_place(bad: Path, tmp_path: Path) -> None:
    expected = _EXPECT.fullmatch(bad.read_text().splitlines()[0])
    assert expected, f"{bad.name} does not begin with '# expect: line:column: message'"
    target = _folder_with(bad, tmp_path / "documents")

    with pytest.raises(DocumentError) as caught:
        load(tmp_path / "documents", tmp_path / "documents" / "playbooks", registry())

    told = [str(p) for p in caught.value.problems]
    assert len(told) == 1, told
    assert told[0].startswith(f"{target}:{expected[1]}:{expected[2]}: "), told[0]
    assert expected[3] in told[0]


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 30
