"""The whole engine on a real database, with the clock and the worker in the test's hands.

`Workshop.settle` takes jobs from PgQueuer's table in order and runs the same handlers that the service runs, until
nothing is due by the test's clock; so a test owns time and order and never waits.
"""

from __future__ import annotations

import dataclasses
import itertools
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hdr_responder.actions.registry import registry
from hdr_responder.adapters.artifacts import ObjectStoreArtifacts
from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.app.engine import Engine, Parts, build_engine
from hdr_responder.app.people import build_people
from hdr_responder.app.systems import Outside
from hdr_responder.documents.catalogue import Documents, load
from hdr_responder.domain.alerts import AlertEvent, Occurrence, Presence
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.engine.presence import PresenceDesk
from hdr_responder.settings import Settings
from hdr_responder.telemetry import Metrics
from tests.fakes.clock import ManualClock

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
        self.asked: list[str] = []

    async def ask(self, alert: AlertEvent | Occurrence) -> Presence:
        self.asked.append(alert.fingerprint)
        return self.presence


@dataclasses.dataclass
class Workshop:
    """One engine."""

    pool: Pool
    engine: Engine
    clock: ManualClock
    answers: Answers
    console: list[str]
    documents: Documents
    seen: dict[int, datetime] = dataclasses.field(default_factory=dict)

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

    async def intake(self) -> None:
        """Process what was received, and nothing else."""
        await self.engine.intake.process()

    async def settle(self, *, without: Sequence[Job] = ()) -> list[Job]:
        """Run jobs until none is due by the test's clock; return what ran."""
        handlers, ran = self.engine.handlers(), []
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

    async def rows(self, sql: str, *args: object) -> list[dict[str, Any]]:
        return [dict(r) for r in await self.pool.fetch(sql, *args)]

    async def timeline(self, incident_id: int = 1) -> list[str]:
        rows = await self.rows("select kind from timeline where incident_id = $1 order by id", incident_id)
        return [r["kind"] for r in rows]


def open_workshop(
    pool: Pool,
    folder: Path,
    *,
    systems: Systems | None = None,
    playbooks: Path = ROOT / "playbooks",
    settings: Settings | None = None,
) -> Workshop:
    """Build an engine with the shipped documents on a migrated database."""
    clock, answers, console = ManualClock(NOW), Answers(), []
    settings = settings or Settings()
    store = PostgresStore(pool)
    ids = (uuid.UUID(int=n) for n in itertools.count(1))
    outside = Outside(
        systems=systems or Systems(),
        presence=answers,
        alertmanagers={},
        clusters={},
        databases={},
        prometheus=None,
    )
    documents = load(ROOT / "config", playbooks, registry())
    parts = Parts(
        settings=settings,
        documents=documents,
        store=store,
        records=PostgresRecords(pool),
        artifacts=ObjectStoreArtifacts.open((folder / "artifacts").as_uri()),
        outside=outside,
        people=build_people(settings, write=console.append),
        metrics=Metrics(),
        clock=clock,
        new_id=lambda: next(ids),
    )
    return Workshop(
        pool=pool,
        engine=build_engine(parts),
        clock=clock,
        answers=answers,
        console=console,
        documents=documents,
    )
