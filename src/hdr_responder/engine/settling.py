"""What several stages settle alike: how an incident ends when its alerts do, and how a run gives its targets back."""

from __future__ import annotations

import uuid
from datetime import datetime

from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.notifications import NotificationKind
from hdr_responder.domain.ports.store import Job, Transaction
from hdr_responder.domain.runs import Run, StepStatus
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.ledger import Ledger
from hdr_responder.engine.telling import Telling


def resolve_by_alerts(incident: Incident, ledger: Ledger, *, at: datetime) -> None:
    """Resolve an incident because none of its alerts fires since ``at``; runs that waited are no longer needed."""
    incident.move(IncidentStatus.RESOLVED, at=at, by=None)
    incident.page_at = incident.escalate_at = None
    ledger.entry(incident, EntryKind.RESOLVED, "Resolved: none of its alerts fires any more")
    ledger.page_state(incident, NotificationKind.PAGE_RESOLVE)
    ledger.plan(incident)


async def give_back_targets(tx: Transaction, ledger: Ledger, run_id: uuid.UUID) -> None:
    """Give a run's targets back and ask the runs that waited for them."""
    for waiting in await tx.runs.release_targets(run_id):
        ledger.wake(Job.START, str(waiting))


async def end_with_incident(told: Telling) -> None:
    """Let the changes that last no longer than their incident be taken back now, since it is over.

    One that is just being made is not among them: whoever records it sees that the incident is over.
    """
    for run in await told.tx.runs.of_incident(told.incident.id):
        lasting = {s.id for s in run.plan.steps if s.ends_with_incident}
        if not lasting:
            continue
        locked = await told.tx.runs.get(run.id, lock=True)
        for step in await told.tx.runs.steps(run.id):
            stands = step.status is StepStatus.SUCCEEDED and step.undone is None
            if step.step_id in lasting and stands and (step.undo_at is None or step.undo_at > told.ledger.now):
                step.undo_at = told.ledger.now
                await told.tx.runs.save_step(locked, step)
                told.ledger.wake(Job.UNDO, str(run.id))


async def close_steps(told: Telling, run: Run) -> None:
    """Give the steps that had begun an outcome when their run ends while no worker is at them.

    Whether such a change took effect nobody has looked at: it is ambiguous.
    """
    changes = {s.id for s in run.plan.steps if s.mutates}
    for step in await told.tx.runs.steps(run.id):
        if step.status is not StepStatus.STARTED:
            continue
        changed = step.step_id in changes
        step.move(StepStatus.AMBIGUOUS if changed else StepStatus.FAILED, at=told.ledger.now)
        why = "it may or may not have taken effect" if changed else "not finished"
        step.error = f"{why}: the run ended before anybody went on with it"
        await told.tx.runs.save_step(run, step)
        text = f"Step {step.step_id}: {step.status} ({step.error})"
        told.ledger.entry(told.incident, EntryKind.STEP_ENDED, text, run_id=run.id)


async def let_go(tx: Transaction, ledger: Ledger, run: Run, *, undo: bool = False) -> None:
    """Give the targets of a run back that did not get through, after its changes where they are to be taken back.

    They are when its playbook says so (``undo: on_failure``) or the failed step does (``undo``); the undo job does the
    work and gives the targets back at its end.
    """
    if run.started_at is not None and (undo or run.plan.document.get("undo") == "on_failure"):
        restores = {s.id for s in run.plan.steps if s.restores}
        steps = await tx.runs.steps(run.id)
        changed = [s for s in steps if s.step_id in restores and s.state is not None and not s.undone]
        for step in changed:
            step.undo_at = ledger.now
            await tx.runs.save_step(run, step)
        if changed:
            ledger.wake(Job.UNDO, str(run.id))
            return
    await give_back_targets(tx, ledger, run.id)
