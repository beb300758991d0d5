"""Running the tests of a playbook: what holds passes, and everything that does not is told with its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ruamel.yaml import YAML

from hdr_responder.actions.registry import registry
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.documents.compiling import Library, compile_playbook
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.engine.simulation.trials import Failure, Trial, contains
from tests.unit.engine.simulation.world import ROOT, settings

PLAYBOOK = """
apiVersion: hdr-responder/v1
kind: Playbook
metadata: {name: look-and-restart, summary: Restart what logs errors.}
match: ['alertname = "HdrErrors"']
priorities: [P2]
params:
  workload: "${service.workload}"
  tail: {type: int, default: 100}
guards: {mode: auto}
steps:
  - id: reads
    parallel:
      - {id: logs, action: kubernetes.logs, with: {workload: "${params.workload}", tail: "${params.tail}"}}
      - {id: ping, action: postgres.ping, with: {target: hdr_empire}, on_error: continue}
  - {id: pause, wait: 30s, when: steps.ping.ok}
  - {id: more, when: steps.logs.matched > 10, call: restart-it, with: {workload: "${params.workload}"}}
  - {id: ready, action: kubernetes.rollout_status, with: {workload: "${params.workload}"}}
verify: {within: 5m, all: [{alert: resolved}]}
---
apiVersion: hdr-responder/v1
kind: Playbook
metadata: {name: restart-it, summary: Restart it.}
params: {workload: {type: workload}}
guards: {mode: auto}
manual: true
steps:
  - {id: restart, action: kubernetes.rollout_restart, with: {workload: "${params.workload}"}, undo: none}
verify: {within: 5m, all: [{alert: resolved}]}
"""
ALERT = {"labels": {"alertname": "HdrErrors", "cluster": "prod-eu", "service": "neural-hdr", "severity": "critical"}}

Tried = Callable[..., list[Failure]]


@pytest.fixture(scope="module")
def documents() -> Documents:
    return load(ROOT / "config", ROOT / "playbooks", registry())


@pytest.fixture
def tried(documents: Documents) -> Tried:
    """``tried({"mode": "auto"}, results={...})``: the failures of a test with these expectations."""

    def _tried(expect: dict[str, Any], **test: Any) -> list[Failure]:
        first, second = YAML(typ="safe").load_all(PLAYBOOK)
        first["tests"] = [{"name": "it", "alerts": [ALERT], "expect": expect} | test]
        models = [Playbook.model_validate(written) for written in (first, second)]
        library = Library({m.metadata.name: m for m in models}, registry())
        compiled = [compile_playbook(model, library) for model in models]
        assert [findings for _, findings in compiled] == [[], []]
        ours = replace(documents, playbooks=tuple(p for p, _ in compiled if p))
        trial = Trial(settings=settings(), documents=ours, registry=registry())
        return trial.failures(ours.playbooks[0], models[0].tests[0])

    return _tried


MATCHED: dict[str, Any] = {"logs": {"matched": 20}}
"""The logs hold errors."""


def test_everything_that_holds_passes(tried: Tried) -> None:
    expect = {
        "playbook": "look-and-restart",
        "priority": "P2",
        "mode": "auto",
        "params": {"tail": 100, "workload": "deployment/neural-hdr"},
        "steps": [
            {"id": "logs", "action": "kubernetes.logs", "with": {"tail": 100, "workload": {"namespace": "hdr-empire"}}},
            "ping",
            "pause",
            {"id": "more.restart", "with": {"workload": "hdr-empire/deployment/neural-hdr"}},
            "ready",
        ],
        "targets": ["kubernetes:prod-eu/hdr-empire/deployment/neural-hdr"],
        "refused": [],
    }
    assert tried(expect, results=MATCHED) == []


def test_results_decide_what_is_skipped(tried: Tried) -> None:
    results = {"logs": {"matched": 3}, "ping": "failed"}
    expect = {"steps": ["logs", "ping", {"id": "pause", "skipped": True}, "ready"]}
    assert tried(expect, results=results) == []
    assert tried({"steps": ["logs", "ping", "ready"]}, results=results) == []


def test_a_step_that_fails_the_run_is_the_last(tried: Tried) -> None:
    assert tried({"steps": ["logs"]}, results={"logs": "failed"}) == []


def test_a_condition_on_what_was_not_told_has_no_answer(tried: Tried) -> None:
    (failure,) = tried({"steps": ["logs", "ping", "pause", "ready"]})
    assert failure.loc == ("expect", "steps")
    assert "steps.logs.matched has no value" in failure.actual


def test_a_result_of_the_wrong_type_is_told(tried: Tried) -> None:
    (failure,) = tried({"steps": ["logs"]}, results={"logs": {"matched": "many"}})
    assert "results.logs.matched: " in failure.actual


@pytest.mark.parametrize(
    ("expect", "what", "expected", "actual"),
    [
        ({"playbook": "restart-it"}, "playbook", "restart-it", "look-and-restart"),
        ({"playbook": None}, "playbook", "none", "look-and-restart"),
        ({"playbook": "no-such"}, "playbook", "no-such", "look-and-restart (no playbook is named 'no-such')"),
        ({"priority": "P1"}, "priority", "P1", "P2"),
        ({"mode": "approve"}, "mode", "approve", "auto (the playbook's mode is auto)"),
        ({"params": {"tail": 5}}, "params tail", "5", "100"),
        ({"targets": []}, "targets", "nothing", "kubernetes:prod-eu/hdr-empire/deployment/neural-hdr"),
        ({"refused": ["cooldown"]}, "refused", "cooldown", "nothing"),
        ({"error": "no cluster"}, "error", "no cluster", "a plan"),
        ({"steps": ["logs", "ping"]}, "steps", "logs, ping", "logs, ping, pause, more.restart, ready"),
    ],
)
def test_what_does_not_hold_is_told(
    tried: Tried, expect: dict[str, Any], what: str, expected: str, actual: str
) -> None:
    (failure,) = tried(expect, results=MATCHED)
    assert (failure.what, failure.expected, failure.actual) == (what, expected, actual)
    assert failure.loc[:2] == ("expect", what.split(maxsplit=1)[0])


def test_a_step_is_compared_in_what_is_written(tried: Tried) -> None:
    steps = [{"id": "logs", "action": "postgres.ping", "with": {"tail": 7}}, "ping", "pause", "more.restart", "ready"]
    action, tail = tried({"steps": steps}, results=MATCHED)
    assert (action.loc, action.actual) == (("expect", "steps", 0, "action"), "kubernetes.logs")
    assert (tail.loc, tail.expected, tail.actual) == (("expect", "steps", 0, "with", "tail"), "7", "100")


def test_an_unknown_guard_is_told(tried: Tried) -> None:
    (failure,) = tried({"refused": ["cooldwon"]}, results=MATCHED)
    assert "cooldwon" in failure.expected
    assert "cooldown" in failure.actual


def test_what_a_person_gives_goes_before_the_default(tried: Tried) -> None:
    assert tried({"params": {"tail": 7}}, params={"tail": 7}) == []


def test_the_environment_and_its_mode(tried: Tried) -> None:
    assert tried({"mode": "observe"}, environment="production") == []
    assert tried({"mode": "auto"}, environment="production", mode="auto") == []


def test_a_plan_that_cannot_be_made(tried: Tried) -> None:
    nowhere = [{"labels": {k: v for k, v in ALERT["labels"].items() if k != "cluster"}}]
    assert tried({"error": "workload"}, alerts=nowhere) == []
    (other,) = tried({"error": "weather"}, alerts=nowhere)
    assert (other.what, other.expected) == ("error", "weather")
    (unexpected,) = tried({"mode": "auto"}, alerts=nowhere)
    assert unexpected.what == "plan"


def test_alerts_that_start_nothing_say_why(tried: Tried) -> None:
    over = [ALERT | {"status": "resolved"}]
    assert tried({"playbook": None}, alerts=over) == []
    (failure,) = tried({}, alerts=over)
    assert failure.actual == "none (none of the alerts fires)"


def test_without_alerts_the_clock_starts_it(tried: Tried) -> None:
    (failure,) = tried({"priority": "P4"}, alerts=[])
    assert failure.what == "playbook"


@pytest.mark.parametrize(
    ("actual", "expected", "holds"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [1], False),
        (1, True, False),
        (True, True, True),
        (None, None, True),
        (None, {}, False),
        ({"kind": "deployment", "name": "a", "namespace": "n", "cluster": "c"}, "n/deployment/a", True),
        ({"kind": "deployment", "name": "a", "namespace": "n", "cluster": "c"}, "deployment/b", False),
    ],
)
def test_contains(actual: Any, expected: Any, holds: bool) -> None:
    assert contains(actual, expected) is holds
