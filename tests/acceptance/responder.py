"""The responder as its users run it: a process of its own, started with settings and asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from tests.services.ports import free_port
from tests.services.processes import ServiceProcess, answers_ok, service_folder
from tests.services.waiting import eventually

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("hdr-responder")
ALERTMANAGER_TOKEN = "alertmanager-token-of-the-tests"
API_TOKEN = "api-token-of-the-tests"


class Responder:
    """One process."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.port = free_port()
        self.database_url = environ["HDR_DATABASE__URL"]
        self.process = ServiceProcess(
            name="responder",
            argv=[str(COMMAND), "serve"],
            log_path=folder / "responder.log",
            env=clean_environment(folder)
            | {
                "HDR_HTTP__PORT": str(self.port),
                "HDR_HTTP__TOKENS": json.dumps(
                    {API_TOKEN: {"name": "oncall@example.com", "scopes": ["read", "operate", "admin"]}}
                ),
                "HDR_ALERTMANAGER__TOKENS": json.dumps([ALERTMANAGER_TOKEN]),
                **environ,
            },
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def webhook(self) -> str:
        return f"{self.url}/webhooks/alertmanager"

    def start(self) -> None:
        self.process.start()
        self.process.wait_ready(lambda: answers_ok(f"{self.url}/readyz"))

    async def get(self, path: str) -> Any:
        async with _session(API_TOKEN) as session, session.get(f"{self.url}{path}") as response:
            response.raise_for_status()
            return await response.json()

    async def raw(self, path: str) -> bytes:
        async with _session(API_TOKEN) as session, session.get(f"{self.url}{path}") as response:
            response.raise_for_status()
            return await response.read()

    async def post(self, path: str, body: object = None) -> Any:
        async with _session(API_TOKEN) as session, session.post(f"{self.url}{path}", json=body or {}) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    async def deliver(self, body: bytes, *, token: str = ALERTMANAGER_TOKEN) -> int:
        headers = {"Content-Type": "application/json"}
        async with _session(token) as session, session.post(self.webhook, data=body, headers=headers) as response:
            return response.status

    async def incidents(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.get("/api/v1/incidents"))["items"]
        return items

    async def incident(self, ref: str = "INC-1") -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"/api/v1/incidents/{ref}")
        return found

    async def wait_for_run(self, ref: str = "INC-1", *, seconds: float = 90, **fields: str) -> dict[str, Any]:
        """Wait until the incident's last run has these fields, and return it."""

        async def run() -> dict[str, Any] | None:
            try:
                runs = (await self.incident(ref))["runs"]
            except aiohttp.ClientError:
                return None
            found = runs and all(runs[-1][k] == v for k, v in fields.items())
            return runs[-1] if found else None

        found: dict[str, Any] = await eventually(run, seconds=seconds)
        return found

    async def wait_for_status(self, status: str, ref: str = "INC-1", *, seconds: float = 30) -> dict[str, Any]:
        """Wait until the incident has this status, and return it."""

        async def incident() -> dict[str, Any] | None:
            try:
                found = await self.incident(ref)
            except aiohttp.ClientError:
                return None
            return found if found["status"] == status else None

        found: dict[str, Any] = await eventually(incident, seconds=seconds)
        return found

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        connection = await asyncpg.connect(self.database_url)
        try:
            yield connection
        finally:
            await connection.close()


def _session(token: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})


def clean_environment(folder: Path) -> dict[str, str]:
    """The environment of a user who has set nothing of ours yet, with the shipped documents."""
    return {
        "HDR_CONFIG__DIR": str(ROOT / "config"),
        "HDR_PLAYBOOKS__DIR": str(ROOT / "playbooks"),
        "HDR_DATABASE__DATA_DIR": str(folder / "data"),
    }


@contextlib.contextmanager
def responder_folder() -> Iterator[Path]:
    with service_folder("responder") as folder:
        yield folder
