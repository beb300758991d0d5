"""Random playbooks, alerts, faults, people, crashes, racing workers and clock jumps against the promises (`model`).

300 examples, always the same, by default; ``HYPOTHESIS_PROFILE=long`` tries 3,000 new ones, and a failure prints the
seed that finds it again.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.engine.properties.machine import EngineMachine
from tests.integration.engine.properties.stage import Stage

SHARES = 6
"""Into so many tests the examples are shared, so that test processes can divide them."""
RULES = 12
"""Of an example."""

_COMMON = settings(
    deadline=None,
    database=None,
    stateful_step_count=RULES,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
)
PROFILES = {
    "default": settings(_COMMON, max_examples=300 // SHARES, derandomize=True),
    "long": settings(_COMMON, max_examples=3000 // SHARES),
}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")


@pytest.mark.timeout(3600 if PROFILE == "long" else 900)
@pytest.mark.parametrize("share", range(SHARES))
def test_the_promises_hold_whatever_happens(stage: Stage, share: int) -> None:
    def machine() -> EngineMachine:
        return EngineMachine(stage)

    if PROFILES[PROFILE].derandomize:
        machine = seed(share)(machine)
    run_state_machine_as_test(machine, settings=PROFILES[PROFILE])  # type: ignore[arg-type]
