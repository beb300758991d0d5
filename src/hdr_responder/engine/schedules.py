"""The clock as a trigger: starts playbooks at the times of their schedules, once each over all replicas.

Due times stand in the database and are compared with our clock. Whoever locks a due row starts the run and moves the
time on in one transaction. An incident is the run's record: resolved when it ended well, else left to people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from hdr_responder.documents.catalogue import Documents
from hdr_responder.documents.playbook_document import Schedule
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.domain.calendars import Cron, next_after, parse_cron, zone
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.incidents import Incident, IncidentKey, IncidentStatus
from hdr_responder.domain.notifications import NotificationKind
from hdr_responder.domain.ports.store import Store, Transaction
from hdr_responder.domain.runs import Run, RunStatus, Verification
from hdr_responder.domain.schedules import Scheduled
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.ledger import Lanes, Ledger
from hdr_responder.engine.starter import Starter
from hdr_responder.engine.telling import Telling, telling
from hdr_responder.errors import TemporaryError

log = structlog.get_logger(__name__)

CATCH_UP = timedelta(hours=1)
"""What was missed for no longer than this (nobody was running) is still started, once."""
FORGET_AFTER = timedelta(days=30)
"""A due time that nobody has claimed for so long belongs to no document."""
BATCH = 100
_TITLE_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Duty:
    """A playbook with its schedule, resolved."""

    playbook: CompiledPlaybook
    schedule: Schedule
    cron: Cron
    zone: ZoneInfo

    @property
    def name(self) -> str:
        return self.playbook.name

    @property
    def key(self) -> str:
        """The key of the incidents that are its records."""
        return IncidentKey(cluster="", service="", problem=f"schedule/{self.name}").digest

    def after(self, instant: datetime) -> datetime:
        return next_after(self.cron, self.zone, instant)

    def times(self, now: datetime) -> Scheduled:
        return Scheduled(playbook=self.name, cron=self.cron.text, time_zone=self.zone.key, next_at=self.after(now))

    def to_start(self, due: datetime, now: datetime) -> datetime | None:
        """Return the occurrence to start now: the one that was due or, of several, the first that is recent enough."""
        if now - due <= CATCH_UP:
            return due
        recent = self.after(now - CATCH_UP)
        return recent if recent <= now else None


class Schedules:
    """Starts what is due and settles what is over; called every few seconds by every replica."""

    def __init__(
        self, *, store: Store, documents: Documents, starter: Starter, clock: Clock, lanes: Lanes, environment: str
    ) -> None:
        self._store = store
        self._starter = starter
        self._clock = clock
        self._lanes = lanes
        self._duties = {(duty.name, duty.cron.text, duty.zone.key): duty for duty in _duties(documents, environment)}

    async def tick(self) -> None:
        """Do what is due."""
        if self._duties:
            for scheduled in await self._due():
                await self._attempt(scheduled)
        await self._settle()

    async def _due(self) -> Sequence[Scheduled]:
        now = self._clock.now()
        async with self._store.transaction() as tx:
            wanted = [duty.times(now) for duty in self._duties.values()]
            await tx.schedules.expect(wanted)
            await tx.schedules.forget(now - FORGET_AFTER)
            return await tx.schedules.due(wanted, now)

    async def _attempt(self, scheduled: Scheduled) -> None:
        """Start one; a defect in it keeps neither the others from starting nor itself from being tried again."""
        try:
            async with self._store.transaction() as tx:
                await self._start(tx, self._duties[_key(scheduled)], scheduled)
        except TemporaryError:
            raise
        except Exception:
            log.exception("schedule_failed", playbook=scheduled.playbook)

    async def _start(self, tx: Transaction, duty: _Duty, scheduled: Scheduled) -> None:
        now = self._clock.now()
        due = await tx.schedules.claim(scheduled, now)
        if due is None:
            return
        await tx.serialise(f"schedule/{duty.name}")
        await tx.schedules.move(scheduled, duty.after(now))
        going = await tx.schedules.unfinished(duty.name)
        started = duty.to_start(due, now)
        ledger = Ledger(self._lanes, now)
        if going is not None:
            incident = await tx.incidents.get(going, lock=True)
            text = f"Not started at {_moment(due, duty)}: the run before it has not ended"
            ledger.entry(incident, EntryKind.NOT_PLANNED, text)
        else:
            incident = await self._record(tx, duty, ledger, started or due)
            await self._begin(Telling(tx=tx, incident=incident, ledger=ledger), duty, due, started)
        await tx.incidents.update([incident])
        await ledger.flush(tx)

    async def _record(self, tx: Transaction, duty: _Duty, ledger: Ledger, due: datetime) -> Incident:
        """Return the incident that stands for the run: the one that a run before it has left open, else a new one."""
        known = await tx.schedules.open_incident(duty.key)
        if known is not None:
            return await tx.incidents.get(known, lock=True)
        when = f"{duty.schedule.cron} ({duty.zone.key})"
        incident = Incident(
            key=duty.key,
            cluster=duty.schedule.cluster or "",
            service=duty.schedule.service or "",
            problem=duty.name,
            title=duty.playbook.model.metadata.summary[:_TITLE_MAX],
            priority=duty.schedule.priority,
            priority_rule="schedule",
            priority_reason=f"the schedule of {duty.name} says so",
            status=IncidentStatus.TRIGGERED,
            started_at=due,
            opened_at=ledger.now,
        )
        await tx.incidents.insert([incident])
        ledger.entry(incident, EntryKind.OPENED, f"Opened by the clock for {duty.name}: {when}")
        return incident

    async def _begin(self, told: Telling, duty: _Duty, due: datetime, started: datetime | None) -> None:
        if started != due:
            late = format_duration(timedelta(seconds=round((told.ledger.now - due).total_seconds())))
            text = f"{duty.name} was due at {_moment(due, duty)} and nobody was there for {late}: that one is left out"
            log.warning("schedule_missed", playbook=duty.name, due=due.isoformat())
            told.ledger.entry(told.incident, EntryKind.NOT_PLANNED, text)
        if started is not None:
            await self._starter.begin(told, duty.playbook)
        elif not await told.tx.runs.of_incident(told.incident.id):
            _resolve(told, "it was missed, and the next one comes at its time")

    async def _settle(self) -> None:
        """Resolve the incidents whose run needs nobody any more."""
        async with self._store.transaction() as tx:
            found = await tx.schedules.to_settle(BATCH)
        for incident_id in found:
            async with telling(self._store, self._lanes, self._clock, incident_id) as told:
                newest = (await told.tx.runs.of_incident(incident_id))[-1]
                if told.incident.status.is_open and _needs_nobody(newest):
                    _resolve(told, f"{newest.playbook} is {newest.status}: {newest.reason}"[:500])


def _duties(documents: Documents, environment: str) -> list[_Duty]:
    found = []
    for playbook in documents.playbooks:
        schedule, environments = playbook.model.schedule, playbook.model.environments
        if schedule is not None and (environments is None or environment in environments):
            where = zone(schedule.time_zone or documents.calendar.time_zone)
            found.append(_Duty(playbook=playbook, schedule=schedule, cron=parse_cron(schedule.cron), zone=where))
    return found


def _resolve(told: Telling, why: str) -> None:
    incident = told.incident
    incident.move(IncidentStatus.RESOLVED, at=told.ledger.now, by=None)
    incident.page_at = incident.escalate_at = None
    told.ledger.entry(incident, EntryKind.RESOLVED, f"Resolved: {why}")
    told.ledger.page_state(incident, NotificationKind.PAGE_RESOLVE)
    told.ledger.plan(incident)


def _needs_nobody(run: Run) -> bool:
    well = run.status is RunStatus.COMPLETED and run.verification in {Verification.NONE, Verification.VERIFIED}
    return well or run.status in {RunStatus.OBSERVED, RunStatus.CANCELLED, RunStatus.DENIED}


def _key(scheduled: Scheduled) -> tuple[str, str, str]:
    return scheduled.playbook, scheduled.cron, scheduled.time_zone


def _moment(at: datetime, duty: _Duty) -> str:
    return f"{at.astimezone(duty.zone):%Y-%m-%d %H:%M} {duty.zone.key}"
