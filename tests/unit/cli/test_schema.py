"""`schema`, and that the schemas in the repository and the documents that point to them are current."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hdr_responder.cli.schema import Kind, text
from hdr_responder.documents.schema import KINDS
from hdr_responder.documents.source import load_source
from tests.unit.cli.command_line import ROOT
from tests.unit.cli.conftest import Run

_MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")
DOCUMENTS = [
    *(ROOT / "config" / name for name in ("services.yaml", "triage.yaml", "escalation.yaml")),
    *sorted((ROOT / "playbooks").rglob("*.yaml")),
]


def test_every_kind_has_one() -> None:
    assert {str(kind) for kind in Kind} == set(KINDS)


@pytest.mark.parametrize("kind", Kind)
def test_the_committed_ones_are_current(kind: Kind) -> None:
    committed = (ROOT / "docs" / "schema" / kind.file_name).read_text()
    assert committed == text(kind), "run: make schema"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_shipped_documents_name_their_schema(path: Path) -> None:
    modeline = _MODELINE.match(path.read_text())
    assert modeline is not None
    named = json.loads((path.parent / modeline[1]).read_text())
    assert named["properties"]["kind"]["const"] == load_source(path).data["kind"]


def test_one_kind_or_all(run: Run) -> None:
    assert run("schema", "playbook").out == text(Kind.PLAYBOOK)
    assert set(json.loads(run("schema").out)) == set(KINDS)


def test_written_to_a_folder(run: Run, tmp_path: Path) -> None:
    ended = run("schema", "Triage", "--write", str(tmp_path / "new"))
    assert (ended.code, ended.out) == (0, "")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["triage.json"]
    assert run("schema", "--write", str(tmp_path / "new")).code == 0
    assert len(list((tmp_path / "new").iterdir())) == len(Kind)


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = run("schema", "--write", str(tmp_path / "file" / "below"))
    assert (ended.code, ended.out) == (1, "")
    assert "cannot be written" in ended.err
