"""The harness itself: each real service starts, does its work, and takes the faults that other tests rely on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
import pytest
import redis.asyncio
from aiohttp import web

from tests.conftest import AlertmanagerFactory, AlertmanagerPairFactory, PrometheusFactory
from tests.services.alertmanager import alert, webhook_config
from tests.services.ports import free_port
from tests.services.postgres import PostgresServer
from tests.services.processes import ServiceError, ServiceProcess, poll
from tests.services.redis import RedisServer
from tests.services.tools import require_built, require_program
from tests.services.waiting import eventually

pytestmark = pytest.mark.service

DEADLINE_SECONDS = 20.0


class Receiver:
    """A webhook that keeps what it was sent and lets a test wait for it."""

    def __init__(self) -> None:
        self.deliveries: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self, request: web.Request) -> web.Response:
        self.deliveries.put_nowait({"headers": dict(request.headers), **await request.json()})
        return web.Response(status=204)

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.deliveries.get()


@contextlib.asynccontextmanager
async def serve(receiver: Receiver) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_post("/hook", receiver.receive)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/hook"
    finally:
        await runner.cleanup()


async def test_postgres_keeps_its_data_over_a_restart(postgres_server: PostgresServer, database_url: str) -> None:
    await _execute(database_url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")
    await asyncio.to_thread(postgres_server.restart)
    assert await _fetch(database_url, "SELECT n FROM kept") == 42


async def test_postgres_keeps_what_was_committed_before_a_crash(
    postgres_server: PostgresServer, database_url: str
) -> None:
    await _execute(database_url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")
    await asyncio.to_thread(postgres_server.crash)
    with pytest.raises(OSError):
        await asyncpg.connect(database_url)
    await asyncio.to_thread(postgres_server.start)
    assert await _fetch(database_url, "SELECT n FROM kept") == 42


async def test_postgres_that_is_frozen_answers_again_when_resumed(
    postgres_server: PostgresServer, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    postgres_server.suspend()
    with pytest.raises(TimeoutError):
        await connection.fetchval("SELECT 1", timeout=0.3)
    postgres_server.resume()
    await connection.close()
    assert await _fetch(database_url, "SELECT 1") == 1


async def test_postgres_databases_are_copies_of_their_template(postgres_server: PostgresServer) -> None:
    prepared: list[str] = []

    def prepare(dsn: str) -> None:
        prepared.append(dsn)
        postgres_server.execute("CREATE TABLE migrated (n int)", database=dsn.rsplit("/", 1)[1])

    for _ in range(2):
        template = postgres_server.template("migrated_template", prepare)
        with postgres_server.fresh_database(template=template) as dsn:
            await _execute(dsn, "INSERT INTO migrated VALUES (1)")
            assert await _fetch(dsn, "SELECT count(*) FROM migrated") == 1
    assert len(prepared) == 1


async def test_redis_answers_and_forgets_between_tests(redis_server: RedisServer) -> None:
    async with redis.asyncio.from_url(redis_server.url) as client:
        assert await client.ping()
        assert await client.dbsize() == 0
        await client.set("left", "behind")
    redis_server.restart()
    redis_server.flush()


async def test_prometheus_evaluates_the_rules_it_was_given(prometheus_factory: PrometheusFactory) -> None:
    rules = '{"groups": [{"name": "g", "rules": [{"alert": "Always", "expr": "vector(1)"}]}]}'
    config = '{"global": {"evaluation_interval": "200ms"}, "rule_files": ["rules.yml"]}'
    server = prometheus_factory(config, {"rules.yml": rules})
    async with aiohttp.ClientSession() as session:
        firing = await eventually(lambda: _firing(session, server.url))
    assert firing == ["Always"]


async def test_alertmanager_pair_delivers_the_same_alert_twice(
    alertmanager_pair_factory: AlertmanagerPairFactory,
) -> None:
    receiver = Receiver()
    async with serve(receiver) as url:
        first, second = await asyncio.to_thread(alertmanager_pair_factory, webhook_config(url, token="secret-token"))
        firing = alert("HdrServiceDown", service="neural-hdr", severity="critical")
        await asyncio.gather(first.post_alerts(firing), second.post_alerts(firing))
        deliveries = [await receiver.next(), await receiver.next()]
    assert {delivery["externalURL"] for delivery in deliveries} == {first.url, second.url}
    assert {delivery["alerts"][0]["fingerprint"] for delivery in deliveries} == {
        deliveries[0]["alerts"][0]["fingerprint"]
    }
    assert {delivery["headers"]["Authorization"] for delivery in deliveries} == {"Bearer secret-token"}
    assert {delivery["headers"]["User-Agent"] for delivery in deliveries} == {"Alertmanager/0.31.1"}
    assert [held["labels"]["alertname"] for held in await first.alerts()] == ["HdrServiceDown"]


async def test_alertmanager_with_a_bad_configuration_says_why(alertmanager_factory: AlertmanagerFactory) -> None:
    with pytest.raises(ServiceError, match="no routes provided"):
        await asyncio.to_thread(alertmanager_factory, "{}")


def test_missing_programs_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ServiceError, match="make test"):
        require_built("kubernetes", "kube-apiserver")
    with pytest.raises(ServiceError, match="make test"):
        require_program("no-such-program")


def test_services_end_with_a_test_process_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from tests.services.processes import ServiceProcess\n"
        "service = ServiceProcess(name='sleep', argv=['sleep', '600'], log_path=pathlib.Path(sys.argv[1]))\n"
        "service.start()\n"
        "print(service.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")], cwd=root, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        service = int(child.stdout.readline())
        assert psutil.pid_exists(service)
        os.kill(child.pid, signal.SIGKILL)
    assert poll(lambda: not psutil.pid_exists(service), seconds=DEADLINE_SECONDS)


def test_process_that_ignores_its_stop_signal_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stubborn = ServiceProcess(name="stubborn", argv=["sh", "-c", "trap '' TERM; echo up; sleep 60"], log_path=log)
    stubborn.start()
    stubborn.wait_ready(lambda: "up" in stubborn.log_tail())
    stubborn.stop(seconds=0.2)
    assert not stubborn.is_running
    assert stubborn.returncode == -signal.SIGKILL


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(dsn: str, query: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _firing(session: aiohttp.ClientSession, url: str) -> list[str]:
    async with session.get(f"{url}/api/v1/alerts") as response:
        answer = await response.json()
    return [found["labels"]["alertname"] for found in answer["data"]["alerts"] if found["state"] == "firing"]
