"""Operations and records in memory, as their contracts say, and the inbound side served on a free port."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from aiohttp import web

from hdr_responder.adapters.slack import Lookups, SlackAccess, SlackInbound
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.guards import Hold, PauseState
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.ports.operations import Scalar
from hdr_responder.domain.ports.records import IncidentFilter, IncidentRecord, Page, PageRequest
from hdr_responder.domain.runs import Run, RunStatus
from hdr_responder.errors import ConflictError, NotFoundError
from tests.fakes import FakeSlack
from tests.unit.people.builders import NOW, make_incident, make_record, make_run

INC = 142


class Desk:
    """Implements Operations and the part of Records that Slack reads; ``changes`` are the ones that took effect."""

    def __init__(self) -> None:
        self.records: dict[int, IncidentRecord] = {INC: make_record()}
        self.changes: list[tuple[Any, ...]] = []
        self.seen: set[str] = set()
        self.threads: dict[tuple[str, str], int] = {}
        self.failure: Exception | None = None

    def add_run(self, run: Run) -> Run:
        record = self.records[INC]
        self.records[INC] = replace(record, runs=(*record.runs, (run, ())))
        return run

    async def first_time(self, key: str) -> bool:
        new = key not in self.seen
        self.seen.add(key)
        return new

    async def incident_of_message(self, channel: str, ts: str) -> int | None:
        return self.threads.get((channel, ts))

    def _incident(self, incident_id: int) -> Incident:
        if self.failure is not None:
            raise self.failure
        if incident_id not in self.records:
            raise NotFoundError(f"there is no INC-{incident_id}")
        return self.records[incident_id].incident

    def _run(self, run_id: uuid.UUID) -> Run:
        if self.failure is not None:
            raise self.failure
        for record in self.records.values():
            for run, _ in record.runs:
                if run.id == run_id:
                    return run
        raise NotFoundError(f"there is no run {run_id}")

    async def acknowledge(self, incident_id: int, *, by: str) -> Incident:
        incident = self._incident(incident_id)
        if incident.status is IncidentStatus.TRIGGERED:
            incident.move(IncidentStatus.ACKNOWLEDGED, at=NOW, by=by)
            self.changes.append(("acknowledge", incident_id, by))
        return incident

    async def lead(self, incident_id: int, *, by: str, person: str | None = None) -> Incident:
        incident = self._incident(incident_id)
        incident.commander = person or by
        self.changes.append(("lead", incident_id, by, person))
        return incident

    async def resolve(self, incident_id: int, *, by: str, note: str | None = None) -> Incident:
        incident = self._incident(incident_id)
        if incident.status.is_open:
            incident.move(IncidentStatus.RESOLVED, at=NOW, by=by)
            self.changes.append(("resolve", incident_id, by, note))
        return incident

    async def note(self, incident_id: int, *, by: str, text: str) -> Incident:
        incident = self._incident(incident_id)
        self.changes.append(("note", incident_id, by, text))
        return incident

    async def run_playbook(
        self, incident_id: int, playbook: str, *, by: str, params: Mapping[str, Scalar] | None = None
    ) -> Run:
        self._incident(incident_id)
        self.changes.append(("run", incident_id, playbook, by, *(f"{k}={v}" for k, v in (params or {}).items())))
        return make_run(RunStatus.AWAITING_APPROVAL, playbook=playbook, requested_by=by)

    async def approve(self, run_id: uuid.UUID, *, by: str) -> Run:
        return self._decide(run_id, RunStatus.RUNNING, "approve", by)

    async def deny(self, run_id: uuid.UUID, *, by: str) -> Run:
        return self._decide(run_id, RunStatus.DENIED, "deny", by)

    def _decide(self, run_id: uuid.UUID, to: RunStatus, what: str, by: str) -> Run:
        run = self._run(run_id)
        if run.status is RunStatus.AWAITING_APPROVAL:
            run.status = to
            self.changes.append((what, run_id, by))
        elif run.status is not to:
            raise ConflictError(f"run {run_id} is {run.status}")
        return run

    async def cancel(self, run_id: uuid.UUID, *, by: str) -> Run:
        run = self._run(run_id)
        self.changes.append(("cancel", run_id, by))
        return run

    async def undo(self, run_id: uuid.UUID, *, by: str) -> Run:
        run = self._run(run_id)
        self.changes.append(("undo", run_id, by))
        return run

    async def pause(self, *, by: str, reason: str | None = None) -> list[Run]:
        self.changes.append(("pause", by, reason))
        return [make_run()]

    async def resume(self, *, by: str) -> PauseState:
        self.changes.append(("resume", by))
        return PauseState(engaged=False)

    async def hold(self, service: str, duration: timedelta, *, by: str, reason: str | None = None) -> Hold:
        self.changes.append(("hold", service, duration, by, reason))
        return Hold(service=service, until=NOW + duration, by=by, reason=reason or "")

    async def incidents(self, which: IncidentFilter, page: PageRequest) -> Page[Incident]:
        if self.failure is not None:
            raise self.failure
        found = [r.incident for r in self.records.values() if r.incident.status in which.statuses]
        newest = sorted(found, key=lambda i: -i.id)
        more = "next" if len(newest) > page.limit else None
        return Page(items=tuple(newest[: page.limit]), next_cursor=more)

    async def incident(self, incident_id: int) -> IncidentRecord:
        self._incident(incident_id)
        return self.records[incident_id]


def access_to(slack: FakeSlack, **changes: Any) -> SlackAccess:
    access = SlackAccess(
        bot_token=slack.bot_token,
        signing_secret=slack.signing_secret,
        channel=slack.channel.id,
        api_url=slack.url,
        timeout_seconds=5,
    )
    return replace(access, **changes)


def make_inbound(access: SlackAccess, desk: Desk) -> SlackInbound:
    lookups = Lookups(first_time=desk.first_time, incident_of_message=desk.incident_of_message)
    return SlackInbound(access, desk, desk, lookups=lookups, clock=SystemClock())  # type: ignore[arg-type]


@asynccontextmanager
async def serving(inbound: SlackInbound) -> AsyncIterator[str]:
    """Serve the inbound routes on a free port; gives the base address."""
    app = web.Application()
    app.add_routes(inbound.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
        await inbound.stop()


def many_incidents(count: int) -> dict[int, IncidentRecord]:
    return {n: make_record(make_incident(id=n)) for n in range(1, count + 1)}
