"""Runs: list, show, approve, deny, cancel, undo."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from hdr_responder.cli.context import in_session
from hdr_responder.cli.output import clock, print_json, print_more, print_table, say
from hdr_responder.cli.parameters import By, Cursor, Json, Limit, group
from hdr_responder.domain.ports.records import PageRequest
from hdr_responder.domain.runs import Run, RunStatus, Step
from hdr_responder.records import presentation as words
from hdr_responder.records.views import RunSummary, page_view, run_summary, run_view

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("RUN", "INCIDENT", "PLAYBOOK", "MODE", "STATUS", "VERIFICATION", "CREATED", "WHY")

RunId = Annotated[uuid.UUID, typer.Argument(metavar="RUN", help="The run's id.")]

app = group("Executions of playbooks.")


def row(run: RunSummary) -> tuple[str, ...]:
    """Return a run as a row of a table."""
    verification = "-" if run.verification == "none" else run.verification
    why = run.reason or "-"
    return str(run.id), run.incident, run.playbook, run.mode, run.status, verification, clock(run.created_at), why


@app.command("list")
def list_(
    *,
    status: Annotated[list[RunStatus] | None, typer.Option(help="Only these; may be given several times.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    page = in_session(lambda s: s.records.runs(tuple(status or ()), PageRequest(limit=limit, cursor=cursor)))
    view = page_view(page, run_summary)
    if as_json:
        print_json(view)
        return
    print_table(COLUMNS, [row(item) for item in view.items], empty="There are no such runs.")
    print_more(view.next_cursor)


@app.command()
def show(*, run_id: RunId, as_json: Json = False) -> None:
    """Show a run with its plan, the guards that held it, and its steps."""
    run, steps = in_session(lambda s: s.records.run(run_id))
    if as_json:
        print_json(run_view(run, steps))
        return
    summary = run_summary(run)
    say(f"{summary.incident}: {words.run_line(run)}")
    say(f"  created {clock(run.created_at)}, started {clock(run.started_at)}, ended {clock(run.ended_at)}")
    say(f"  mode {run.mode}: {words.one_line(run.plan.mode_reason)}")
    for approval in run.approvals:
        say(f"  {words.person(approval.person)}: {approval.decision} at {clock(approval.at)}")
    if run.undo_forced_by:
        say(f"  {words.person(run.undo_forced_by)} had its changes taken back at {clock(run.undo_forced_at)}")
    for refusal in words.refusals(run.plan.verdicts):
        say(f"  held by {refusal}")
    for line in _step_lines(run, steps):
        say(f"  {line}")
    if words.verification_line(run):
        say(f"  {words.verification_line(run)}")
    if run.status is RunStatus.AWAITING_APPROVAL:
        say(f"  To approve: hdr-responder runs approve {run.id}")


@app.command()
def approve(*, run_id: RunId, by: By, as_json: Json = False) -> None:
    """Approve a waiting run; guards are asked again before anything is done."""
    run = in_session(lambda s: s.operations.approve(run_id, by=by))
    _told(run, f"Approved by {by}; the guards are asked again before anything is done.", as_json=as_json)


@app.command()
def deny(*, run_id: RunId, by: By, as_json: Json = False) -> None:
    """Refuse a waiting run; it ends."""
    _told(in_session(lambda s: s.operations.deny(run_id, by=by)), f"Denied by {by}.", as_json=as_json)


@app.command()
def cancel(*, run_id: RunId, by: By, as_json: Json = False) -> None:
    """Stop a run at its next step boundary."""
    run = in_session(lambda s: s.operations.cancel(run_id, by=by))
    ended = f"Cancelled by {by}." if run.status.is_ended else "It will stop at its next step boundary."
    _told(run, ended, as_json=as_json)


@app.command()
def undo(*, run_id: RunId, by: By, as_json: Json = False) -> None:
    """Force a recovery: take the changes of an ended run back now, also while automation is paused."""
    run = in_session(lambda s: s.operations.undo(run_id, by=by))
    _told(run, f"Its changes are taken back now, as {by} asked.", as_json=as_json)


def _told(run: Run, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(run_summary(run))
    else:
        say(f"{run.playbook} for {run_summary(run).incident}: {done}")


def _step_lines(run: Run, steps: Sequence[Step]) -> list[str]:
    """Return what became of the steps, or what they would have been where nothing was done."""
    if run.status is RunStatus.OBSERVED:
        return [f"would: {words.planned_line(step)}" for step in run.plan.steps]
    return words.step_lines(run, steps)
