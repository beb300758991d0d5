"""The machine that hypothesis drives: each rule is something that can happen, and after each the promises must hold.

Choices never depend on what the database says, because workers race: a rule picks "the third run from the newest" and
finds one, another, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.integration.engine.properties import model
from tests.integration.engine.properties.stage import Stage
from tests.integration.engine.properties.strategies import (
    CELLS,
    Alert,
    Deed,
    Fault,
    Hands,
    deeds,
    hands,
    jumps,
    playbooks,
    some_alerts,
    some_faults,
)

Work = Coroutine[Any, Any, object]


class EngineMachine(RuleBasedStateMachine):
    """Drives one `Stage`."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.began = self.broken = False

    def do(self, *works: Work) -> None:
        """Do all of it at once, a moment after what was before, and look."""
        try:
            self.stage.run(self._do(*works))
        except BaseException:
            self.broken = True
            raise

    async def _do(self, *works: Work) -> None:
        self.stage.clock.advance(1)
        await asyncio.gather(*works)
        await self.stage.look(model.ALWAYS)

    @initialize(documents=playbooks(), fired=some_alerts, expected=some_faults)
    def begin(self, documents: tuple[dict[str, Any], ...], fired: list[Alert], expected: list[Fault]) -> None:
        self.stage.run(self.stage.begin(documents))
        self.began = True
        self.arm(expected)
        self.fire(fired)

    def fire(self, fired: list[Alert]) -> None:
        for alert in fired:
            self.do(self.stage.fire(alert))

    def arm(self, faults: list[Fault]) -> None:
        for fault in faults:
            self.stage.faults.arm(fault)

    @rule(fired=some_alerts, deed=st.none() | deeds, expected=some_faults, by=hands)
    def alerts_fire(self, fired: list[Alert], deed: Deed | None, expected: list[Fault], by: Hands) -> None:
        self.fire(fired)
        if deed is not None:
            self.do(self.stage.person(deed))
        self.arm(expected)
        self.do(self.stage.work(by))

    @rule(expected=some_faults, by=hands)
    def workers_work(self, expected: list[Fault], by: Hands) -> None:
        self.arm(expected)
        self.do(self.stage.work(by))

    @rule(expected=some_faults, by=hands, late=st.booleans())
    def workers_take_over(self, expected: list[Fault], by: Hands, late: bool) -> None:
        """``late``: those that stood still wake up when others have done their work."""
        self.do(self.stage.lose_leases())
        self.arm(expected)
        self.do(self.stage.work(by))
        if late:
            self.do(self.stage.thaw())

    @rule(by=hands)
    def workers_thaw(self, by: Hands) -> None:
        self.do(self.stage.thaw())
        self.do(self.stage.work(by))

    @rule(by=hands)
    def workers_thaw_while_others_take_over(self, by: Hands) -> None:
        self.do(self.stage.lose_leases())
        self.do(self.stage.thaw(), self.stage.work(by))

    @rule(seconds=jumps, by=hands)
    def time_passes(self, seconds: int, by: Hands) -> None:
        self.do(self.stage.jump(seconds))
        self.do(self.stage.workers[0].sweep())
        self.do(self.stage.work(by))

    @rule(deed=deeds, by=hands)
    def somebody_acts(self, deed: Deed, by: Hands) -> None:
        self.do(self.stage.person(deed))
        self.do(self.stage.work(by))

    @rule(deed=deeds, expected=some_faults, by=hands)
    def somebody_acts_meanwhile(self, deed: Deed, expected: list[Fault], by: Hands) -> None:
        self.arm(expected)
        self.do(self.stage.work(by), self.stage.person(deed))

    @rule(pick=st.none() | st.integers(0, 5), by=hands)
    def alerts_end_or_are_repeated(self, pick: int | None, by: Hands) -> None:
        self.do(self.stage.repeat() if pick is None else self.stage.resolve(pick))
        self.do(self.stage.work(by))

    @rule(cell=st.sampled_from(CELLS), value=st.none() | st.integers(1, 4))
    def somebody_else_sets(self, cell: str, value: int | None) -> None:
        self.stage.world.disturbed = True
        self.do(self.stage.workers[0].cells.set(cell, value))

    @rule(reachable=st.booleans(), silenced=st.sampled_from([False, False, True]))
    def alertmanager_changes(self, reachable: bool, silenced: bool) -> None:
        self.stage.alertmanager.reachable, self.stage.alertmanager.silenced = reachable, silenced
        self.do(self.stage.workers[0].engine.housekeeping.tick())

    @rule(by=hands)
    def somebody_empties_the_queue(self, by: Hands) -> None:
        self.do(self.stage.lose_jobs())
        self.do(self.stage.workers[0].sweep())
        self.do(self.stage.work(by))

    def teardown(self) -> None:
        """Let everything come to its end, unless the example has failed already."""
        try:
            if self.began and not self.broken:
                self.stage.run(self.stage.finish())
        finally:
            if self.began:
                self.stage.run(self.stage.leave())
