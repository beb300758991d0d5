"""The API: what Slack and the command line can do, for programs. Every change carries the person behind the token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from aiohttp import web
from aiohttp.helpers import content_disposition_header

from hdr_responder.adapters.http.dependencies import HttpDependencies
from hdr_responder.adapters.http.endpoint import AnyEndpoint, Call, Nothing, get, post
from hdr_responder.adapters.http.inputs import (
    DeliveriesQuery,
    HoldBody,
    IncidentsQuery,
    LeadBody,
    NoteBody,
    PageQuery,
    PauseBody,
    ReportQuery,
    ResolveBody,
    RunBody,
    RunsQuery,
)
from hdr_responder.domain.incidents import format_ref
from hdr_responder.domain.ports.records import MAX_PAGE, IncidentFilter, Page, PageRequest
from hdr_responder.domain.timeline import TimelineEntry
from hdr_responder.errors import InvalidInputError, NotFoundError
from hdr_responder.records import views
from hdr_responder.records.reports import RunsReport, runs_report
from hdr_responder.settings import Scope

_MOST_TIMELINE_PAGES = 20
"""A post-mortem tells at most this many times `MAX_PAGE` entries."""
_MOST_REPORTED = 10_000
"""How many runs one report may cover."""
T = TypeVar("T")
_BINARY = "application/octet-stream"
_SAFE_DOWNLOAD = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}


class Api:
    """The endpoints under ``/api/v1``."""

    def __init__(self, dependencies: HttpDependencies) -> None:
        self._records = dependencies.records
        self._operations = dependencies.operations
        self._artifacts = dependencies.artifacts
        self._postmortem = dependencies.postmortem
        self._clock = dependencies.clock

    def endpoints(self) -> Sequence[AnyEndpoint]:
        """Return every endpoint."""
        return (*self._reads(), *self._changes())

    def _reads(self) -> Sequence[AnyEndpoint]:
        return (
            get("/incidents", self.incidents, views.ListView[views.IncidentSummary], query=IncidentsQuery),
            get("/incidents/{ref}", self.incident, views.IncidentView, query=Nothing),
            get("/incidents/{ref}/alerts", self.alerts, views.ListView[views.AlertView], query=PageQuery),
            get("/incidents/{ref}/timeline", self.timeline, views.ListView[views.TimelineEntryView], query=PageQuery),
            get("/incidents/{ref}/postmortem", self.postmortem, "text/markdown", query=Nothing),
            get("/incidents/{ref}/artifacts/{id}", self.artifact, _BINARY, query=Nothing),
            get("/runs", self.runs, views.ListView[views.RunSummary], query=RunsQuery),
            get("/runs/{id}", self.run, views.RunView, query=Nothing),
            get("/deliveries", self.deliveries, views.ListView[views.DeliverySummary], query=DeliveriesQuery),
            get("/report", self.report, RunsReport, query=ReportQuery),
            replace(get("/deliveries/{id}", self.delivery, views.DeliveryView, query=Nothing), scope=Scope.ADMIN),
        )

    def _changes(self) -> Sequence[AnyEndpoint]:
        return (
            post("/incidents/{ref}/ack", self.acknowledge, views.IncidentSummary, body=Nothing),
            post("/incidents/{ref}/lead", self.lead, views.IncidentSummary, body=LeadBody),
            post("/incidents/{ref}/resolve", self.resolve, views.IncidentSummary, body=ResolveBody),
            post("/incidents/{ref}/note", self.note, views.IncidentSummary, body=NoteBody),
            post("/incidents/{ref}/run", self.run_playbook, views.RunSummary, body=RunBody),
            post("/runs/{id}/approve", self.approve, views.RunSummary, body=Nothing),
            post("/runs/{id}/deny", self.deny, views.RunSummary, body=Nothing),
            post("/runs/{id}/cancel", self.cancel, views.RunSummary, body=Nothing),
            post("/runs/{id}/undo", self.undo, views.RunSummary, body=Nothing),
            post("/pause", self.pause, views.PauseView, body=PauseBody),
            post("/resume", self.resume, views.PauseView, body=Nothing),
            post("/hold", self.hold, views.HoldView, body=HoldBody),
        )

    async def incidents(self, call: Call[IncidentsQuery, Nothing]) -> views.ListView[views.IncidentSummary]:
        """List incidents, newest first."""
        query = call.query
        which = IncidentFilter(statuses=query.status, priorities=query.priority, service=query.service)
        return views.page_view(await self._records.incidents(which, query.page), views.incident_summary)

    async def incident(self, call: Call[Nothing, Nothing]) -> views.IncidentView:
        """Show an incident with its first 100 alerts, its runs and artifacts."""
        return views.incident_view(await self._records.incident(call.incident_id))

    async def alerts(self, call: Call[PageQuery, Nothing]) -> views.ListView[views.AlertView]:
        """List an incident's alerts, oldest first."""
        page = await self._existing(call, await self._records.alerts(call.incident_id, call.query.page))
        return views.page_view(page, views.alert_view)

    async def timeline(self, call: Call[PageQuery, Nothing]) -> views.ListView[views.TimelineEntryView]:
        """List an incident's timeline in order."""
        page = await self._existing(call, await self._records.timeline(call.incident_id, call.query.page))
        return views.page_view(page, views.timeline_entry_view)

    async def postmortem(self, call: Call[Nothing, Nothing]) -> web.Response:
        """Show an incident's post-mortem as Markdown."""
        record = await self._records.incident(call.incident_id)
        text = self._postmortem(record, await self._whole_timeline(call.incident_id))
        return web.Response(text=text, content_type="text/markdown")

    async def artifact(self, call: Call[Nothing, Nothing]) -> web.Response:
        """Download evidence of an incident."""
        found = await self._records.artifact(call.uuid("id"))
        if found.incident_id != call.incident_id:
            raise NotFoundError(f"{format_ref(call.incident_id)} has no artifact {found.id}")
        content = await self._artifacts.get(found.path)
        response = web.Response(body=content, headers=_SAFE_DOWNLOAD)
        response.headers["Content-Type"] = found.media_type
        response.headers["Content-Disposition"] = content_disposition_header("attachment", filename=found.name)
        return response

    async def runs(self, call: Call[RunsQuery, Nothing]) -> views.ListView[views.RunSummary]:
        """List runs, newest first."""
        return views.page_view(await self._records.runs(call.query.status, call.query.page), views.run_summary)

    async def run(self, call: Call[Nothing, Nothing]) -> views.RunView:
        """Show a run with its plan and steps."""
        return views.run_view(*await self._records.run(call.uuid("id")))

    async def deliveries(self, call: Call[DeliveriesQuery, Nothing]) -> views.ListView[views.DeliverySummary]:
        """List deliveries, newest first, without their bodies."""
        page = await self._records.deliveries(call.query.status, call.query.page)
        return views.page_view(page, views.delivery_summary)

    async def delivery(self, call: Call[Nothing, Nothing]) -> views.DeliveryView:
        """Show a delivery with its body."""
        return views.delivery_view(await self._records.delivery(call.number("id")))

    async def report(self, call: Call[ReportQuery, Nothing]) -> RunsReport:
        """Report what automation did in a period, and what it would have done where it only observes."""
        since, until = call.query.period(self._clock.now())
        runs = await self._records.runs_between(since, until, _MOST_REPORTED + 1)
        if len(runs) > _MOST_REPORTED:
            raise InvalidInputError(f"more than {_MOST_REPORTED} runs: choose a shorter period", field="since")
        return runs_report(runs, since=since, until=until)

    async def acknowledge(self, call: Call[Nothing, Nothing]) -> views.IncidentSummary:
        """Acknowledge an incident; automation goes on."""
        return views.incident_summary(await self._operations.acknowledge(call.incident_id, by=call.by.name))

    async def lead(self, call: Call[Nothing, LeadBody]) -> views.IncidentSummary:
        """Take command of an incident, or give it to somebody: its automation asks before it acts."""
        incident = await self._operations.lead(call.incident_id, by=call.by.name, person=call.body.person)
        return views.incident_summary(incident)

    async def resolve(self, call: Call[Nothing, ResolveBody]) -> views.IncidentSummary:
        """Declare an incident over."""
        incident = await self._operations.resolve(call.incident_id, by=call.by.name, note=call.body.note)
        return views.incident_summary(incident)

    async def note(self, call: Call[Nothing, NoteBody]) -> views.IncidentSummary:
        """Write on an incident's timeline."""
        incident = await self._operations.note(call.incident_id, by=call.by.name, text=call.body.text)
        return views.incident_summary(incident)

    async def run_playbook(self, call: Call[Nothing, RunBody]) -> views.RunSummary:
        """Ask for a run of a playbook; guards are asked as ever."""
        run = await self._operations.run_playbook(
            call.incident_id, call.body.playbook, by=call.by.name, params=call.body.params
        )
        return views.run_summary(run)

    async def approve(self, call: Call[Nothing, Nothing]) -> views.RunSummary:
        """Approve a waiting run."""
        return views.run_summary(await self._operations.approve(call.uuid("id"), by=call.by.name))

    async def deny(self, call: Call[Nothing, Nothing]) -> views.RunSummary:
        """Refuse a waiting run."""
        return views.run_summary(await self._operations.deny(call.uuid("id"), by=call.by.name))

    async def cancel(self, call: Call[Nothing, Nothing]) -> views.RunSummary:
        """Stop a run at the next step boundary."""
        return views.run_summary(await self._operations.cancel(call.uuid("id"), by=call.by.name))

    async def undo(self, call: Call[Nothing, Nothing]) -> views.RunSummary:
        """Force a recovery: take the changes of an ended run back now, also while automation is paused."""
        return views.run_summary(await self._operations.undo(call.uuid("id"), by=call.by.name))

    async def pause(self, call: Call[Nothing, PauseBody]) -> views.PauseView:
        """Stop all automation; lists the runs still in flight, those whose changes are being taken back among them."""
        in_flight = await self._operations.pause(by=call.by.name, reason=call.body.reason)
        return views.PauseView(paused=True, runs_in_flight=tuple(views.run_summary(r) for r in in_flight))

    async def resume(self, call: Call[Nothing, Nothing]) -> views.PauseView:
        """Let automation go on."""
        state = await self._operations.resume(by=call.by.name)
        return views.PauseView(paused=state.engaged)

    async def hold(self, call: Call[Nothing, HoldBody]) -> views.HoldView:
        """Keep automation away from one service for a while."""
        body = call.body
        return views.hold_view(
            await self._operations.hold(body.service, body.duration, by=call.by.name, reason=body.reason)
        )

    async def _existing(self, call: Call[PageQuery, Nothing], page: Page[T]) -> Page[T]:
        """Return the page; raises NotFoundError where it is empty because there is no such incident."""
        if not page.items:
            await self._records.incident(call.incident_id)
        return page

    async def _whole_timeline(self, incident_id: int) -> Sequence[TimelineEntry]:
        entries: list[TimelineEntry] = []
        cursor: str | None = None
        for _ in range(_MOST_TIMELINE_PAGES):
            page = await self._records.timeline(incident_id, PageRequest(limit=MAX_PAGE, cursor=cursor))
            entries.extend(page.items)
            cursor = page.next_cursor
            if cursor is None:
                break
        return entries
