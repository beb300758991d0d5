"""`simulate`: recorded deliveries of a real Alertmanager, offline."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hdr_responder.engine.simulation import Comparison, Simulated
from tests.unit.cli.command_line import ROOT, run_process
from tests.unit.cli.conftest import Run

DELIVERIES = ROOT / "tests" / "deliveries"
FIRING = DELIVERIES / "01-service-down-firing.json"


def simulated(run: Run, *arguments: str) -> Simulated:
    ended = run("simulate", "--json", *arguments)
    assert ended.code == 0, ended.err
    return Simulated.model_validate_json(ended.out)


def line(path: Path, at: str, **more: Any) -> str:
    return json.dumps({"received_at": at, "body": json.loads(path.read_text()), **more})


def test_a_folder_is_replayed_in_the_order_of_its_names(run: Run) -> None:
    found = simulated(run, "--from", str(DELIVERIES))
    assert (found.deliveries, found.skipped) == (10, ())
    down = found.incidents[0]
    assert (down.ref, down.priority, down.episodes) == ("INC-1", "P1", 2)
    assert [r.playbook for r in down.runs] == ["restart-service", "restart-service"]
    assert {v.guard for v in down.runs[1].refusals} == {"target", "cooldown"}
    assert found.since == down.opened_at, "it came when it fired"


def test_people_read_a_table_with_the_sums_under_it(run: Run) -> None:
    ended = run("simulate", "--from", str(DELIVERIES))
    assert ended.out.startswith("AT                    INCIDENT  WHAT ")
    assert "INC-1     opened     Opened: HdrServiceDown on neural-hdr as P1" in ended.out
    assert "10 deliveries: 5 incidents, " in ended.out
    assert "Runs refused by cooldown 1, target 1" in ended.out
    assert "Assumed: every run that starts is verified; nobody acknowledges" in ended.out


def test_a_run_may_be_assumed_to_fail(run: Run) -> None:
    found = simulated(run, "--from", str(FIRING), "--assume", "failed")
    assert found.incidents[0].runs[0].verification == "failed"


def test_json_lines_tell_when_and_from_where(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl"
    lines = [
        line(FIRING, "2026-11-24T08:00:00Z"),
        "",
        line(FIRING, "2026-11-24T09:00:00+01:00", source="prod-us", body=FIRING.read_text()),
    ]
    path.write_text("\n".join(lines) + "\n")
    found = simulated(run, "--from", str(path))
    assert found.deliveries == 2
    assert found.since is not None
    assert found.since.isoformat() == "2026-11-24T08:00:00+00:00"


def test_bad_deliveries_are_named_and_left_out(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl"
    lines = [
        line(FIRING, "2026-11-24T08:00:00Z"),
        "{",
        line(FIRING, "yesterday"),
        line(FIRING, "2026-11-24T09:00:00Z", body={}),
    ]
    path.write_text("\n".join(lines))
    ended = run("simulate", "--from", str(path))
    assert ended.code == 0
    assert [told.partition(": ")[0] for told in ended.err.splitlines()] == [f"{path}:{n}" for n in (2, 3, 4)]
    assert "received_at: " in ended.err
    assert "1 delivery: 1 incident, " in ended.out


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_nothing_but_bad_deliveries_is_an_error(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    ended = run("simulate", "--from", str(tmp_path))
    assert (ended.code, ended.out) == (1, "")
    assert str(tmp_path / "a.json") in ended.err


def test_what_is_not_there_is_an_error(run: Run, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        ended = run("simulate", "--from", str(path))
        assert (ended.code, ended.out) == (1, "")
        assert str(path) in ended.err


def test_stored_deliveries_need_a_database(run: Run) -> None:
    ended = run("simulate", "--from", "incidents")
    assert ended.code == 3


def test_it_is_always_the_same_and_changes_nothing(tmp_path: Path) -> None:
    runs = [
        run_process(tmp_path, "simulate", "--from", str(DELIVERIES), "--json", variables={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert (runs[0].code, runs[0].err) == (0, "")
    assert list(tmp_path.rglob("*")) == []


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another version, in which a service that is down is only observed."""
    for name in ("config", "playbooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = tmp_path / "playbooks" / "restart-service.yaml"
    path.write_text(path.read_text().replace("mode: auto\n  cooldown", "mode: observe\n  cooldown"))
    return tmp_path


def test_a_folder_with_other_documents_is_compared(run: Run, other: Path) -> None:
    ended = run("simulate", "--from", str(FIRING), "--diff", str(other))
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"- {other}\n+ the present documents\nHdrServiceDown on neural-hdr in prod-eu\n")
    assert "  - run restart-service in mode observe on deployment/neural-hdr" in ended.out
    assert "  + run restart-service in mode auto on deployment/neural-hdr" in ended.out
    made = Comparison.model_validate_json(run("simulate", "--from", str(FIRING), "--diff", str(other), "--json").out)
    assert (made.runs_before, made.runs_after) == ({"observed": 1}, {"verified": 1})


def test_nothing_differs_from_the_same_documents(run: Run) -> None:
    ended = run("simulate", "--from", str(DELIVERIES), "--diff", ".")
    assert ended.out == "Nothing differs from . for 10 deliveries.\n"


def test_a_revision_of_the_checkout_is_compared(run: Run, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *identity, *words], cwd=other, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "observe")
    shutil.copytree(ROOT / "playbooks", other / "playbooks", dirs_exist_ok=True)
    monkeypatch.chdir(other)
    ended = run("simulate", "--from", str(FIRING), "--diff", "HEAD")
    assert ended.code == 0, ended.err
    assert "  - run restart-service in mode observe" in ended.out
    assert ended.out.startswith("- HEAD\n")
    wrong = run("simulate", "--from", str(FIRING), "--diff", "no-such-revision")
    assert (wrong.code, wrong.out) == (1, "")
    assert "no-such-revision is neither a folder nor a git revision" in wrong.err
    option = run("simulate", "--from", str(FIRING), "--diff=--output=/dev/null")
    assert "is neither a folder nor a git revision" in option.err


def test_a_folder_without_documents_says_so(run: Run, tmp_path: Path) -> None:
    ended = run("simulate", "--from", str(FIRING), "--diff", str(tmp_path))
    assert (ended.code, ended.out) == (1, "")
    assert "holds no folder config with documents" in ended.err


def test_usage(run: Run) -> None:
    assert run("simulate").code == 2
    assert run("simulate", "--from", str(FIRING), "--assume", "perhaps").code == 2
