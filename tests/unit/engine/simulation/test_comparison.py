"""What another version of the documents would have done differently."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hdr_responder.actions.registry import registry
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.engine.simulation import Comparison, compare
from tests.unit.engine.simulation.world import BLOCKED, DOWN, ROOT, SLOW, Recording


@pytest.fixture
def recording() -> Recording:
    made = Recording()
    made.add(0, DOWN, BLOCKED, SLOW)
    return made


def changed(folder: Path, file: str, old: str, new: str) -> Documents:
    """The shipped documents with one of them changed."""
    for name in ("config", "playbooks"):
        shutil.copytree(ROOT / name, folder / name)
    path = folder / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return load(folder / "config", folder / "playbooks", registry())


def compared(recording: Recording, before: Documents) -> Comparison:
    return compare(recording.simulate(documents=before), recording.simulate())


def test_the_same_documents_differ_in_nothing(recording: Recording) -> None:
    made = compare(recording.simulate(), recording.simulate())
    assert made.differences == ()
    assert (made.incidents_before, made.incidents_after) == (3, 3)


def test_another_mode_is_another_run_and_another_page(recording: Recording, tmp_path: Path) -> None:
    before = changed(tmp_path, "playbooks/restart-service.yaml", "mode: auto\n  cooldown", "mode: observe\n  cooldown")
    (difference,) = compared(recording, before).differences
    assert difference.title == "HdrServiceDown on neural-hdr"
    assert any(line.startswith("run restart-service in mode observe") for line in difference.before)
    assert any(line.startswith("run restart-service in mode auto") for line in difference.after)


def test_another_priority_is_told(recording: Recording, tmp_path: Path) -> None:
    rule = "match: ['severity = \"critical\"']\n    priority: "
    before = changed(tmp_path, "config/triage.yaml", f"{rule}P2", f"{rule}P3")
    made = compared(recording, before)
    (difference,) = made.differences
    assert "opened as P3" in difference.before
    assert "opened as P2" in difference.after
    assert made.pages_before < made.pages_after


def test_an_incident_that_only_one_side_opens_is_told(recording: Recording, tmp_path: Path) -> None:
    before = changed(
        tmp_path,
        "config/triage.yaml",
        "priority: P1\n    reason: A service of",
        "priority: P1\n    problem: Outage\n    reason: A service of",
    )
    old, new = compared(recording, before).differences
    assert {old.title, new.title} == {"Outage on neural-hdr", "HdrServiceDown on neural-hdr"}
    assert {bool(old.before), bool(new.before)} == {True, False}
    assert {bool(old.after), bool(new.after)} == {True, False}


def test_a_page_delay_is_told(recording: Recording, tmp_path: Path) -> None:
    before = changed(tmp_path, "config/escalation.yaml", "P2: {after: 5m", "P2: {after: 8m")
    (difference,) = compared(recording, before).differences
    assert difference.before == ("page at 2026-11-24 06:08:00 UTC",)
    assert difference.after == ("page at 2026-11-24 06:05:00 UTC",)
