"""`check`: settings and documents in one pass, each mistake at its place."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.unit.cli.command_line import ROOT
from tests.unit.cli.conftest import Run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the shipped configuration, to be broken."""
    return Path(shutil.copytree(ROOT / "config", tmp_path / "conf"))


def test_the_shipped_ones_are_good(run: Run) -> None:
    ended = run("check")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("\n") == 1
    assert re.fullmatch(r"ok: settings, \d+ services, \d+ triage rules, \d+ groups, \d+ playbooks\n", ended.out)


def test_settings_and_documents_are_told_together(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config / "responder.yaml").write_text("environment: production\nhttp:\n  port: 99999\n")
    triage = (config / "triage.yaml").read_text().replace("  P4: {respond_within: 1d", "  P4: {respond_within: 1day")
    (config / "triage.yaml").write_text(triage)
    monkeypatch.setenv("HDR_LOG__FORMAT", "xml")
    ended = run("check", "--config", str(config), "--playbooks", "tests/documents/bad")
    told = ended.out.splitlines()
    assert ended.code == 1
    assert any(line.startswith(f"{config}/responder.yaml:3:9: http.port") for line in told)
    assert any(line.startswith("HDR_LOG__FORMAT: ") for line in told)
    assert any(line.startswith(f"{config}/triage.yaml:") and "1day" in line for line in told)
    assert any(line.startswith("tests/documents/bad/unknown-action.yaml:") for line in told)
    assert ended.err == f"{len(told)} problems\n"


def test_as_json(run: Run, config: Path) -> None:
    (config / "escalation.yaml").write_text("kind: Escalation\n")
    ended = run("check", "--config", str(config), "--json")
    answer = json.loads(ended.out)
    assert (ended.code, answer["ok"], answer["checked"]) == (1, False, {})
    problem = answer["problems"][0]
    assert problem["file"] == f"{config}/escalation.yaml"
    assert (problem["line"], problem["column"]) == (1, 1)
    good = json.loads(run("check", "--json").out)
    assert (good["ok"], good["problems"]) == (True, [])
    assert good["checked"]["playbooks"] == len(list((ROOT / "playbooks").rglob("*.yaml")))


def test_what_the_environment_says_wrongly_has_no_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDR_HTTP__PORT", "many")
    (problem,) = json.loads(run("check", "--json").out)["problems"]
    assert problem["file"] is None
    assert problem["message"].startswith("HDR_HTTP__PORT: ")


def test_folders_that_wrong_settings_name_are_still_checked(run: Run, config: Path, tmp_path: Path) -> None:
    (config / "responder.yaml").write_text(f"http: {{port: x}}\nplaybooks: {{dir: {tmp_path}/own}}\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "one.yaml").write_text("kind: Playbok\n")
    ended = run("check", "--config", str(config))
    assert f"{tmp_path}/own/one.yaml:1:" in ended.out
    assert "http.port" in ended.out


def test_a_folder_without_documents_is_told_file_by_file(run: Run, tmp_path: Path) -> None:
    ended = run("check", "--config", str(tmp_path))
    assert ended.code == 1
    assert {line.split(":")[0] for line in ended.out.splitlines()} >= {
        str(tmp_path / name) for name in ("services.yaml", "triage.yaml", "escalation.yaml")
    }


def test_a_budget_for_an_effect_that_no_action_has(run: Run, config: Path) -> None:
    (config / "responder.yaml").write_text("automation: {budgets: {effects: {restrat: {runs: 1, per: 1h}}}}\n")
    ended = run("check", "--config", str(config))
    assert ended.code == 1
    assert "automation.budgets.effects.restrat: no action has this kind of effect" in ended.out
    assert "workload" in ended.out
