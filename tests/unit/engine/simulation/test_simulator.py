"""Replaying deliveries: the service's own stages on a virtual clock."""

from __future__ import annotations

import pytest

from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode, RunStatus, Verification
from hdr_responder.engine.simulation import Skipped
from tests.unit.engine.simulation.world import (
    BLOCKED,
    BUSY,
    DOWN,
    SLOW,
    Recording,
    after,
    only,
    pages,
    run_of,
)


@pytest.fixture
def recording() -> Recording:
    return Recording()


def test_an_incident_is_opened_paged_and_remedied(recording: Recording) -> None:
    recording.add(0, DOWN)
    found = recording.simulate()
    incident, run = only(found), run_of(found)
    assert (incident.priority, incident.priority_rule) == (Priority.P1, "service-down")
    assert (run.playbook, run.mode, run.verification) == ("restart-service", Mode.AUTO, Verification.VERIFIED)
    assert run.targets == ("deployment/neural-hdr in hdr-empire (prod-eu)",)
    assert (run.started_at, run.ended_at) == (after(0), after(30))
    assert pages(found)[0] == 0


def test_nobody_is_woken_for_a_p2_that_was_verified_in_time(recording: Recording) -> None:
    recording.add(0, BLOCKED)
    recording.add(100, BLOCKED, started=0, over=True)
    assert pages(recording.simulate("verified")) == []
    assert pages(recording.simulate("failed")) == []


def test_a_p2_that_is_not_remedied_wakes_somebody_after_its_delay(recording: Recording) -> None:
    recording.add(0, SLOW)
    found = recording.simulate()
    assert pages(found)[0] == 5 * 60
    assert only(found).not_planned == "Nothing is automated: no playbook matches its alerts"


def test_a_remediation_that_fails_wakes_somebody_at_once(recording: Recording) -> None:
    recording.add(0, BLOCKED)
    found = recording.simulate("failed")
    assert run_of(found).status is RunStatus.FAILED
    assert pages(found)[0] == 2 * 60


def test_what_was_verified_and_fires_on_goes_to_a_person(recording: Recording) -> None:
    recording.add(0, BLOCKED)
    assert pages(recording.simulate()) == [15 * 60 + 3]


def test_p3_wakes_nobody(recording: Recording) -> None:
    recording.add(0, BUSY | {"severity": "warning"})
    found = recording.simulate("failed")
    assert only(found).priority is Priority.P3
    assert pages(found) == []


def test_a_target_rests_and_the_run_starts_when_it_is_rested(recording: Recording) -> None:
    recording.add(0, DOWN)
    recording.add(60, DOWN, started=0, over=True)
    recording.add(90, DOWN)
    first, second = only(recording.simulate()).runs
    assert first.ended_at == after(30)
    assert [(v.at, v.guard) for v in second.refusals] == [(after(90), "cooldown")]
    assert second.started_at == after(30 + 15 * 60)


def test_one_run_at_a_time_works_on_a_target(recording: Recording) -> None:
    recording.add(0, DOWN)
    recording.add(10, DOWN | {"alertname": "HdrCpuHigh"})
    down, busy = recording.simulate("failed").incidents
    assert down.runs[0].started_at == after(0)
    assert [v.guard for v in busy.runs[0].refusals] == ["target"]


def test_a_budget_that_is_used_up_refuses(recording: Recording) -> None:
    for start in range(0, 5 * 3600, 3600):
        recording.add(start, DOWN)
        recording.add(start + 60, DOWN, started=start, over=True)
    found = recording.simulate()
    assert found.refusals["budget"] == 2
    assert found.runs == {"verified": 3, "cancelled": 2}


def test_runs_that_do_not_help_open_the_breaker(recording: Recording) -> None:
    for start in range(0, 3 * 1800, 1800):
        recording.add(start, DOWN)
        recording.add(start + 1200, DOWN, started=start, over=True)
    *_, last = recording.simulate("failed").incidents[-1].runs
    assert "breaker" in {v.guard for v in last.refusals}


def test_mode_approve_waits_for_nobody_and_goes_to_a_person(recording: Recording) -> None:
    recording.add(0, DOWN | {"alertname": "HdrSecurityBreach", "service": "quantum-hdr"})
    run = run_of(recording.simulate())
    assert (run.mode, run.status, run.started_at) == (Mode.APPROVE, RunStatus.EXPIRED, None)
    assert [v.guard for v in run.refusals] == ["approval"]


def test_the_environment_caps_the_mode(recording: Recording) -> None:
    recording.add(0, DOWN)
    assert run_of(recording.simulate(HDR_ENVIRONMENT="production")).status is RunStatus.OBSERVED


def test_alerts_that_end_end_the_incident_and_firing_again_reopens_it(recording: Recording) -> None:
    recording.add(0, SLOW)
    recording.add(60, SLOW, started=0, over=True)
    recording.add(600, SLOW)
    incident = only(recording.simulate())
    assert [(c.kind, c.at) for c in incident.changes] == [
        ("opened", after(0)),
        ("resolved", after(60)),
        ("reopened", after(600)),
    ]
    assert incident.episodes == 2


def test_what_is_due_between_two_deliveries_happens_at_its_own_time(recording: Recording) -> None:
    recording.add(0, SLOW)
    recording.add(40_000, SLOW, started=0)
    assert pages(recording.simulate()) == [300, 3600]


def test_a_clock_never_goes_back(recording: Recording) -> None:
    recording.add(1000, SLOW)
    recording.add(0, DOWN)
    late, early = recording.simulate().incidents
    assert early.opened_at == late.opened_at == after(1000)


def test_many_pages_a_minute_become_one_umbrella_page(recording: Recording) -> None:
    services = ("neural-hdr", "nano-swarm-hdr", "omniscient-hdr", "reality-hdr", "quantum-hdr", "dream-hdr")
    services += ("integration-layer", "command-interface", "dashboard", "quantum-explorer", "void-blade-hdr", "redis")
    recording.add(0, *(DOWN | {"service": service} for service in services))
    found = recording.simulate()
    assert len(found.incidents) == 12
    first = [p for i in found.incidents for p in i.pages if p.at == after(0)]
    assert len(first) == 11
    assert sum(p.reason.startswith("Page storm") for p in first) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"version": "3"}'])
def test_a_bad_delivery_is_named_and_left_out(recording: Recording, text: str) -> None:
    recording.add_body(0, text)
    recording.add(10, SLOW)
    found = recording.simulate()
    (skipped,) = found.skipped
    assert (found.deliveries, skipped.delivery) == (2, 1)
    assert len(found.incidents) == 1


def test_nothing_delivered_tells_nothing(recording: Recording) -> None:
    found = recording.simulate()
    assert (found.deliveries, found.incidents, found.since) == (0, (), None)


def test_only_bad_deliveries_tell_nothing(recording: Recording) -> None:
    recording.add_body(0, "{")
    found = recording.simulate()
    assert isinstance(found.skipped[0], Skipped)
    assert found.incidents == ()


def test_the_watchdog_opens_nothing(recording: Recording) -> None:
    recording.add(0, {"alertname": "Watchdog"})
    assert recording.simulate().incidents == ()


def test_the_same_input_gives_the_same_answer(recording: Recording) -> None:
    for start in range(0, 3600, 300):
        recording.add(start, DOWN, BLOCKED, SLOW)
        recording.add(start + 100, DOWN, BLOCKED, started=start, over=True)
    assert recording.simulate() == recording.simulate()
