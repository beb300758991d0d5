"""The HTTP server over the real engine, store and artifacts, reached through a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from hdr_responder.adapters.artifacts import ObjectStoreArtifacts
from hdr_responder.adapters.http.dependencies import HttpDependencies, Readiness
from hdr_responder.adapters.http.server import HttpServer, build_application
from hdr_responder.adapters.store.pool import Pool, open_pool
from hdr_responder.adapters.store.receiver import DeliveryWriter
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.domain.clock import SystemClock
from hdr_responder.records.postmortem import render
from hdr_responder.settings import AlertmanagerSettings, ApiToken, Scope
from hdr_responder.telemetry import Metrics
from tests.integration.engine.workshop import Workshop, open_workshop
from tests.integration.pools import close_pool
from tests.integration.store.conftest import _migrate
from tests.services.postgres import PostgresServer

WEBHOOK_TOKEN = "webhook-token"
API_TOKEN = "api-token"
PERSON = "ann@example.com"


@dataclass
class Service:
    """A server and what is behind it."""

    address: str
    session: aiohttp.ClientSession
    workshop: Workshop
    pool: Pool
    metrics: Metrics
    artifacts: ObjectStoreArtifacts

    async def deliver(self, body: bytes, path: str = "") -> aiohttp.ClientResponse:
        """Post a delivery as Alertmanager does."""
        return await self.session.post(
            f"{self.address}/webhooks/alertmanager{path}",
            data=body,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {WEBHOOK_TOKEN}"},
        )

    async def api(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        """Call the API as `PERSON`; the answer's JSON."""
        async with self.session.request(
            method,
            f"{self.address}/api/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {API_TOKEN}"},
        ) as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)


@pytest.fixture
def service_database(postgres_server: PostgresServer) -> Iterator[str]:
    postgres_server.ensure_running()
    template = postgres_server.template("store_template", _migrate)
    with postgres_server.fresh_database(template=template) as url:
        yield url


@pytest.fixture
async def service(service_database: str, tmp_path: Path) -> AsyncIterator[Service]:
    """A server on a database of the test's own; the test runs the engine."""
    pool = await open_pool(service_database, max_size=8)
    writer = DeliveryWriter(service_database)
    await writer.open()
    workshop = open_workshop(pool, folder=tmp_path)
    artifacts = ObjectStoreArtifacts.open((tmp_path / "artifacts").as_uri())
    dependencies = _dependencies(writer, pool, workshop, artifacts)
    server = HttpServer(build_application(dependencies), "127.0.0.1", 0)
    async with server, aiohttp.ClientSession() as session:
        yield Service(
            address=f"http://127.0.0.1:{server.port}",
            session=session,
            workshop=workshop,
            pool=pool,
            metrics=dependencies.metrics,
            artifacts=artifacts,
        )
    await writer.close()
    await close_pool(pool)


def _dependencies(
    writer: DeliveryWriter, pool: Pool, workshop: Workshop, artifacts: ObjectStoreArtifacts
) -> HttpDependencies:
    async def readiness() -> Readiness:
        return Readiness(ready=True)

    return HttpDependencies(
        deliveries=writer,
        records=PostgresRecords(pool),
        operations=workshop.engine.operations,
        artifacts=artifacts,
        clock=SystemClock(),
        metrics=Metrics(),
        alertmanager=AlertmanagerSettings(tokens=(SecretStr(WEBHOOK_TOKEN),)),
        tokens=[ApiToken(token=SecretStr(API_TOKEN), name=PERSON, scopes=frozenset({Scope.ADMIN}))],
        readiness=readiness,
        backlog_age=lambda: timedelta(0),
        draining=lambda: False,
        postmortem=render,
    )
