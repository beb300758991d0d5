"""What people do, in one place for Slack, the API and the command line; every change is one transaction."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from hdr_responder.actions.contract import Undone
from hdr_responder.documents.catalogue import Documents
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.guards import Hold, PauseState
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.notifications import NotificationKind
from hdr_responder.domain.ports.operations import Scalar
from hdr_responder.domain.ports.store import Job, Store
from hdr_responder.domain.runs import ACTIVE, WAITING, Approval, Run, RunStatus, Step
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine import guards
from hdr_responder.engine.gates import approval_rule
from hdr_responder.engine.ledger import Lanes
from hdr_responder.engine.measures import Measures
from hdr_responder.engine.settling import close_steps, give_back_targets, let_go
from hdr_responder.engine.starter import Starter
from hdr_responder.engine.telling import Telling, telling
from hdr_responder.errors import ConflictError, ForbiddenError, InvalidInputError

NOTE_MAX = 4000
HOLD_MAX = timedelta(days=7)
WAITING_ASKED = 1000
"""How many waiting runs are asked again when a switch is released; the others expire and go to a person."""


class PeopleOperations:
    """Implements `Operations`.

    Documents and starter are asked for when they are needed, so that pausing works while a document is broken.
    """

    def __init__(
        self,
        *,
        store: Store,
        documents: Callable[[], Documents],
        starter: Callable[[], Starter],
        clock: Clock,
        lanes: Lanes,
        measures: Measures,
    ) -> None:
        self._store = store
        self._documents = documents
        self._starter = starter
        self._clock = clock
        self._lanes = lanes
        self._measures = measures

    async def acknowledge(self, incident_id: int, *, by: str) -> Incident:
        """See `Operations`."""
        async with self._telling(incident_id) as told:
            news = _acknowledge(told, by)
        if news:
            self._measures.incident_acknowledged(told.incident)
        return told.incident

    async def lead(self, incident_id: int, *, by: str, person: str | None = None) -> Incident:
        """See `Operations`."""
        commander = _bounded(person or by)
        async with self._telling(incident_id) as told:
            incident = told.incident
            if not incident.status.is_open:
                raise ConflictError(f"{incident.ref} is {incident.status}: there is nothing to command")
            news = commander == by and incident.status is IncidentStatus.TRIGGERED and _acknowledge(told, by)
            if incident.commander != commander:
                incident.commander = commander
                what = f"{by} has command" if commander == by else f"{by} gave command to {commander}"
                text = f"{what}; automation of this incident asks before it acts"
                told.ledger.entry(incident, EntryKind.COMMAND, text, actor=by)
                told.ledger.say(incident, text)
        if news:
            self._measures.incident_acknowledged(incident)
        return incident

    async def resolve(self, incident_id: int, *, by: str, note: str | None = None) -> Incident:
        """See `Operations`."""
        news = False
        async with self._telling(incident_id) as told:
            incident = told.incident
            if incident.status is not IncidentStatus.RESOLVED:
                incident.move(IncidentStatus.RESOLVED, at=told.ledger.now, by=by)
                incident.page_at = incident.escalate_at = None
                text = f"Resolved by {by}" + (f": {_bounded(note)}" if note else "")
                told.ledger.entry(incident, EntryKind.RESOLVED, text, actor=by)
                told.ledger.page_state(incident, NotificationKind.PAGE_RESOLVE)
                told.ledger.plan(incident)
                news = True
        if news:
            self._measures.incident_resolved(incident)
        return incident

    async def note(self, incident_id: int, *, by: str, text: str) -> Incident:
        """See `Operations`."""
        if not text.strip():
            raise InvalidInputError("a note needs some text", field="text")
        async with self._telling(incident_id) as told:
            told.ledger.entry(told.incident, EntryKind.NOTE, _bounded(text), actor=by)
            told.ledger.say(told.incident, f"{by}: {_bounded(text)}")
        return told.incident

    async def run_playbook(
        self, incident_id: int, playbook: str, *, by: str, params: Mapping[str, Scalar] | None = None
    ) -> Run:
        """See `Operations`."""
        return await self._starter().request(incident_id, playbook, by=by, given=params)

    async def approve(self, run_id: uuid.UUID, *, by: str) -> Run:
        """See `Operations`. Raises ForbiddenError when the playbook names a group and ``by`` is not of it."""
        async with self._telling_run(run_id) as (told, run):
            if run.status not in WAITING:
                raise ConflictError(f"run {_short(run)} is {run.status}: there is nothing to approve")
            self._check_group(run, by)
            _check_requester(told, run, by)
            await told.tx.runs.approve(
                run.id, Approval(person=by, decision="approve", at=told.ledger.now, gate=run.gate)
            )
            told.ledger.entry(
                told.incident, EntryKind.APPROVED, f"{run.playbook} approved by {by}", actor=by, run_id=run.id
            )
            told.ledger.wake(Job.START, str(run.id))
        return run

    async def deny(self, run_id: uuid.UUID, *, by: str) -> Run:
        """See `Operations`."""
        async with self._telling_run(run_id) as (told, run):
            if run.status is RunStatus.DENIED:
                return run
            if run.status not in WAITING:
                raise ConflictError(f"run {_short(run)} is {run.status}: there is nothing to deny")
            await told.tx.runs.approve(run.id, Approval(person=by, decision="deny", at=told.ledger.now, gate=run.gate))
            run.move(RunStatus.DENIED, f"denied by {by}", at=told.ledger.now)
            await told.tx.runs.save(run)
            await close_steps(told, run)
            await let_go(told.tx, told.ledger, run)
            self._measures.run_ended(run)
            told.ledger.entry(
                told.incident, EntryKind.DENIED, f"{run.playbook} denied by {by}", actor=by, run_id=run.id
            )
        return run

    async def cancel(self, run_id: uuid.UUID, *, by: str) -> Run:
        """See `Operations`."""
        async with self._telling_run(run_id) as (told, run):
            if run.status.is_ended:
                raise ConflictError(f"run {_short(run)} is {run.status}: there is nothing to cancel")
            run.cancel_requested_by = by
            if run.status in WAITING:
                run.move(RunStatus.CANCELLED, f"cancelled by {by}", at=told.ledger.now)
                await close_steps(told, run)
                await give_back_targets(told.tx, told.ledger, run.id)
                self._measures.run_ended(run)
            elif run.resume_at is not None:
                told.ledger.wake(Job.RUN, str(run.id))
            await told.tx.runs.save(run)
            text = f"{by} asked to cancel {run.playbook}"
            told.ledger.entry(told.incident, EntryKind.NOTE, text, actor=by, run_id=run.id)
        return run

    async def undo(self, run_id: uuid.UUID, *, by: str) -> Run:
        """See `Operations`."""
        async with self._telling_run(run_id) as (told, run):
            if not run.status.is_ended:
                raise ConflictError(f"run {_short(run)} is {run.status}: cancel it first")
            back = [s for s in await told.tx.runs.steps(run.id) if _can_be_taken_back(run, s)]
            if not back:
                raise ConflictError(f"run {_short(run)} has changed nothing that can be taken back")
            for step in back:
                step.undo_at, step.undone = told.ledger.now, None
                await told.tx.runs.save_step(run, step)
            run.undo_forced_by, run.undo_forced_at = by, told.ledger.now
            await told.tx.runs.force_undo(run.id, by, told.ledger.now)
            text = f"{by} has the changes of {run.playbook} taken back now: {', '.join(s.step_id for s in back)}"[:1000]
            told.ledger.entry(told.incident, EntryKind.UNDO_FORCED, text, actor=by, run_id=run.id)
            told.ledger.say(told.incident, text)
            told.ledger.wake(Job.UNDO, str(run.id))
        return run

    async def pause(self, *, by: str, reason: str | None = None) -> list[Run]:
        """See `Operations`. The switch is taken exclusively, so nothing that was starting can slip past it."""
        async with self._store.transaction() as tx:
            state = PauseState(engaged=True, by=by, reason=_bounded(reason) if reason else None, at=self._clock.now())
            await tx.controls.set_pause(state)
            active = await tx.runs.in_status(tuple(ACTIVE), WAITING_ASKED)
            undoing = await tx.runs.undoing(WAITING_ASKED)
        return [*active, *(replace(run, reason=f"its changes are being taken back ({run.reason})") for run in undoing)]

    async def resume(self, *, by: str) -> PauseState:
        """See `Operations`."""
        async with self._store.transaction() as tx:
            state = PauseState(engaged=False, by=by, at=self._clock.now())
            await tx.controls.set_pause(state)
            waiting = await tx.runs.waiting(WAITING_ASKED)
            if waiting:
                await tx.wake(Job.START, [str(run_id) for run_id in waiting])
            undoing = await tx.runs.undo_due(self._clock.now(), WAITING_ASKED)
            if undoing:
                await tx.wake(Job.UNDO, [str(run_id) for run_id in undoing])
        return state

    async def hold(self, service: str, duration: timedelta, *, by: str, reason: str | None = None) -> Hold:
        """See `Operations`. Raises InvalidInputError for an unknown service or a duration over seven days."""
        if self._documents().services.by_name(service) is None:
            raise InvalidInputError(f"{service[:80]!r} is not in the service catalogue", field="service")
        if not timedelta(0) <= duration <= HOLD_MAX:
            raise InvalidInputError("a hold lasts from 0 (which ends it) to 7d", field="duration")
        hold = Hold(
            service=service, until=self._clock.now() + duration, by=by, reason=_bounded(reason or "no reason given")
        )
        async with self._store.transaction() as tx:
            await tx.controls.set_hold(hold)
            waiting = await tx.runs.waiting(WAITING_ASKED)
            if waiting:
                await tx.wake(Job.START, [str(run_id) for run_id in waiting])
        return hold

    def _check_group(self, run: Run, by: str) -> None:
        group = approval_rule(run).group
        if group is None:
            return
        members = self._documents().escalation.members(group)
        if by not in members:
            raise ForbiddenError(f"only group {group} may approve {run.playbook}; {by} is not of it")

    def _telling(self, incident_id: int) -> AbstractAsyncContextManager[Telling]:
        return telling(self._store, self._lanes, self._clock, incident_id)

    @asynccontextmanager
    async def _telling_run(self, run_id: uuid.UUID) -> AsyncIterator[tuple[Telling, Run]]:
        async with self._store.transaction() as tx:
            incident_id = (await tx.runs.get(run_id)).incident_id
        async with self._telling(incident_id) as told:
            yield told, await told.tx.runs.get(run_id, lock=True)


def _acknowledge(told: Telling, by: str) -> bool:
    """Take note of the incident; return whether that is new."""
    incident = told.incident
    if incident.acknowledged_at is not None and incident.status is not IncidentStatus.TRIGGERED:
        return False
    if incident.status is IncidentStatus.MITIGATED:
        incident.acknowledged_at, incident.acknowledged_by = told.ledger.now, by
    else:
        incident.move(IncidentStatus.ACKNOWLEDGED, at=told.ledger.now, by=by)
    incident.page_at = incident.escalate_at = None
    told.ledger.entry(incident, EntryKind.ACKNOWLEDGED, f"Acknowledged by {by}", actor=by)
    told.ledger.page_state(incident, NotificationKind.PAGE_ACK)
    return True


def _check_requester(told: Telling, run: Run, by: str) -> None:
    """Raise ForbiddenError rather than take a word that would not count."""
    if guards.needs_another(run, told.incident.priority) and guards.same_person(by, run.requested_by):
        raise ForbiddenError(
            f"{by} asked for {run.playbook}, which is destructive at {told.incident.priority}: "
            "somebody else has to approve it"
        )


def _can_be_taken_back(run: Run, step: Step) -> bool:
    """Tell whether a step may have left something that can be put back; what failed or drifted may be tried again."""
    planned = next((p for p in run.plan.steps if p.id == step.step_id), None)
    gone = step.undone in {Undone.UNDONE, Undone.NOTHING_TO_UNDO}
    return step.state is not None and not gone and planned is not None and planned.undoable


def _short(run: Run) -> str:
    return str(run.id)[:8]


def _bounded(text: str) -> str:
    return text.strip().replace("\x00", "\N{REPLACEMENT CHARACTER}")[:NOTE_MAX]
