"""`plan`: offline and always the same, on deliveries that a real Alertmanager sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.command_line import ROOT, run_process
from tests.unit.cli.conftest import Run

DELIVERIES = ROOT / "tests" / "deliveries"
Delivery = Callable[..., str]


def recorded(number: str) -> str:
    return str(next(DELIVERIES.glob(f"{number}*.json")))


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    """``delivery({"alertname": ...}, ...)``: the file of a delivery with one alert for each set of labels."""

    def _delivery(*labels: dict[str, str], status: str = "firing", **alert: object) -> str:
        body = json.loads(Path(recorded("01")).read_text())
        sample = body["alerts"][0]
        body["alerts"] = [
            {**sample, "labels": each, "status": status, "fingerprint": f"f{i}", **alert}
            for i, each in enumerate(labels)
        ]
        path = tmp_path / "delivery.json"
        path.write_text(json.dumps(body))
        return str(path)

    return _delivery


def planned(run: Run, playbook: str, path: str, *more: str) -> dict[str, Any]:
    ended = run("plan", playbook, "--alert", path, "--json", *more)
    assert ended.code == 0, ended.err
    answer: dict[str, Any] = json.loads(ended.out)
    return answer


def test_a_plan_has_everything_resolved(run: Run) -> None:
    plan = planned(run, "restart-service", recorded("01"))
    workload = {"cluster": "prod-eu", "namespace": "hdr-empire", "kind": "deployment", "name": "neural-hdr"}
    assert (plan["playbook"], plan["mode"]) == ("restart-service", "auto")
    assert plan["incident"]["priority_rule"] == "service-down"
    assert plan["incident"]["service"] == "neural-hdr"
    restart = plan["steps"][1]
    assert restart["parameters"] == {"workload": workload}
    assert restart["target"]["key"] == "kubernetes:prod-eu/hdr-empire/deployment/neural-hdr"
    assert "kubernetes:prod-eu patch apps/deployments in hdr-empire" in restart["permissions"]
    assert restart["undo"] == "cannot be taken back"
    assert plan["verify"]


def test_it_is_always_the_same_and_changes_nothing(tmp_path: Path) -> None:
    runs = [
        run_process(tmp_path, "plan", "restart-service", "--alert", recorded("01"), variables={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert (runs[0].code, runs[0].err) == (0, "")
    assert list(tmp_path.rglob("*")) == []


def test_what_earlier_steps_will_tell_is_marked(run: Run) -> None:
    plan = planned(run, "terminate-blocking-query", recorded("08"))
    terminate = plan["steps"][1]
    assert terminate["awaits"] == ["blockers"]
    assert terminate["parameters"]["blockers"] == "${steps.blockers.roots}"
    text = run("plan", "terminate-blocking-query", "--alert", recorded("08")).out
    assert "awaits   blockers" in text
    assert "Verified   by all of these within 2m" in text


def test_the_environment_caps_the_mode(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDR_ENVIRONMENT", "production")
    plan = planned(run, "restart-service", recorded("01"))
    assert plan["mode"] == "observe"
    assert "production" in plan["mode_reason"]


@pytest.mark.parametrize(
    ("playbook", "labels", "why"),
    [
        ("restart-service", {"alertname": "HdrCpuHigh", "severity": "critical"}, "scale-out would"),
        ("restart-service", {"alertname": "Unknown"}, "no other playbook would either"),
        ("terminate-blocking-query", {"alertname": "HdrPostgresBlocked", "severity": "warning"}, "the incident is P3"),
        ("restart-service", {"alertname": "Watchdog"}, "none of the alerts fires"),
    ],
)
def test_a_playbook_that_would_not_run_says_why(
    run: Run, delivery: Delivery, playbook: str, labels: dict[str, str], why: str
) -> None:
    ended = run("plan", playbook, "--alert", delivery(labels))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"{playbook} would not run: ")
    assert why in ended.err


def test_resolved_alerts_are_not_planned_for(run: Run, delivery: Delivery) -> None:
    path = delivery(
        {"alertname": "HdrServiceDown", "service": "neural-hdr"}, status="resolved", endsAt="2026-11-24T06:00:00Z"
    )
    ended = run("plan", "restart-service", "--alert", path)
    assert ended.code == 1
    assert "none of the alerts fires" in ended.err


def test_several_incidents(run: Run, delivery: Delivery) -> None:
    path = delivery(
        *({"alertname": "HdrServiceDown", "cluster": "prod-eu", "service": s} for s in ("dream-hdr", "quantum-hdr"))
    )
    ended = run("plan", "restart-service", "--alert", path, "--json")
    assert json.loads(ended.out)["incident"]["service"] == "dream-hdr"
    assert "1 more would get one of their own" in ended.err


def test_a_step_that_cannot_be_bound_is_a_plan_error(run: Run, delivery: Delivery) -> None:
    ended = run(
        "plan", "restart-service", "--alert", delivery({"alertname": "HdrServiceDown", "service": "neural-hdr"})
    )
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("restart-service: ")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{", "Invalid JSON"),
        ('{"version": "3"}', "version"),
        ("[]", "delivery.json"),
    ],
)
def test_what_is_no_delivery_names_the_field(run: Run, tmp_path: Path, body: str, told: str) -> None:
    path = tmp_path / "delivery.json"
    path.write_text(body)
    ended = run("plan", "restart-service", "--alert", str(path))
    assert (ended.code, ended.out) == (1, "")
    assert told in ended.err
    assert ended.err.count("\n") == 1


def test_one_unreadable_alert_is_noted(run: Run, tmp_path: Path) -> None:
    body = json.loads(Path(recorded("01")).read_text())
    body["alerts"].append({"status": "firing"})
    path = tmp_path / "delivery.json"
    path.write_text(json.dumps(body))
    ended = run("plan", "restart-service", "--alert", str(path))
    assert ended.code == 0
    assert "alerts.1.labels" in ended.err


def test_an_unknown_playbook_names_the_known_ones(run: Run) -> None:
    ended = run("plan", "restart", "--alert", recorded("01"))
    assert ended.code == 1
    assert "restart-service" in ended.err


def test_every_guard_says_what_is_known_of_it(run: Run) -> None:
    verdicts = {v["guard"]: v for v in planned(run, "restart-service", recorded("01"))["verdicts"]}
    assert verdicts["resolved"] == {"guard": "resolved", "allowed": True, "reason": "the incident is open"}
    assert verdicts["pause"] == {"guard": "pause", "allowed": None, "reason": "asked when it starts"}
    text = run("plan", "restart-service", "--alert", recorded("01")).out
    assert "Guards     allows   protected" in text
    assert "           not yet  pause" in text


def test_a_label_that_names_what_nobody_listed_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    body = Path(recorded("08")).read_text().replace('"hdr_empire"', '"payroll"')
    path = tmp_path / "alerts.json"
    path.write_text(body)
    verdicts = planned(run, "terminate-blocking-query", str(path))["verdicts"]
    assert verdicts[0] == {
        "guard": "protected",
        "allowed": False,
        "reason": "database payroll is not listed in config/services.yaml: nothing there may be touched",
    }
    simulated = run("simulate", "--from", str(path), "--json")
    assert "database payroll is not listed" in simulated.out


def test_the_time_makes_the_calendar_known(run: Run) -> None:
    def freeze(*more: str) -> bool | None:
        verdicts = planned(run, "restart-service", recorded("01"), *more)["verdicts"]
        (found,) = [v["allowed"] for v in verdicts if v["guard"] == "freeze"]
        assert found is None or isinstance(found, bool)
        return found

    assert freeze() is None
    assert freeze("--at", "2026-11-24T06:00:00Z") is True
    ended = run("plan", "restart-service", "--alert", recorded("01"), "--at", "tomorrow")
    assert ended.code == 2
    assert "'tomorrow' is no time with its offset" in ended.err


def test_the_checks_say_what_is_looked_at(run: Run) -> None:
    plan = planned(run, "terminate-blocking-query", recorded("08"))
    assert plan["verify"] == ["postgres.unblocked: target=hdr_empire, sessions=${steps.blockers.waiting}"]
    assert plan["steps"][1]["parameters"]["blocking_for"] == "5s"
    assert "postgres:hdr_empire pg_signal_backend" in plan["steps"][1]["permissions"]
    text = run("plan", "restart-service", "--alert", recorded("01")).out
    assert "kubernetes.rollout: workload=deployment/neural-hdr in hdr-empire (prod-eu)" in text


def test_a_terminal_gets_the_same_lines_in_colour(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run("plan", "restart-service", "--alert", recorded("01")).out
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    drawn = run("plan", "restart-service", "--alert", recorded("01")).out
    words = re.sub(r"\x1b\[[0-9;]*m", "", drawn).split()
    assert words == plain.split()
