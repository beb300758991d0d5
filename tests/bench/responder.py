"""The product as its users run it: ``hdr-responder serve`` in its own process, on a database that syncs to disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg

from tests.services.kubernetes import ControlPlane
from tests.services.ports import free_port
from tests.services.postgres import run_postgres
from tests.services.processes import ServiceError, ServiceProcess, answers_ok, service_folder

PATH = "/webhooks/alertmanager"
CLUSTER = "prod-eu"
_DOCUMENTS = Path(__file__).with_name("documents")
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The services that alerts may be about, each a Deployment of its own in one namespace."""

    namespace: str
    services: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Responder:
    """A running service, a client for it and a connection to its database."""

    process: ServiceProcess
    url: str
    token: str
    client: aiohttp.ClientSession = field(repr=False)
    database: asyncpg.Connection[asyncpg.Record] = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What every delivery carries."""
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}

    async def deliver(self, body: bytes) -> None:
        """Send a delivery as Alertmanager does: again while the answer is 503."""
        while True:
            async with self.client.post(self.url, data=body, headers=self.headers) as answer:
                if answer.status == 200:
                    return
                if answer.status != 503:
                    raise ServiceError(f"a delivery was answered {answer.status}: {await answer.text()}")
                await asyncio.sleep(float(answer.headers["Retry-After"]))

    async def count(self, sql: str) -> int:
        """Ask the database for one number."""
        return int(await self.database.fetchval(sql))

    async def wait_for(self, condition: Callable[[], Awaitable[bool]], what: str, *, seconds: float) -> None:
        """Wait until ``condition()`` holds; raises ServiceError with the service's last lines when time is up."""
        try:
            async with asyncio.timeout(seconds):
                while not await condition():  # noqa: ASYNC110 - it happens in another process
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ServiceError(f"{what}: not within {seconds:g} s\n{self.process.log_tail()}") from None

    async def wait_processed(self, *, seconds: float = 300.0) -> None:
        """Wait until every delivery is processed."""

        async def none_waits() -> bool:
            return await self.count("select count(*) from deliveries where status = 'received'") == 0

        await self.wait_for(none_waits, "deliveries wait to be processed", seconds=seconds)


@contextlib.asynccontextmanager
async def run_responder(
    fleet: Fleet, *, cluster: ControlPlane | None = None, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Responder]:
    """A service that knows the fleet, ended with the block; ``cluster`` is where its Deployments are."""
    with service_folder("bench") as folder, run_postgres(durable=True) as server:
        token, port = secrets.token_hex(16), free_port()
        _write_documents(folder, fleet, cluster)
        environment = {
            "HDR_DATABASE__URL": server.dsn(server.create_database()),
            "HDR_DATABASE__DATA_DIR": str(folder / "data"),
            "HDR_CONFIG__DIR": str(folder / "documents"),
            "HDR_PLAYBOOKS__DIR": str(folder / "documents" / "playbooks"),
            "HDR_HTTP__PORT": str(port),
            "HDR_AUTOMATION__BUDGETS__FLEET__RUNS": "10000",  # More runs an hour than any fleet should have.
            "HDR_ALERTMANAGER__TOKENS": json.dumps([token]),
            **(settings or {}),
        }
        process = _process(folder, environment)
        try:
            process.start()
            await asyncio.to_thread(process.wait_ready, lambda: answers_ok(f"http://127.0.0.1:{port}/readyz"))
            database = await asyncpg.connect(environment["HDR_DATABASE__URL"])
            async with aiohttp.ClientSession() as client:
                yield Responder(
                    process=process,
                    url=f"http://127.0.0.1:{port}{PATH}",
                    token=token,
                    client=client,
                    database=database,
                )
            await database.close()
        finally:
            await asyncio.to_thread(process.stop, seconds=40.0)


def _process(folder: Path, environment: Mapping[str, str]) -> ServiceProcess:
    program = Path(sys.executable).with_name("hdr-responder")
    return ServiceProcess(
        name="responder", argv=[str(program), "serve"], log_path=folder / "responder.log", env=environment
    )


def _write_documents(folder: Path, fleet: Fleet, cluster: ControlPlane | None) -> None:
    """Write the documents; JSON is YAML."""
    target = folder / "documents"
    shutil.copytree(_DOCUMENTS, target)
    services = [
        {
            "name": name,
            "title": name,
            "tier": "core",
            "owner": "sre",
            "namespace": fleet.namespace,
            "workload": f"deployment/{name}",
        }
        for name in fleet.services
    ]
    catalogue = {"apiVersion": "hdr-responder/v1", "kind": "ServiceCatalogue", "services": services}
    (target / "services.yaml").write_text(json.dumps(catalogue | {"identified_by": ["service"]}))
    clusters = {CLUSTER: {"kubeconfig": str(cluster.responder_kubeconfig)}} if cluster else {}
    (target / "responder.yaml").write_text(json.dumps({"targets": {"kubernetes": clusters}}))
