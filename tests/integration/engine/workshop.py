"""The whole engine on a real database, with the clock and the worker in the test's hands.

`Workshop.settle` takes jobs from PgQueuer's table in order and runs the same handlers that the service runs, until
nothing is due by the test's clock; so a test owns time and order and never waits.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hdr_responder.actions.contract import Registry
from hdr_responder.actions.registry import registry
from hdr_responder.adapters.artifacts import ObjectStoreArtifacts
from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.adapters.store.sweep import Sweep
from hdr_responder.app.engine import Engine, Parts, build_engine
from hdr_responder.app.people import build_people
from hdr_responder.app.systems import Outside, StoredAlerts
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.domain.alerts import AlertEvent, Occurrence, Presence
from hdr_responder.domain.clock import NewId
from hdr_responder.domain.ports.store import Job, Store
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.executor import Executor
from hdr_responder.engine.helping import Helping
from hdr_responder.engine.presence import PresenceDesk
from hdr_responder.engine.undoer import Undoer
from hdr_responder.engine.verifier import Verifier
from hdr_responder.engine.workbench import Workbench
from hdr_responder.settings import Settings
from hdr_responder.telemetry import Metrics
from tests.fakes.clock import ManualClock
from tests.integration.engine.alerts import alert, delivery
from tests.integration.engine.cells import Cells

ROOT = Path(__file__).parents[3]
DELIVERIES = Path(__file__).parents[2] / "deliveries"
NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
MAX_JOBS = 500

_QUEUED = (
    "select id, entrypoint, payload, execute_after - created as delay from pgqueuer where status = 'queued' order by id"
)


class Answers(PresenceDesk):
    """Alertmanager's answers as the test sets them."""

    def __init__(self) -> None:
        super().__init__({}, None)
        self.presence = Presence.UNKNOWN
        self.by_fingerprint: dict[str, Presence] = {}
        self.asked: list[str] = []

    async def ask(self, alert: AlertEvent | Occurrence) -> Presence:
        self.asked.append(alert.fingerprint)
        return self.by_fingerprint.get(alert.fingerprint, self.presence)


@dataclasses.dataclass
class Workshop:
    """One engine."""

    pool: Pool
    engine: Engine
    clock: ManualClock
    answers: Answers
    console: list[str]
    documents: Documents
    metrics: Metrics
    cells: Cells
    helping: Helping
    options: dict[str, Any]
    """What it was built with, to build another on the same database."""
    slept: list[float] = dataclasses.field(default_factory=list)
    """The executor's pauses, which take no time here."""
    seen: dict[int, datetime] = dataclasses.field(default_factory=dict)

    @property
    def store(self) -> Store:
        return PostgresStore(self.pool)

    def peer(self, **changes: Any) -> Workshop:
        """Another process on the same database, as a second replica or after a restart."""
        shared = {"clock": self.clock, "answers": self.answers, "cells": self.cells, "seen": self.seen}
        return open_workshop(self.pool, **(self.options | shared | changes))

    async def receive(self, *names: str, source: str = "default") -> None:
        """Store recorded deliveries as the receiver would."""
        for name in names:
            (path,) = DELIVERIES.glob(f"{name}*.json")
            await self.receive_body(path.read_bytes(), source=source)

    async def receive_body(self, body: bytes, *, source: str = "default") -> None:
        await self.pool.execute(
            "insert into deliveries (source, received_at, body, status) values ($1, $2, $3, 'received')",
            source,
            self.clock.now(),
            body,
        )

    async def fire(self, *cells: str, source: str = "default", **more: Any) -> None:
        """Receive one delivery with an alert for each cell that fires since now."""
        starts_at = more.pop("starts_at", self.clock.now())
        fired = [alert(starts_at=starts_at, cell=cell, **more) for cell in cells]
        await self.receive_body(delivery(fired), source=source)

    async def intake(self) -> None:
        """Process what was received, and nothing else."""
        await self.engine.intake.process()

    async def settle(self, *, without: Sequence[Job] = ()) -> list[Job]:
        """Run jobs until none is due by the test's clock; return what ran."""
        handlers = self.engine.handlers()
        ran: list[Job] = []
        for _ in range(MAX_JOBS):
            row = await self._next_job(without)
            if row is None:
                return ran
            job = Job(row["entrypoint"])
            ran.append(job)
            await self.pool.execute("delete from pgqueuer where id = $1", row["id"])
            await handlers[job]((row["payload"] or b"").decode())
        raise AssertionError(f"still busy after {MAX_JOBS} jobs: {ran[-10:]}")

    async def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Let the clock run, doing what comes due."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await self.settle()

    async def _next_job(self, without: Sequence[Job]) -> dict[str, Any] | None:
        """Return the first job whose delay has passed since the test's clock first saw it."""
        for row in await self.rows(_QUEUED):
            due = self.seen.setdefault(row["id"], self.clock.now()) + row["delay"]
            if due <= self.clock.now() and row["entrypoint"] not in without:
                return row
        return None

    async def sweep(self) -> None:
        """Enqueue what is due and has no job, as every replica does every few seconds."""
        await Sweep(self.pool, self.clock)()

    async def lose_leases(self) -> None:
        """Let the time pass after which a dead worker's runs may be taken over (leases go by the database's clock)."""
        await self.pool.execute("update runs set lease_until = clock_timestamp() - interval '1 s'")

    async def run(self) -> dict[str, Any]:
        """The only run."""
        (row,) = await self.rows("select * from runs")
        return row

    async def incident(self, incident_id: int = 1) -> dict[str, Any]:
        (row,) = await self.rows("select * from incidents where id = $1", incident_id)
        return row

    async def told(self, kind: str | None = None) -> list[str]:
        """What the timelines say, in order."""
        rows = await self.rows("select summary from timeline where kind = $1 or $1 is null order by id", kind)
        return [r["summary"] for r in rows]

    async def pages(self) -> int:
        """How many times somebody was to be woken."""
        (row,) = await self.rows("select count(*) from notifications where kind = 'page'")
        return int(row["count"])

    def refusals(self, guard: str) -> float:
        return self.metrics.registry.get_sample_value("hdr_responder_guard_refusals_total", {"guard": guard}) or 0.0

    async def rows(self, sql: str, *args: object) -> list[dict[str, Any]]:
        return [dict(r) for r in await self.pool.fetch(sql, *args)]

    async def timeline(self, incident_id: int = 1) -> list[str]:
        rows = await self.rows("select kind from timeline where incident_id = $1 order by id", incident_id)
        return [r["kind"] for r in rows]


def open_workshop(
    pool: Pool,
    *,
    folder: Path,
    systems: Systems | None = None,
    playbooks: Path = ROOT / "playbooks",
    config: Path = ROOT / "config",
    settings: Settings | None = None,
    actions: Registry | None = None,
    documents: Documents | None = None,
    new_id: NewId = uuid.uuid4,
    cells: Cells | None = None,
    clock: ManualClock | None = None,
    answers: Answers | None = None,
    seen: dict[int, datetime] | None = None,
) -> Workshop:
    """Build an engine with the shipped documents, unless the test brings its own, on a migrated database."""
    options = {
        "folder": folder,
        "systems": systems,
        "playbooks": playbooks,
        "config": config,
        "settings": settings,
        "actions": actions,
        "documents": documents,
        "new_id": new_id,
    }
    clock, answers = clock or ManualClock(NOW), answers or Answers()
    console: list[str] = []
    slept: list[float] = []
    settings, registry_ = settings or Settings(), actions or registry()
    store, metrics = PostgresStore(pool), Metrics()
    documents = documents or load(config, playbooks, registry_)
    people = build_people(settings, write=console.append)
    escalation = Escalation(documents.triage, documents.escalation)
    helping = Helping(
        store=store,
        escalation=escalation,
        lanes=people.lanes,
        clock=clock,
        channels=settings.slack.channels,
    )
    systems = dataclasses.replace(systems or Systems(), people=helping, alerts=StoredAlerts(store))
    outside = Outside(
        systems=systems,
        presence=answers,
        alertmanagers={},
        clusters={},
        databases={},
        prometheus=None,
    )
    parts = Parts(
        settings=settings,
        documents=documents,
        store=store,
        records=PostgresRecords(pool),
        artifacts=ObjectStoreArtifacts.open((folder / "artifacts").as_uri()),
        outside=outside,
        people=people,
        metrics=metrics,
        clock=clock,
        give_way=_never_busy,
        new_id=new_id,
        actions=registry_,
    )
    bench = Workbench(
        store=store,
        registry=registry_,
        systems=systems,
        artifacts=parts.artifacts,
        escalation=escalation,
        clock=clock,
        new_id=new_id,
        lanes=people.lanes,
        owner=f"worker {next(_NUMBERS)}",
        measures=metrics,
    )

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    engine = dataclasses.replace(
        build_engine(parts),
        executor=Executor(bench, sleep=sleep),
        verifier=Verifier(bench),
        undoer=Undoer(bench),
    )
    return Workshop(
        pool=pool,
        engine=engine,
        clock=clock,
        answers=answers,
        console=console,
        documents=documents,
        metrics=metrics,
        cells=cells or Cells(pool),
        helping=helping,
        options=options,
        slept=slept,
        seen={} if seen is None else seen,
    )


_NUMBERS: Iterator[int] = itertools.count(1)


async def _never_busy() -> None:
    """Nothing is received while a test works."""
