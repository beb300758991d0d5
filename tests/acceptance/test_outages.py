"""Nothing is lost: not when our database is away, and not when we are told to stop."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import aiohttp
import pytest

from tests.acceptance.conftest import StartResponder
from tests.acceptance.responder import ALERTMANAGER_TOKEN
from tests.conftest import AlertmanagerFactory
from tests.integration.engine.alerts import alert as alert_body
from tests.integration.engine.alerts import delivery
from tests.services.alertmanager import alert, webhook_config
from tests.services.postgres import PostgresServer
from tests.services.waiting import eventually

EVICTIONS = {"cluster": "prod-eu", "namespace": "hdr-empire", "service": "redis", "severity": "warning"}


async def test_without_the_database_nothing_is_accepted_and_alertmanager_delivers_when_it_is_back(
    new_responder: StartResponder, alertmanager_factory: AlertmanagerFactory, postgres_server: PostgresServer
) -> None:
    """Alertmanager contract rule 1: it repeats what was answered with 503."""
    responder = new_responder()
    alertmanager = alertmanager_factory(webhook_config(responder.webhook, token=ALERTMANAGER_TOKEN))
    responder.start()
    await asyncio.to_thread(postgres_server.stop)
    try:
        await alertmanager.post_alerts(alert("HdrRedisEvictions", starts_at=datetime.now(UTC), **EVICTIONS))

        async def refused() -> bool:
            return "503" in await metrics(responder.url) or "unavailable" in await metrics(responder.url)

        await eventually(refused, seconds=30)
        assert await responder.deliver(b"{}") in {400, 503}
    finally:
        await asyncio.to_thread(postgres_server.ensure_running)
    found = await responder.wait_for_status("triggered", seconds=60)
    assert (found["service"], found["problem"]) == ("redis", "HdrRedisEvictions")


async def metrics(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return "\n".join(x for x in lines if x.startswith("hdr_responder_deliveries_total") and not x.endswith(" 0.0"))


async def test_told_to_stop_it_takes_nothing_new_and_keeps_what_it_took(new_responder: StartResponder) -> None:
    responder = new_responder()
    responder.start()
    answers: list[int] = []

    async def send(number: int) -> None:
        try:
            answers.append(await responder.deliver(body(number)))
        except aiohttp.ClientError:
            answers.append(0)

    sending = [asyncio.create_task(send(n)) for n in range(200)]
    await asyncio.sleep(0)
    began = time.monotonic()
    await asyncio.to_thread(responder.process.stop, seconds=45)
    await asyncio.gather(*sending)
    assert responder.process.returncode == 0, responder.process.log_tail()
    assert time.monotonic() - began < 40
    assert set(answers) <= {0, 200, 503}
    async with responder.database() as connection:
        stored = await connection.fetchval("select count(*) from deliveries")
    assert stored >= answers.count(200), "every 200 was committed"


@pytest.mark.parametrize("token", ["wrong", ""])
async def test_a_stranger_is_refused_and_leaves_no_trace(new_responder: StartResponder, token: str) -> None:
    responder = new_responder()
    responder.start()
    assert await responder.deliver(body(1), token=token) == 401
    async with responder.database() as connection:
        assert await connection.fetchval("select count(*) from deliveries") == 0


def body(number: int) -> bytes:
    return delivery([alert_body(f"HdrStop{number}", starts_at=datetime.now(UTC))])
