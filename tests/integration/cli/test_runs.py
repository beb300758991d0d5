"""Runs, the switches and the report."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import RunStatus
from hdr_responder.records.reports import RunsReport
from hdr_responder.records.views import HoldView, ListView, PauseView, RunSummary, RunView
from tests.integration.cli.conftest import PERSON, Desk
from tests.integration.store.samples import plan, stored_run

pytestmark = pytest.mark.service


async def waiting_run(desk: Desk) -> str:
    """A run that waits for approval."""
    await desk.receive("01")
    (row,) = await desk.workshop.rows("select id, status from runs")
    assert row["status"] == "awaiting_approval"
    return str(row["id"])


async def status(desk: Desk, run: str) -> str:
    (row,) = await desk.workshop.rows("select status from runs where id = $1", uuid.UUID(run))
    return str(row["status"])


async def test_list_and_show(desk: Desk) -> None:
    run = await waiting_run(desk)
    page = ListView[RunSummary].model_validate(desk.asked("runs", "list", "--status", "awaiting_approval"))
    assert [str(item.id) for item in page.items] == [run]
    assert RunView.model_validate(desk.asked("runs", "show", run)).plan.steps[1].id == "restart"
    assert run in desk.told("runs", "list")
    text = desk.told("runs", "show", run)
    assert text.startswith("INC-1: restart-service (approve) waits for approval")
    assert "held by approval: waits for 1 approval" in text
    assert desk.run("runs", "list", "--status", "denied").err == "There are no such runs.\n"


async def test_approval_starts_it_and_names_the_person(desk: Desk) -> None:
    run = await waiting_run(desk)
    assert f"Approved by {PERSON}" in desk.told("runs", "approve", run)
    assert Job.START in await desk.workshop.settle()
    assert await status(desk, run) not in {"awaiting_approval", "held"}
    assert desk.asked("runs", "show", run)["approvals"][0]["person"] == PERSON


async def test_denial_ends_it_and_leaves_nothing_to_approve(desk: Desk) -> None:
    run = await waiting_run(desk)
    assert desk.asked("runs", "deny", run)["status"] == "denied"
    refused = desk.run("runs", "approve", run)
    assert (refused.code, refused.out) == (1, "")
    assert "nothing to approve" in refused.err


async def test_cancelling_what_waits_ends_it(desk: Desk) -> None:
    run = await waiting_run(desk)
    assert f"Cancelled by {PERSON}." in desk.told("runs", "cancel", run)
    assert await status(desk, run) == "cancelled"


async def test_cancelling_what_runs_says_when_it_stops(desk: Desk) -> None:
    run = await stored_run(desk.store, "k", status=RunStatus.RUNNING)
    assert "will stop at its next step boundary" in desk.told("runs", "cancel", str(run.id))


async def test_an_unknown_run(desk: Desk) -> None:
    ended = desk.run("runs", "approve", str(uuid.UUID(int=7)))
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)


async def test_pause_lists_what_is_in_flight_and_resume_asks_again(desk: Desk) -> None:
    quiet = desk.run("pause", "a storm")
    assert (quiet.code, quiet.err) == (0, "Nothing is in flight.\n")
    run = await stored_run(desk.store, "k", status=RunStatus.RUNNING)
    assert str(run.id) in desk.told("pause")
    paused = PauseView.model_validate(desk.asked("pause", "a storm"))
    assert [r.id for r in paused.runs_in_flight] == [run.id]
    async with desk.store.transaction() as tx:
        state = await tx.controls.pause_state()
    assert (state.engaged, state.by, state.reason) == (True, PERSON, "a storm")
    assert desk.told("resume") == "Automation goes on.\n"
    assert desk.asked("resume") == {"paused": False, "runs_in_flight": []}


async def test_undo_refuses_what_has_changed_nothing(desk: Desk) -> None:
    run = await waiting_run(desk)
    waiting = desk.run("runs", "undo", run)
    assert (waiting.code, waiting.out) == (1, "")
    assert "cancel it first" in waiting.err
    desk.told("runs", "deny", run)
    assert "nothing that can be taken back" in desk.run("runs", "undo", run).err


async def test_undo_takes_back_what_a_run_changed(desk: Desk) -> None:
    steps = tuple(s.model_copy(update={"undoable": True}) for s in plan("k").steps)
    changing = plan("k").model_copy(update={"steps": steps})
    run = await stored_run(desk.store, "k", status=RunStatus.COMPLETED, plan=changing)
    await desk.workshop.pool.execute("update steps set status = 'succeeded', state = '{}'")
    assert f"taken back now, as {PERSON} asked" in desk.told("runs", "undo", str(run.id))
    assert f"{PERSON} had its changes taken back at" in desk.told("runs", "show", str(run.id))
    assert await desk.workshop.rows("select 1 from steps where undo_at is not null and undone is null")


async def test_pausing_works_while_a_document_is_broken(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "playbooks"
    broken.mkdir()
    (broken / "broken.yaml").write_text("kind: Playbook\n")
    variables = {"HDR_PLAYBOOKS__DIR": str(broken)}
    assert desk.run("check", **variables).code == 1
    assert desk.run("pause", "a storm", **variables).code == 0
    async with desk.store.transaction() as tx:
        assert (await tx.controls.pause_state()).engaged
    assert desk.run("resume", **variables).code == 0


async def test_hold(desk: Desk) -> None:
    held = HoldView.model_validate(desk.asked("hold", "neural-hdr", "30m", "--reason", "a release"))
    assert (held.service, held.by, held.reason) == ("neural-hdr", PERSON, "a release")
    left = held.until - datetime.now(UTC)
    assert timedelta(minutes=28) < left <= timedelta(minutes=30)
    assert "may act on neural-hdr again" in desk.told("hold", "neural-hdr", "0")
    unknown = desk.run("hold", "nothing", "30m")
    assert (unknown.code, unknown.err.count("\n")) == (1, 1)
    assert "service" in unknown.err


async def test_report(desk: Desk) -> None:
    now = datetime.now(UTC)
    await stored_run(
        desk.store, "prod/neural-hdr", status=RunStatus.OBSERVED, created_at=now - timedelta(hours=1), playbook="watch"
    )
    await stored_run(desk.store, "k", status=RunStatus.DENIED, created_at=now - timedelta(days=3))
    week = RunsReport.model_validate(desk.asked("report"))
    assert (week.runs, week.outcomes) == (2, {"denied": 1, "observed": 1})
    day = desk.asked("report", "--since", "1d")
    assert day["by_playbook"] == {"watch": 1}
    text = desk.told("report", "--would-have-done")
    assert "would have run watch" in text
    assert "would: restart on prod/neural-hdr" in text
    counts = desk.run("report")
    assert counts.out.splitlines()[1].split() == ["OUTCOME", "RUNS"]
    assert "--would-have-done" in counts.err
