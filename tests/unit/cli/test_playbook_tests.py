"""`test`: the tests that playbooks carry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.command_line import ROOT
from tests.unit.cli.conftest import Run

SHIPPED = ROOT / "playbooks" / "restart-service.yaml"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The shipped playbook with a test that does not hold."""
    path = tmp_path / "restart-service.yaml"
    text = SHIPPED.read_text()
    assert text.count("priority: P1\n      mode: auto") == 1
    path.write_text(text.replace("priority: P1\n      mode: auto", "priority: P2\n      mode: auto"))
    return path


def test_the_shipped_playbooks_pass_theirs(run: Run) -> None:
    ended = run("test", "playbooks/")
    assert ended.code == 0, ended.out
    assert ended.out.startswith("ok: ")
    everything = run("test")
    assert everything.out == ended.out


def test_one_file_is_tested_among_all_others(run: Run) -> None:
    answer = json.loads(run("test", str(SHIPPED), "--json").out)
    assert answer["ok"]
    assert {t["playbook"] for t in answer["tests"]} == {"restart-service"}


def test_a_failure_is_told_at_its_place(run: Run, broken: Path) -> None:
    ended = run("test", str(broken))
    assert ended.code == 1
    told = ended.out.splitlines()
    number = next(n for n, text in enumerate(broken.read_text().splitlines(), start=1) if "priority: P2" in text)
    name = "a service of the fleet that is down is restarted"
    assert told[0] == f"{broken}:{number}:17: {name}: priority: expected P2, got P1"
    assert told[-1] == "1 of 5 tests failed"


def test_json_tells_the_same(run: Run, broken: Path) -> None:
    ended = run("test", str(broken), "--json")
    assert ended.code == 1
    answer = json.loads(ended.out)
    assert not answer["ok"]
    (failed,) = [t for t in answer["tests"] if not t["passed"]]
    (failure,) = failed["failures"]
    assert (failure["what"], failure["expected"], failure["actual"]) == ("priority", "P2", "P1")


def test_a_path_that_is_named_twice_is_tested_once(run: Run) -> None:
    once, twice = run("test", str(SHIPPED), "--json"), run("test", str(SHIPPED), "playbooks", "--json")
    assert len(json.loads(twice.out)["tests"]) > len(json.loads(once.out)["tests"])
    names = [(t["playbook"], t["name"]) for t in json.loads(twice.out)["tests"]]
    assert len(names) == len(set(names))


def test_playbooks_without_tests_are_said(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "restart-service.yaml"
    path.write_text(SHIPPED.read_text().partition("tests:\n")[0])
    ended = run("test", str(path))
    assert (ended.code, ended.out) == (0, "no tests\n")
    assert ended.err == f"{path}: restart-service has no tests\n"


def test_documents_with_mistakes_are_told_as_check_does(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "restart-service.yaml"
    path.write_text(SHIPPED.read_text().replace("{id: restart,", "{id: restrat,"))
    ended = run("test", str(path))
    assert (ended.code, ended.out) == (1, "")
    assert "unknown step (got 'restrat'; did you mean 'restart'?)" in ended.err


def test_a_path_that_is_not_there_is_a_mistake_of_usage(run: Run) -> None:
    assert run("test", "no/such/playbook.yaml").code == 2
