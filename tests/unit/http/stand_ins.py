"""The other side of the HTTP server's ports, as far as these tests need it: one of everything, and what was asked."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hdr_responder.adapters.http.dependencies import HttpDependencies, Readiness
from hdr_responder.domain.alerts import AlertStatus, Occurrence
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.domain.guards import Hold, PauseState
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.ports.operations import Scalar
from hdr_responder.domain.ports.records import (
    IncidentFilter,
    IncidentRecord,
    Page,
    PageRequest,
    StoreHealth,
)
from hdr_responder.domain.ports.store import Artifact
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import (
    Approval,
    Mode,
    Plan,
    PlannedStep,
    Run,
    RunStatus,
    Step,
    StepStatus,
    Verification,
)
from hdr_responder.domain.timeline import EntryKind, TimelineEntry
from hdr_responder.errors import ConflictError, NotFoundError
from hdr_responder.settings import AlertmanagerSettings, ApiToken
from hdr_responder.telemetry import Metrics
from tests.fakes.clock import ManualClock

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RUN_ID = uuid.UUID(int=7)
ARTIFACT_ID = uuid.UUID(int=8)


class RecordingWriter:
    """Remembers what it was given; ``failure`` is raised instead, ``gate`` keeps a commit waiting until it is set."""

    def __init__(self) -> None:
        self.committed: list[tuple[str, bytes, datetime]] = []
        self.rejected: list[tuple[str, bytes, str, str]] = []
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def commit(self, source: str, body: bytes, received_at: datetime) -> None:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.committed.append((source, body, received_at))

    async def reject(self, source: str, body: bytes, received_at: datetime, *, error: str, field: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.rejected.append((source, body, error, field))


def an_incident(number: int = 142) -> Incident:
    return Incident(
        id=number,
        key="k",
        cluster="prod-eu",
        service="neural-hdr",
        problem="ServiceDown",
        title="neural-hdr: ServiceDown",
        priority=Priority.P1,
        priority_rule="service-down",
        priority_reason="tier 1 service is down",
        status=IncidentStatus.TRIGGERED,
        started_at=NOW,
        opened_at=NOW,
        alerts_total=1,
        alerts_firing=1,
        lower_bound=True,
    )


def an_alert() -> Occurrence:
    return Occurrence(
        source="default",
        fingerprint="abc",
        labels={"alertname": "ServiceDown"},
        annotations={"summary": "down"},
        generator_url="http://prometheus/graph",
        status=AlertStatus.FIRING,
        starts=(NOW,),
        ends_at=None,
        seen_firing=True,
        first_received_at=NOW,
        last_received_at=NOW,
    )


def a_run() -> tuple[Run, tuple[Step, ...]]:
    planned = PlannedStep(id="restart", action="kubernetes.rollout_restart", summary="s", mutates=True, parameters={})
    plan = Plan(
        playbook="restart",
        digest="d",
        summary="Restart it",
        mode=Mode.APPROVE,
        mode_reason="m",
        params={},
        steps=(planned,),
        verify=(),
        document={"secret": "not for others"},
        context={},
    )
    run = Run(
        id=RUN_ID,
        incident_id=142,
        episode=1,
        playbook="restart",
        mode=Mode.APPROVE,
        status=RunStatus.VERIFYING,
        plan=plan,
        created_at=NOW,
        verification=Verification.PENDING,
        approvals=(Approval(person="ann", decision="approve", at=NOW),),
    )
    step = Step(
        run_id=RUN_ID,
        position=0,
        step_id="restart",
        action=planned.action,
        status=StepStatus.SUCCEEDED,
        result={"n": 1},
    )
    return run, (step,)


def an_artifact() -> Artifact:
    return Artifact(
        id=ARTIFACT_ID,
        incident_id=142,
        run_id=RUN_ID,
        step_id="logs",
        name='pod "a"\r\nX: 1.log',
        media_type="text/html",
        size=4,
        sha256=b"\x01\x02",
        path="a/b",
        created_at=NOW,
    )


class RecordsAtHand:
    """One of everything; remembers which page and filter were asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.failure: Exception | None = None
        self.many_runs = False
        self.deliveries_at_hand = [
            Delivery(id=1, source="default", received_at=NOW, body=b'{"a": 1}', status="processed"),
            Delivery(id=2, source="default", received_at=NOW, body=b"\xff", status="rejected", error="no JSON"),
        ]
        self.timeline_pages: dict[str | None, Page[TimelineEntry]] = {
            None: Page(items=(_entry(1), _entry(2)), next_cursor="more"),
            "more": Page(items=(_entry(3),)),
        }

    async def incidents(self, which: IncidentFilter, page: PageRequest) -> Page[Incident]:
        self.asked.append((which, page))
        if self.failure is not None:
            raise self.failure
        return Page(items=(an_incident(),), next_cursor="next")

    async def incident(self, incident_id: int) -> IncidentRecord:
        self._known(incident_id)
        return IncidentRecord(incident=an_incident(), alerts=(an_alert(),), runs=(a_run(),), artifacts=(an_artifact(),))

    async def alerts(self, incident_id: int, page: PageRequest) -> Page[Occurrence]:
        return Page(items=(an_alert(),) if incident_id == 142 else ())

    async def timeline(self, incident_id: int, page: PageRequest) -> Page[TimelineEntry]:
        return self.timeline_pages[page.cursor] if incident_id == 142 else Page(items=())

    async def runs(self, statuses: tuple[RunStatus, ...], page: PageRequest) -> Page[Run]:
        self.asked.append(statuses)
        return Page(items=(a_run()[0],))

    async def run(self, run_id: uuid.UUID) -> tuple[Run, tuple[Step, ...]]:
        if run_id != RUN_ID:
            raise NotFoundError(f"no run {run_id}")
        return a_run()

    async def runs_between(self, since: datetime, until: datetime, limit: int) -> list[tuple[Run, Incident]]:
        self.asked.append((since, until))
        return [(a_run()[0], an_incident())] * (limit if self.many_runs else 1)

    async def deliveries(self, statuses: tuple[str, ...], page: PageRequest) -> Page[Delivery]:
        return Page(items=tuple(self.deliveries_at_hand))

    async def delivery(self, delivery_id: int) -> Delivery:
        return next(d for d in self.deliveries_at_hand if d.id == delivery_id)

    async def artifact(self, artifact_id: uuid.UUID) -> Artifact:
        return an_artifact()

    async def health(self) -> StoreHealth:
        if self.failure is not None:
            raise self.failure
        return StoreHealth(
            oldest_waiting_delivery=None,
            queue_depth={"intake": 3},
            open_incidents={Priority.P1: 2},
            oldest_notification={"slack": NOW - timedelta(seconds=30)},
            paused=True,
        )

    def _known(self, incident_id: int) -> None:
        if incident_id != 142:
            raise NotFoundError(f"no incident INC-{incident_id}")


class RecordingOperations:
    """Remembers what people asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def acknowledge(self, incident_id: int, *, by: str) -> Incident:
        return self._incident("ack", incident_id, by)

    async def lead(self, incident_id: int, *, by: str, person: str | None = None) -> Incident:
        return self._incident("lead", incident_id, by, person)

    async def resolve(self, incident_id: int, *, by: str, note: str | None = None) -> Incident:
        return self._incident("resolve", incident_id, by, note)

    async def note(self, incident_id: int, *, by: str, text: str) -> Incident:
        return self._incident("note", incident_id, by, text)

    async def run_playbook(
        self, incident_id: int, playbook: str, *, by: str, params: Mapping[str, Scalar] | None = None
    ) -> Run:
        return self._run("run", incident_id, by, playbook, *(f"{k}={v!r}" for k, v in (params or {}).items()))

    async def approve(self, run_id: uuid.UUID, *, by: str) -> Run:
        return self._run("approve", run_id, by)

    async def deny(self, run_id: uuid.UUID, *, by: str) -> Run:
        raise ConflictError(f"run {run_id} has ended")

    async def cancel(self, run_id: uuid.UUID, *, by: str) -> Run:
        return self._run("cancel", run_id, by)

    async def undo(self, run_id: uuid.UUID, *, by: str) -> Run:
        return self._run("undo", run_id, by)

    async def pause(self, *, by: str, reason: str | None = None) -> list[Run]:
        return [self._run("pause", by, reason)]

    async def resume(self, *, by: str) -> PauseState:
        self.asked.append(("resume", by))
        return PauseState(engaged=False)

    async def hold(self, service: str, duration: timedelta, *, by: str, reason: str | None = None) -> Hold:
        self.asked.append(("hold", service, duration, by, reason))
        return Hold(service=service, until=NOW + duration, by=by, reason=reason or "")

    def _incident(self, *asked: Any) -> Incident:
        self.asked.append(asked)
        return an_incident(asked[1])

    def _run(self, *asked: Any) -> Run:
        self.asked.append(asked)
        return a_run()[0]


class BytesAtHand:
    async def put(self, path: str, content: bytes) -> None:
        raise AssertionError("the API writes no artifacts")

    async def get(self, path: str) -> bytes:
        return b"<b>!"


@dataclass
class World:
    """Everything around a server under test."""

    writer: RecordingWriter = field(default_factory=RecordingWriter)
    records: RecordsAtHand = field(default_factory=RecordsAtHand)
    operations: RecordingOperations = field(default_factory=RecordingOperations)
    metrics: Metrics = field(default_factory=Metrics)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    backlog_age: timedelta = timedelta(0)
    draining: bool = False
    ready: Callable[[], Readiness] = lambda: Readiness(ready=True, checks={"database": "ok"})

    def dependencies(
        self,
        *,
        alertmanager: AlertmanagerSettings | None = None,
        tokens: Sequence[ApiToken] = (),
        **changes: Any,
    ) -> HttpDependencies:
        async def readiness() -> Readiness:
            return self.ready()

        dependencies = HttpDependencies(
            deliveries=self.writer,
            records=self.records,
            operations=self.operations,
            artifacts=BytesAtHand(),
            clock=self.clock,
            metrics=self.metrics,
            alertmanager=alertmanager or AlertmanagerSettings(),
            tokens=tokens,
            readiness=readiness,
            backlog_age=lambda: self.backlog_age,
            draining=lambda: self.draining,
            postmortem=lambda record, timeline: f"# {record.incident.ref}, {len(timeline)} entries",
        )
        return replace(dependencies, **changes)


def _entry(number: int) -> TimelineEntry:
    return TimelineEntry(incident_id=142, at=NOW, kind=EntryKind.NOTE, summary=f"note {number}", id=number)
