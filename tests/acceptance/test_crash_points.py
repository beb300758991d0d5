"""SIGKILL at every step boundary and inside every action: each change is made exactly once, and every run ends.

The witness is the API server's audit log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from tests.acceptance.crash_points import EFFECTS, IN_VAIN, STEPS, points, whole_effect, whole_tale
from tests.acceptance.crashing import Aftermath, crash_again_and_again, crash_at
from tests.acceptance.responder import responder_folder
from tests.acceptance.stage import Records
from tests.services.kubernetes import ControlPlane
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.timeout(300)

POINTS = {f"crash-{number:02}": point for number, point in enumerate(points())}
WAVES = {
    "often": {workload: point for workload, point in POINTS.items() if point.often},
    "seldom": {workload: point for workload, point in POINTS.items() if not point.often},
}
"""Points that one worker is ended at, all at once. ``seldom`` is left to the long profile."""
each_wave = pytest.mark.parametrize("wave", ["often", pytest.param("seldom", marks=pytest.mark.chaos)])

Crash = Callable[[str], Aftermath]


@pytest.fixture(scope="module")
def crash(control_plane: ControlPlane, postgres_server: PostgresServer) -> Crash:
    """``crash(wave)`` ends a worker at all points of a wave, once for all tests."""
    known: dict[str, Aftermath] = {}

    def at(wave: str) -> Aftermath:
        if wave not in known:
            with postgres_server.fresh_database() as url, responder_folder() as folder:
                known[wave] = asyncio.run(crash_at(control_plane, url, folder, WAVES[wave]))
        return known[wave]

    return at


def all_points() -> list[object]:
    """Return wave and workload of every point."""
    marks = {"often": (), "seldom": (pytest.mark.chaos,)}
    return [
        pytest.param(wave, workload, id=point.name, marks=marks[wave])
        for wave, points_ in WAVES.items()
        for workload, point in points_.items()
    ]


@pytest.mark.parametrize(("wave", "workload"), all_points())
def test_a_worker_that_ends_here_leaves_every_change_made_once(crash: Crash, wave: str, workload: str) -> None:
    aftermath, point = crash(wave), POINTS[workload]
    if point.seen is not None:
        assert aftermath.at_kill[workload] == point.seen, "it ended where it was to end"
    assert_done_once(aftermath.records, workload, point.alert)
    assert aftermath.records.tale(workload) == whole_tale(point.alert) - Counter(point.untold)


def assert_done_once(records: Records, workload: str, alert: str) -> None:
    """Assert that the run ended as it should, and had every effect of its playbook exactly once."""
    assert records.effects(workload) == whole_effect(alert)
    run = records.runs[workload]
    expected = ("failed", "failed") if alert == IN_VAIN else ("completed", "verified")
    assert (run["status"], run["verification"]) == expected
    steps = [s for s in records.steps if str(s["run_id"]) == run["run"]]
    assert [(s["step_id"], s["status"]) for s in steps] == [(step, "succeeded") for step in STEPS]
    kinds = {"opened": 1, "planned": 1, "run_started": 1, "step_started": len(EFFECTS), "run_ended": 1}
    assert {kind: records.told(workload, kind) for kind in kinds} == kinds


@each_wave
def test_every_incident_is_told_and_at_most_one_message_is_repeated(crash: Crash, wave: str) -> None:
    records = crash(wave).records
    assert records.unshown() == []
    assert len(records.repeated()) <= 1


def test_a_message_whose_delivery_was_not_recorded_is_repeated(crash: Crash) -> None:
    """That the proof above would see it."""
    assert len(crash("often").records.repeated()) == 1


@each_wave
def test_nothing_is_changed_before_its_start_is_recorded(crash: Crash, wave: str) -> None:
    assert crash(wave).records.too_early() == []


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(3))
def test_workers_that_end_again_and_again_leave_every_change_made_once(
    control_plane: ControlPlane, postgres_server: PostgresServer, seed: int
) -> None:
    kills = 6
    with postgres_server.fresh_database() as url, responder_folder() as folder:
        alerts, records = asyncio.run(
            crash_again_and_again(control_plane, url, folder, runs=18, kills=kills, seed=seed)
        )
    for workload, alert in alerts.items():
        assert_done_once(records, workload, alert)
        assert records.tale(workload) <= whole_tale(alert), "nothing is told twice"
    assert len(records.repeated()) <= kills
    assert records.unshown() == []
    assert records.too_early() == []


def test_every_step_boundary_and_every_action_is_covered_by_default() -> None:
    reached = {(p.seen.run, p.seen.steps, p.seen.begun, p.seen.effects) for p in WAVES["often"].values() if p.seen}
    for number, step in enumerate(STEPS):
        inside = [begun for run, steps, begun, _ in reached if (run, steps) == ("running", number)]
        assert False in inside, f"no boundary before {step}"
        assert (True in inside) is (step in EFFECTS), f"never inside {step}"
