from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hdr_responder.documents.catalogue import load
from hdr_responder.documents.problems import DocumentError, Problem
from hdr_responder.errors import NotFoundError
from tests.unit.documents.example_actions import registry

GOOD = Path(__file__).parents[2] / "documents" / "good"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOOD, tmp_path / "documents"))


def test_a_whole_set_loads(folder: Path) -> None:
    documents = load(folder, folder / "playbooks", registry())
    assert [p.name for p in documents.playbooks] == ["high-error-rate"]
    assert documents.playbook("high-error-rate") is documents.playbooks[0]
    with pytest.raises(NotFoundError, match="no playbook is named 'other' \\(known: high-error-rate\\)"):
        documents.playbook("other")


def test_the_digest_follows_content_and_not_comments(folder: Path) -> None:
    before = load(folder, folder / "playbooks", registry()).digest
    path = folder / "playbooks" / "high-error-rate.yaml"
    path.write_text("# a comment\n" + path.read_text())
    assert load(folder, folder / "playbooks", registry()).digest == before
    path.write_text(path.read_text().replace("tail: 100", "tail: 101"))
    assert load(folder, folder / "playbooks", registry()).digest != before


def test_playbooks_are_found_below_and_in_order(folder: Path) -> None:
    text = (folder / "playbooks" / "high-error-rate.yaml").read_text()
    for name in ("b/second.yml", "a/first.yaml", "a/notes.txt"):
        path = folder / "playbooks" / name
        path.parent.mkdir(exist_ok=True)
        stem = path.stem
        path.write_text(text.replace("name: high-error-rate", f"name: {stem}").replace("HdrHighErrorRate", stem))
    assert [p.name for p in load(folder, folder / "playbooks", registry()).playbooks] == [
        "first",
        "second",
        "high-error-rate",
    ]


def test_all_mistakes_of_all_files_are_told_in_order(folder: Path) -> None:
    for path, old, new in (
        ("services.yaml", "tier: core", "tier: cor"),
        ("triage.yaml", "reason: The service is down.", "raeson: The service is down."),
        ("escalation.yaml", "after: 5m", "after: 5"),
        ("playbooks/high-error-rate.yaml", "action: kubernetes.logs", "action: kubernetes.log"),
    ):
        file = folder / path
        file.write_text(file.read_text().replace(old, new))
    playbook = folder / "playbooks" / "high-error-rate.yaml"
    playbook.write_text(playbook.read_text().replace("steps.release.age <", "steps.relase.age <"))

    with pytest.raises(DocumentError) as caught:
        load(folder, folder / "playbooks", registry())

    places = [(Path(p.file).name, p.message) for p in caught.value.problems]
    assert places == [
        ("escalation.yaml", "5 has no unit; expected for example 30s, 5m or 1h30m"),
        ("high-error-rate.yaml", "unknown action"),
        ("high-error-rate.yaml", "unknown name steps.relase.age"),
        ("services.yaml", "invalid value for 'tier'"),
        ("triage.yaml", "missing required key 'reason'"),
        ("triage.yaml", "unknown key"),
    ]
    assert str(caught.value).count("\n") == 5


def test_missing_and_empty_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "services.yaml").write_text("# nothing\n")
    (tmp_path / "triage.yaml").write_text("- a list\n")
    with pytest.raises(DocumentError) as caught:
        load(tmp_path, tmp_path / "playbooks", registry())
    assert [(Path(p.file).name, p.message) for p in caught.value.problems] == [
        ("escalation.yaml", "cannot be read: No such file or directory"),
        ("playbooks", "is no folder; expected the playbooks there"),
        ("services.yaml", "is empty; expected a document of kind ServiceCatalogue"),
        ("triage.yaml", "expected a mapping of kind Triage"),
    ]


def test_a_problem_reads_well_and_travels_as_json() -> None:
    problem = Problem(file="a.yaml", line=3, column=7, message="unknown key", value="runbok", suggestion="runbook")
    assert str(problem) == "a.yaml:3:7: unknown key (got 'runbok'; did you mean 'runbook'?)"
    assert json.loads(json.dumps(problem.to_json()))["suggestion"] == "runbook"
    assert str(Problem(file="a", line=1, column=1, message="m", expected="x")) == "a:1:1: m (expected x)"
