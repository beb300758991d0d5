"""What the machine found once, as short as it was found."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.actions.contract import StepContext
from hdr_responder.domain.ports.store import Job
from tests.integration.engine.cells import WorkerDied, playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

TWO = playbook(
    steps=[
        {"id": "first", "action": "cell.set", "with": {"cell": "a"}},
        {"id": "second", "action": "cell.set", "with": {"cell": "b"}},
    ]
)


def dies(_: StepContext) -> None:
    raise WorkerDied


async def held_with_a_begun_change(workshop: Workshop) -> Workshop:
    """A worker dies in its second change, and whoever takes over finds automation paused."""
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle(without=[Job.RUN])
    workshop.cells.at["before_effect"] = lambda ctx: dies(ctx) if ctx.step_id == "second" else None
    with pytest.raises(WorkerDied):
        await workshop.settle()
    del workshop.cells.at["before_effect"]
    await workshop.engine.operations.pause(by="ann")
    other = workshop.peer()
    await other.lose_leases()
    await other.sweep()
    await other.settle()
    assert (await other.run())["status"] == "held"
    return other


async def expire(workshop: Workshop) -> None:
    workshop.clock.advance(3601)
    await workshop.sweep()


async def deny(workshop: Workshop) -> None:
    await workshop.engine.operations.deny((await workshop.run())["id"], by="ann")


async def cancel(workshop: Workshop) -> None:
    await workshop.engine.operations.cancel((await workshop.run())["id"], by="ann")


@pytest.mark.parametrize(("end", "status"), [(expire, "expired"), (deny, "denied"), (cancel, "cancelled")])
async def test_a_begun_change_of_a_held_run_that_ends_is_ambiguous(
    open_cells: OpenWorkshop, end: Any, status: str
) -> None:
    workshop = await held_with_a_begun_change(await open_cells(TWO))
    await end(workshop)
    await workshop.settle()
    assert (await workshop.run())["status"] == status
    steps = await workshop.rows("select step_id, status, error from steps order by position")
    assert [s["status"] for s in steps] == ["succeeded", "ambiguous"]
    assert "may or may not have taken effect" in steps[1]["error"]
    assert any("Step second: ambiguous" in text for text in await workshop.told("step_ended"))


async def test_a_paused_run_does_not_go_on_when_its_incident_is_resolved(open_cells: OpenWorkshop) -> None:
    """It leaves the rest out only after the pause: until then nothing goes on at all."""
    workshop = await open_cells(TWO)

    async def pause(_: StepContext) -> None:
        del workshop.cells.at["after_effect"]
        await workshop.engine.operations.pause(by="ann")

    workshop.cells.at["after_effect"] = pause
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    assert (await workshop.run())["status"] == "held"
    await workshop.engine.operations.resolve(1, by="ann")
    await workshop.settle()
    assert (await workshop.run())["status"] == "held"
    assert len(await workshop.told("run_started")) == 1
    await workshop.engine.operations.resume(by="ann")
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]
