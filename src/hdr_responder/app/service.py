"""The service: everything started in order, and stopped in order when it is told to.

On SIGTERM it takes nothing new (readiness fails, webhooks answer 503), the running step ends or is handed over, what
was accepted is committed, and only then do connections close.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from hdr_responder.adapters.artifacts import ObjectStoreArtifacts
from hdr_responder.adapters.http.dependencies import HttpDependencies, Readiness
from hdr_responder.adapters.http.server import HttpServer, build_application
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.adapters.slack import Lookups, SlackInbound
from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.migrate import migrate
from hdr_responder.adapters.store.pool import Pool, open_pool
from hdr_responder.adapters.store.prune import Prune, Retention
from hdr_responder.adapters.store.queue import Periodic, Worker
from hdr_responder.adapters.store.receiver import DeliveryWriter
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.adapters.store.sweep import Sweep
from hdr_responder.app.database import serving_database
from hdr_responder.app.documents import load_documents
from hdr_responder.app.engine import Engine, Parts, build_engine
from hdr_responder.app.people import PeopleLanes, build_people
from hdr_responder.app.systems import build_outside
from hdr_responder.domain.clock import Clock, SystemClock
from hdr_responder.domain.ports.store import Job
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.helping import Helping
from hdr_responder.errors import TemporaryError
from hdr_responder.records.postmortem import render
from hdr_responder.settings import Settings
from hdr_responder.telemetry import Metrics, configure_logs, register_secret

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 25.0
"""How long running handlers may take to end after SIGTERM. With requests in flight before and jobs given back after it,
a stop takes up to 40 s: terminationGracePeriodSeconds should be 45."""
GIVE_WAY_LOOKS = 20
GIVE_WAY_SECONDS = 0.025
SWEEP_SECONDS = 5.0
HEALTH_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 60.0
SCHEDULES_SECONDS = 10.0
PRUNE_SECONDS = 3600.0

LIMITS = {
    Job.INTAKE: 1,
    Job.PLAN: 8,
    Job.START: 8,
    Job.RUN: 32,
    Job.VERIFY: 16,
    Job.UNDO: 8,
    Job.DEADLINE: 1,
    Job.NOTIFY_SLACK: 1,
    Job.NOTIFY_PAGERDUTY: 2,
    Job.NOTIFY_CONSOLE: 1,
}
"""How many of each job run at a time over all replicas."""


@dataclass(slots=True)
class Health:
    """What was last seen of the work's backlog; answered from memory, since every webhook asks."""

    clock: Clock
    draining: bool = False
    oldest_waiting: datetime | None = None
    checked_at: datetime = field(default_factory=lambda: datetime.min.replace(tzinfo=UTC))

    def backlog_age(self) -> timedelta:
        """Return how long the oldest unprocessed delivery has waited."""
        return self.clock.now() - self.oldest_waiting if self.oldest_waiting else timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service."""

    port: int
    engine: Engine
    records: PostgresRecords
    store: PostgresStore
    people: PeopleLanes
    worker: Worker
    database_url: str = field(repr=False)


@asynccontextmanager
async def running_service(
    settings: Settings, *, write: Callable[[str], object] | None = None, clock: Clock | None = None
) -> AsyncIterator[Service]:
    """Start the service and stop it again at the end of the block.

    ``write`` takes what the console lane shows. Raises ConfigError when settings or documents are wrong,
    UnavailableError when the database cannot be reached.
    """
    settings.require_serving()
    for secret in settings.secrets():
        register_secret(secret)
    documents = load_documents(settings)
    clock = clock or SystemClock()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving_database(settings))
        await migrate(url)
        pool = await open_pool(url, max_size=settings.database.pool_size)
        stack.push_async_callback(_close_pool, pool)
        store, records = PostgresStore(pool), PostgresRecords(pool)
        writer = DeliveryWriter(url)
        await writer.open()
        stack.push_async_callback(writer.close)
        people = build_people(settings, write=write)
        stack.push_async_callback(people.close)
        escalation = Escalation(documents.triage, documents.escalation)
        helping = Helping(
            store=store,
            escalation=escalation,
            lanes=people.lanes,
            clock=clock,
            channels=settings.slack.channels,
        )
        if settings.targets.kubernetes:
            await asyncio.to_thread(KubernetesAdapter.load_library)
        outside = build_outside(settings, reach=documents.services.reach, store=store, people=helping, clock=clock)
        stack.push_async_callback(outside.close)
        parts = Parts(
            settings=settings,
            documents=documents,
            store=store,
            records=records,
            artifacts=ObjectStoreArtifacts.open(settings.artifacts_url),
            outside=outside,
            people=people,
            metrics=metrics,
            clock=clock,
            give_way=lambda: _give_way(writer),
        )
        engine = build_engine(parts)
        health = Health(clock)
        worker = Worker(url, engine.handlers(), LIMITS, _periodic(parts, engine, health, pool))
        await worker.start()
        stack.push_async_callback(_drain, engine, worker)
        inbound = _slack_inbound(parts, engine)
        if inbound is not None:
            await inbound.start()
            stack.push_async_callback(inbound.stop)
        application = build_application(
            HttpDependencies(
                deliveries=writer,
                records=records,
                operations=engine.operations,
                artifacts=parts.artifacts,
                clock=clock,
                metrics=metrics,
                alertmanager=settings.alertmanager,
                tokens=settings.http.tokens,
                readiness=_readiness(health, worker),
                backlog_age=health.backlog_age,
                draining=lambda: health.draining,
                postmortem=render,
                max_body_bytes=settings.http.max_body_bytes,
                extra_routes=inbound.routes() if inbound else (),
            )
        )
        http = await stack.enter_async_context(HttpServer(application, settings.http.host, settings.http.port))
        log.info("serving", host=settings.http.host, port=http.port, environment=settings.environment)
        try:
            yield Service(
                port=http.port,
                engine=engine,
                records=records,
                store=store,
                people=people,
                worker=worker,
                database_url=url,
            )
        finally:
            health.draining = True
            engine.executor.draining.set()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises as `running_service`."""
    configure_logs(settings.log.format, settings.log.level)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running_service(settings):
        await stop.wait()
        log.info("stopping")
    log.info("stopped")


def _periodic(parts: Parts, engine: Engine, health: Health, pool: Pool) -> tuple[Periodic, ...]:
    retention = Retention(
        deliveries=parts.settings.retention.deliveries, notifications=parts.settings.retention.notifications
    )

    async def check_health() -> None:
        found = await parts.records.health()
        health.oldest_waiting, health.checked_at = found.oldest_waiting_delivery, parts.clock.now()
        parts.metrics.read_health(found, parts.clock.now())

    return (
        Periodic(name="health", call=check_health, seconds=HEALTH_SECONDS),
        Periodic(name="sweep", call=Sweep(pool, parts.clock), seconds=SWEEP_SECONDS),
        Periodic(name="schedules", call=engine.schedules.tick, seconds=SCHEDULES_SECONDS),
        Periodic(name="housekeeping", call=engine.housekeeping.tick, seconds=HOUSEKEEPING_SECONDS),
        Periodic(name="prune", call=Prune(pool, parts.clock, retention), seconds=PRUNE_SECONDS),
    )


def _readiness(health: Health, worker: Worker) -> Callable[[], Awaitable[Readiness]]:
    async def ask() -> Readiness:
        checks = {
            "documents": "ok",
            "draining": "shutting down" if health.draining else "ok",
            "worker": "ok" if worker.alive else "the worker has stopped",
            "database": "ok" if worker.connected else "the database has not answered for 30 s",
        }
        return Readiness(ready=all(v == "ok" for v in checks.values()), checks=checks)

    return ask


def _slack_inbound(parts: Parts, engine: Engine) -> SlackInbound | None:
    access = parts.people.slack
    if access is None or (access.signing_secret is None and access.app_token is None):
        return None

    async def first_time(key: str) -> bool:
        async with parts.store.transaction() as tx:
            return await tx.controls.first_time(key, parts.clock.now())

    async def incident_of_message(channel: str, message_id: str) -> int | None:
        async with parts.store.transaction() as tx:
            return await tx.notifications.incident_of_message(channel, message_id)

    lookups = Lookups(first_time=first_time, incident_of_message=incident_of_message)
    return SlackInbound(access, engine.operations, parts.records, lookups=lookups, clock=parts.clock)


async def _give_way(writer: DeliveryWriter) -> None:
    """Let a burst of deliveries be committed before intake takes the processor, but never wait long."""
    for _ in range(GIVE_WAY_LOOKS):
        if not writer.busy:
            return
        await asyncio.sleep(GIVE_WAY_SECONDS)


async def _drain(engine: Engine, worker: Worker) -> None:
    engine.executor.draining.set()
    await worker.stop(DRAIN_SECONDS)


async def _close_pool(pool: Pool) -> None:
    """Close gently; a connection that a lost database holds up is cut."""
    try:
        async with asyncio.timeout(5):
            await pool.close()
    except (TimeoutError, TemporaryError):
        pool.terminate()
