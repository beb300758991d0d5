"""What a playbook can say beside one action after the other: wait, ask, do for each, at once, and call others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.actions.contract import StepContext
from hdr_responder.domain.ports.store import Job
from hdr_responder.errors import ConflictError, ForbiddenError, InvalidInputError, TemporaryError
from tests.integration.engine.alerts import alert, delivery
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

CHECK = {"within": "1m", "all": [{"cell.is": {"cell": "a"}}]}


def change(cell: str = "a", step_id: str = "change", **more: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "cell.set", "with": {"cell": cell}} | more


def callee(name: str = "set-one", **changes: Any) -> dict[str, Any]:
    """A playbook that only others call: it sets the cell that it is given."""
    made = playbook(
        metadata={"name": name, "summary": "Sets the cell it is given."},
        params={"cell": {"type": "string"}},
        steps=[{"id": "change", "action": "cell.set", "with": {"cell": "${params.cell}"}}],
        **changes,
    )
    return {k: v for k, v in made.items() if k not in {"match", "priorities", "verify"}}


async def begin(workshop: Workshop) -> None:
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()


async def ended(workshop: Workshop, seconds: float = 0) -> dict[str, Any]:
    if seconds:
        await workshop.pass_time(seconds)
    return await workshop.run()


async def statuses(workshop: Workshop) -> dict[str, str]:
    rows = await workshop.rows("select step_id, status from steps order by position")
    return {r["step_id"]: r["status"] for r in rows}


async def resolve(workshop: Workshop) -> None:
    fired = alert(starts_at=workshop.clock.now() - timedelta(minutes=1), ends_at=workshop.clock.now(), cell="a")
    await workshop.receive_body(delivery([fired]))
    await workshop.intake()


async def test_a_wait_lets_its_time_pass_without_a_worker(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(steps=[{"id": "settle", "wait": "10m"}, change()], verify=CHECK))
    await begin(workshop)
    await workshop.pass_time(599)
    assert await workshop.cells.effects() == []
    (lease,) = await workshop.rows("select lease_owner, resume_at from runs")
    assert lease["lease_owner"] is None, "no worker is kept busy"
    assert "waits 10m" in " ".join(await workshop.told("step_started"))
    assert (await ended(workshop, 2))["verification"] == "verified"
    assert await workshop.cells.effects() == ["a"]


async def test_a_wait_outlives_its_worker_and_its_job(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(steps=[{"id": "settle", "wait": "10m"}, change()], verify=CHECK))
    await begin(workshop)
    await workshop.pool.execute("delete from pgqueuer")
    other = workshop.peer()
    await other.sweep()
    await other.settle()
    assert await workshop.cells.effects() == [], "the sweep does not wake what waits"
    workshop.clock.advance(601)
    await other.sweep()
    await other.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_a_wait_that_nobody_needs_any_more_is_cancelled_at_once(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(playbook(steps=[{"id": "settle", "wait": "10m"}, change()], verify=CHECK))
    await begin(workshop)
    await workshop.engine.operations.cancel((await workshop.run())["id"], by="ann")
    await workshop.sweep()
    await workshop.settle()
    assert (await workshop.run())["status"] == "cancelled"
    assert await workshop.rows("select 1 from target_locks") == []


ASKS = playbook(
    steps=[
        change("b", "first"),
        {"id": "confirm", "approve": {"message": "Set ${params.cell} too?", "group": "sre", "expires": "10m"}},
        {"id": "second", "action": "cell.set", "with": {"cell": "${params.cell}"}},
    ],
    verify=CHECK,
)


async def test_people_are_asked_in_the_middle_of_a_run(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(ASKS)
    member = workshop.documents.escalation.members("sre")[0]
    await begin(workshop)
    run = await workshop.run()
    assert run["status"] == "awaiting_approval"
    assert "waits for 1 approval of group sre: Set a too?" in run["reason"]
    assert await workshop.cells.effects() == ["b"]
    assert any("Set a too?" in line for line in workshop.console)
    with pytest.raises(ForbiddenError, match="sre"):
        await workshop.engine.operations.approve(run["id"], by="a stranger")
    await workshop.engine.operations.approve(run["id"], by=member)
    await workshop.settle()
    assert await workshop.cells.effects() == ["b", "a"]
    assert (await workshop.run())["verification"] == "verified"
    assert any(f"approved by {member}" in line for line in await workshop.told("step_ended"))


async def test_a_word_on_the_start_is_none_on_a_later_gate(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(ASKS | {"guards": ASKS["guards"] | {"mode": "approve"}})
    member = workshop.documents.escalation.members("sre")[0]
    await begin(workshop)
    run_id = (await workshop.run())["id"]
    await workshop.engine.operations.approve(run_id, by=member)
    await workshop.settle()
    assert await workshop.cells.effects() == ["b"]
    assert (await workshop.run())["status"] == "awaiting_approval"
    await workshop.engine.operations.approve(run_id, by=member)
    await workshop.peer().settle()
    assert await workshop.cells.effects() == ["b", "a"], "also after a restart"


@pytest.mark.parametrize("answer", ["deny", "none"])
async def test_what_people_do_not_want_ends_there_and_is_taken_back(open_cells: OpenWorkshop, answer: str) -> None:
    workshop = await open_cells(ASKS)
    await begin(workshop)
    run_id = (await workshop.run())["id"]
    if answer == "deny":
        await workshop.engine.operations.deny(run_id, by="ann")
    else:
        workshop.clock.advance(601)
        await workshop.sweep()
    await workshop.settle()
    assert (await workshop.run())["status"] == {"deny": "denied", "none": "expired"}[answer]
    assert await workshop.cells.effects() == ["b"]
    assert await workshop.cells.effects("undo") == ["b"]
    assert await workshop.rows("select 1 from target_locks") == []
    with pytest.raises(ConflictError):
        await workshop.engine.operations.approve(run_id, by=workshop.documents.escalation.members("sre")[0])


async def test_a_change_is_done_for_each_entry_in_order(open_cells: OpenWorkshop) -> None:
    step = {"id": "each", "action": "cell.set", "for_each": ["a", "b", "c"], "with": {"cell": "${item}"}}
    step |= {"when": "item != 'b'"}
    look = {"id": "look", "action": "cell.look", "when": "steps.each.ok && size(steps.each.results) == 3"}
    workshop = await open_cells(playbook(steps=[step, look | {"with": {"cell": "a"}}], verify=CHECK))
    await begin(workshop)
    assert await workshop.cells.effects() == ["a", "c"]
    assert await statuses(workshop) == {
        "each[0]": "succeeded",
        "each[1]": "skipped",
        "each[2]": "succeeded",
        "look": "succeeded",
    }
    held = await workshop.rows("select distinct target_key from run_targets order by target_key")
    assert [h["target_key"] for h in held] == ["cell:a", "cell:b", "cell:c"], "all that may be changed is locked"


async def test_reads_for_each_entry_of_what_an_earlier_step_gave(open_cells: OpenWorkshop) -> None:
    steps = [
        {"id": "each", "action": "cell.look", "for_each": "${service.depends_on}", "with": {"cell": "${item}"}},
        {"id": "again", "action": "cell.look", "for_each": "${steps.each.results}", "with": {"cell": "a"}},
    ]
    workshop = await open_cells(playbook(steps=steps, verify=None))
    await begin(workshop)
    count = len(workshop.documents.services.by_name("neural-hdr").depends_on)  # type: ignore[union-attr]
    assert count > 1
    assert workshop.cells.reached.count("look") == 2 * count
    assert await statuses(workshop) == {"each": "succeeded", "again": "succeeded"}


async def test_a_worker_that_dies_within_a_list_repeats_none_of_it(open_cells: OpenWorkshop) -> None:
    step = {"id": "each", "action": "cell.set", "for_each": ["a", "b", "c"], "with": {"cell": "${item}"}}
    workshop = await open_cells(playbook(steps=[step], verify=CHECK))

    async def die(ctx: StepContext) -> None:
        if ctx.step_id == "each[1]":
            del workshop.cells.at["after_effect"]
            raise asyncio.CancelledError

    workshop.cells.at["after_effect"] = die
    with pytest.raises(asyncio.CancelledError):
        await begin(workshop)
    await workshop.lose_leases()
    other = workshop.peer()
    await other.sweep()
    await other.settle()
    assert await workshop.cells.effects() == ["a", "b", "c"]


async def test_reads_are_done_at_the_same_time(open_cells: OpenWorkshop) -> None:
    reads = [{"id": f"look_{c}", "action": "cell.look", "with": {"cell": c}} for c in "abc"]
    steps = [{"id": "looks", "parallel": reads}, change(when="steps.look_a.ok && steps.look_c.value == 1")]
    workshop = await open_cells(playbook(steps=steps, verify=CHECK))
    all_there = asyncio.Barrier(3)

    async def together(_: StepContext) -> None:
        await asyncio.wait_for(all_there.wait(), 10)

    workshop.cells.at["look"] = together
    await begin(workshop)
    assert (await workshop.run())["verification"] == "verified"
    assert set((await statuses(workshop)).values()) == {"succeeded"}


async def test_one_of_several_reads_that_fails_fails_the_run(open_cells: OpenWorkshop) -> None:
    reads = [{"id": f"look_{c}", "action": "cell.look", "with": {"cell": c}} for c in "ab"]
    workshop = await open_cells(playbook(steps=[{"id": "looks", "parallel": reads}, change()], verify=CHECK))

    async def fail(ctx: StepContext) -> None:
        if ctx.step_id == "look_b":
            raise ValueError("no such thing")

    workshop.cells.at["look"] = fail
    await begin(workshop)
    assert (await workshop.run())["status"] == "failed"
    assert await statuses(workshop) == {"look_a": "succeeded", "look_b": "failed", "change": "pending"}


def caller(**changes: Any) -> dict[str, Any]:
    call = {"id": "set", "call": "set-one", "with": {"cell": "${params.cell}"}} | changes.pop("call", {})
    return playbook(steps=[call, *changes.pop("then", [])], verify=CHECK, **changes)


async def test_another_playbook_is_called_with_params(open_cells: OpenWorkshop) -> None:
    then = [{"id": "look", "action": "cell.look", "when": "steps.set.ok", "with": {"cell": "b"}}]
    workshop = await open_cells(caller(then=then), callee())
    await begin(workshop)
    assert await workshop.cells.effects() == ["a"]
    assert await statuses(workshop) == {"set.change": "succeeded", "look": "succeeded"}
    assert (await workshop.run())["verification"] == "verified"


async def test_a_call_for_each_entry_and_a_call_within_a_call(open_cells: OpenWorkshop) -> None:
    inner = callee("inner")
    outer = callee("set-one") | {
        "steps": [{"id": "deep", "call": "inner", "with": {"cell": "${params.cell}"}, "when": "params.cell != 'b'"}]
    }
    made = caller(call={"for_each": ["a", "b", "c"], "with": {"cell": "${item}"}})
    workshop = await open_cells(made, outer, inner)
    await begin(workshop)
    assert await statuses(workshop) == {
        "set[0].deep.change": "succeeded",
        "set[1].deep.change": "skipped",
        "set[2].deep.change": "succeeded",
    }
    assert await workshop.cells.effects() == ["a", "c"]


async def test_a_run_goes_on_with_the_called_playbook_as_it_was(open_cells: OpenWorkshop) -> None:
    """A rolling upgrade: the next worker has no such playbook any more."""
    workshop = await open_cells(caller(then=[{"id": "settle", "wait": "1m"}, change("b", "last")]), callee())
    await begin(workshop)
    folder = workshop.options["playbooks"]
    for path in folder.iterdir():
        path.unlink()
    other = workshop.peer()
    workshop.clock.advance(61)
    await other.sweep()
    await other.settle()
    assert await workshop.cells.effects() == ["a", "b"]
    assert (await workshop.run())["verification"] == "verified"


async def test_a_failure_within_a_call_ends_the_call_or_the_run(open_cells: OpenWorkshop) -> None:
    failing = callee() | {
        "steps": [
            {"id": "gone", "action": "cell.set", "with": {"cell": "nowhere"}},
            {"id": "change", "action": "cell.set", "with": {"cell": "${params.cell}"}},
        ]
    }
    then = [change("a", "instead", when="steps.set.failed")]
    workshop = await open_cells(caller(call={"on_error": "continue"}, then=then), failing)
    await begin(workshop)
    assert await statuses(workshop) == {"set.gone": "failed", "set.change": "skipped", "instead": "succeeded"}
    assert (await workshop.run())["verification"] == "verified"


async def test_the_stricter_mode_of_caller_and_called_holds(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(caller(), callee(guards={"mode": "approve"}))
    await begin(workshop)
    run = await workshop.run()
    assert run["status"] == "awaiting_approval"
    assert "calls set-one, whose mode is approve" in run["reason"]


async def test_a_step_that_says_so_takes_back_what_was_done(open_cells: OpenWorkshop) -> None:
    steps = [change("a", "first"), change("nowhere", "second", on_error="undo")]
    workshop = await open_cells(playbook(steps=steps, verify=CHECK, undo="never"))
    await begin(workshop)
    assert (await workshop.run())["status"] == "failed"
    assert await workshop.cells.effects("undo") == ["a"]


@pytest.mark.parametrize(("says", "effects"), [("stop", ["a"]), ("finish", ["a", "b"])])
async def test_an_alert_that_ends_meanwhile(open_cells: OpenWorkshop, says: str, effects: list[str]) -> None:
    steps = [change("a", "first"), change("b", "second")]
    workshop = await open_cells(playbook(steps=steps, verify=CHECK, if_resolved=says))

    async def over(ctx: StepContext) -> None:
        if ctx.step_id == "first":
            await resolve(workshop)

    workshop.cells.at["after_effect"] = over
    await begin(workshop)
    assert await workshop.cells.effects() == effects
    assert (await workshop.run())["verification"] == "verified", "what was done is verified all the same"
    if says == "stop":
        assert "no longer needed" in (await workshop.told("step_ended"))[-1]


async def test_an_alert_that_ends_before_anything_is_changed_ends_the_run(open_cells: OpenWorkshop) -> None:
    look = {"id": "look", "action": "cell.look", "with": {"cell": "a"}}
    workshop = await open_cells(playbook(steps=[look, change()], verify=CHECK))
    workshop.cells.at["look"] = lambda _: resolve(workshop)
    await begin(workshop)
    run = await workshop.run()
    assert run["status"] == "cancelled"
    assert "no longer needed" in run["reason"]
    assert await workshop.cells.effects() == []
    assert await workshop.pages() == 0


async def test_a_read_is_broken_off_when_the_run_is_cancelled(open_cells: OpenWorkshop) -> None:
    look = {"id": "look", "action": "cell.look", "with": {"cell": "a"}, "timeout": "10m"}
    workshop = await open_cells(playbook(steps=[look, change()], verify=CHECK))

    async def endless(_: StepContext) -> None:
        await workshop.engine.operations.cancel((await workshop.run())["id"], by="ann")
        await asyncio.Event().wait()

    workshop.cells.at["look"] = endless
    await asyncio.wait_for(begin(workshop), 30)
    run = await workshop.run()
    assert (run["status"], run["reason"]) == ("cancelled", "cancelled by ann")
    assert await workshop.cells.effects() == []


async def test_a_read_is_handed_over_when_its_worker_shuts_down(open_cells: OpenWorkshop) -> None:
    look = {"id": "look", "action": "cell.look", "with": {"cell": "a"}, "timeout": "10m"}
    workshop = await open_cells(playbook(steps=[look, change()], verify=CHECK))

    async def endless(_: StepContext) -> None:
        del workshop.cells.at["look"]
        workshop.engine.executor.draining.set()
        await asyncio.Event().wait()

    workshop.cells.at["look"] = endless
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle(without=[Job.RUN])
    await asyncio.wait_for(workshop.engine.executor.run((await workshop.run())["id"]), 30)
    await workshop.peer().settle()
    assert (await workshop.run())["verification"] == "verified"


async def test_a_person_gives_params(open_cells: OpenWorkshop) -> None:
    asks = callee("by-hand") | {"manual": True, "verify": CHECK}
    workshop = await open_cells(playbook(match=['alertname = "Other"']), asks)
    await begin(workshop)
    operations = workshop.engine.operations
    for params, field in (({}, "params.cell"), ({"sell": "a"}, "params.sell")):
        with pytest.raises(InvalidInputError) as refused:
            await operations.run_playbook(1, "by-hand", by="ann", params=params)
        assert refused.value.field == field
    assert await workshop.rows("select 1 from runs") == [], "what cannot be planned leaves nothing behind"
    await operations.run_playbook(1, "by-hand", by="ann", params={"cell": "b"})
    await workshop.settle()
    assert await workshop.cells.effects() == ["b"]


@pytest.mark.parametrize(("says", "status"), [("stop", "completed"), ("finish", "awaiting_approval")])
async def test_alerts_that_end_while_people_are_asked(open_cells: OpenWorkshop, says: str, status: str) -> None:
    steps = [change("a", "first"), {"id": "sure", "approve": {"message": "More?"}}, change("b", "second")]
    workshop = await open_cells(playbook(steps=steps, verify=CHECK, if_resolved=says))
    await begin(workshop)
    await resolve(workshop)
    await workshop.settle()
    assert (await workshop.run())["status"] == status
    assert await workshop.cells.effects() == ["a"]
    workshop.clock.advance(1801)
    await workshop.sweep()
    await workshop.settle()
    assert (await workshop.run())["status"] == {"stop": "completed", "finish": "expired"}[says], "it ends all the same"


async def test_reads_at_the_same_time_that_nobody_needs_any_more(open_cells: OpenWorkshop) -> None:
    reads = [{"id": f"look_{c}", "action": "cell.look", "with": {"cell": c}} for c in "abc"]
    first = {"id": "first", "action": "cell.look", "with": {"cell": "a"}}
    workshop = await open_cells(playbook(steps=[first, {"id": "looks", "parallel": reads}, change()], verify=CHECK))

    async def over(ctx: StepContext) -> None:
        if ctx.step_id == "first":
            await resolve(workshop)

    workshop.cells.at["look"] = over
    await begin(workshop)
    assert (await workshop.run())["status"] == "cancelled"
    assert set((await statuses(workshop)).values()) == {"succeeded", "skipped"}


async def test_a_read_that_is_to_be_tried_again_is_left_out_when_nobody_needs_it(open_cells: OpenWorkshop) -> None:
    look = {"id": "look", "action": "cell.look", "with": {"cell": "a"}, "retry": {"attempts": 3, "delay": "1s"}}
    workshop = await open_cells(playbook(steps=[look, change()], verify=CHECK))

    async def fail(_: StepContext) -> None:
        await resolve(workshop)
        raise TemporaryError("not now")

    workshop.cells.at["look"] = fail
    await begin(workshop)
    assert workshop.cells.reached.count("look") == 1
    assert (await workshop.run())["status"] == "cancelled"


async def test_alerts_that_end_cut_a_wait_short(open_cells: OpenWorkshop) -> None:
    steps = [change("a", "first"), {"id": "settle", "wait": "10m"}, change("b", "second")]
    workshop = await open_cells(playbook(steps=steps, verify=CHECK))
    await begin(workshop)
    await workshop.pass_time(60, step=20)
    await resolve(workshop)
    await workshop.settle()
    assert await statuses(workshop) == {"first": "succeeded", "settle": "succeeded", "second": "skipped"}
    assert (await workshop.run())["verification"] == "verified"
    assert any("settle: succeeded (1m)" in line for line in await workshop.told("step_ended"))


async def test_reads_at_the_same_time_of_a_run_that_is_cancelled(open_cells: OpenWorkshop) -> None:
    reads = [{"id": f"look_{c}", "action": "cell.look", "with": {"cell": c}} for c in "abc"]
    first = {"id": "first", "action": "cell.look", "with": {"cell": "a"}}
    workshop = await open_cells(playbook(steps=[first, {"id": "looks", "parallel": reads}], verify=None))

    async def cancel(ctx: StepContext) -> None:
        if ctx.step_id == "first":
            await workshop.engine.operations.cancel((await workshop.run())["id"], by="ann")

    workshop.cells.at["look"] = cancel
    await begin(workshop)
    assert (await workshop.run())["status"] == "cancelled"
    assert len(await workshop.told("run_ended")) == 1
    (lease,) = await workshop.rows("select lease_owner from runs")
    assert lease["lease_owner"] is None, "the lease is given back"
