"""The metrics port on a real Prometheus, whose samples come from a rule file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from hdr_responder.actions.prometheus import bind
from hdr_responder.adapters.prometheus import Prometheus
from hdr_responder.domain.ports.metrics import Sample
from hdr_responder.errors import AdapterError, ConfigError, ForbiddenError, PermanentError, UnavailableError
from tests.services.ports import free_port
from tests.services.prometheus import PrometheusServer, run_prometheus
from tests.services.waiting import eventually

pytestmark = pytest.mark.service

TRICKY = "\"} or vector(0) # \\ ' ` \n ü"
CONFIG = "global: {evaluation_interval: 100ms}\nrule_files: [rules.yml]\n"
RULES = """
groups:
  - name: recorded
    rules:
      - {record: load, expr: vector(3), labels: {pod: a}}
      - {record: load, expr: vector(4), labels: {pod: b}}
"""
DEADLINE = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[PrometheusServer]:
    with run_prometheus(CONFIG, {"rules.yml": RULES}) as started:
        yield started


@pytest.fixture
async def prometheus(server: PrometheusServer) -> AsyncIterator[Prometheus]:
    client = Prometheus(server.url)
    yield client
    await client.close()


async def test_a_vector(prometheus: Prometheus) -> None:
    async def both() -> list[Sample]:
        samples = await prometheus.query("load", datetime.now(UTC))
        return samples if len(samples) == 2 else []

    samples = await eventually(both)

    assert sorted(samples, key=lambda s: s.value) == [
        Sample(labels={"__name__": "load", "pod": "a"}, value=3),
        Sample(labels={"__name__": "load", "pod": "b"}, value=4),
    ]
    assert await prometheus.query("load", datetime.now(UTC) - timedelta(days=1)) == []


async def test_a_scalar_and_what_is_no_number(prometheus: Prometheus) -> None:
    now = datetime.now(UTC)

    assert await prometheus.query("scalar(vector(7))", now) == [Sample(labels={}, value=7)]
    (sample,) = await prometheus.query("vector(0) / vector(0)", now)
    assert str(sample.value) == "nan"
    (sample,) = await prometheus.query("vector(1) / vector(0)", now)
    assert str(sample.value) == "inf"


async def test_a_bound_value_reaches_prometheus_as_that_very_text(prometheus: Prometheus) -> None:
    query = bind('label_replace(vector(1), "app", $value, "", "")', {"value": TRICKY})

    (sample,) = await prometheus.query(query, datetime.now(UTC))

    assert sample.labels == {"app": TRICKY}


@pytest.mark.parametrize("value", ["\x00\x01\x1f\x7f", "\u2028", "\\n", "$1", "\U0001f525", "a\tb\r"])
async def test_odd_characters_survive(prometheus: Prometheus, value: str) -> None:
    query = bind("count(absent(nothing{app=$value}))", {"value": value})

    (sample,) = await prometheus.query(query, datetime.now(UTC))

    assert sample.value == 1


async def test_a_wrong_query_is_final_and_says_why(prometheus: Prometheus) -> None:
    now = datetime.now(UTC)

    with pytest.raises(PermanentError, match="parse error"):
        await prometheus.query("sum(", now)
    with pytest.raises(PermanentError, match="instant vector"):
        await prometheus.query("load[5m]", now)


async def test_a_stopped_server_is_unavailable() -> None:
    client = Prometheus(f"http://user:hunter2@127.0.0.1:{free_port()}/prefix", timeout=2.0)

    with pytest.raises(UnavailableError, match=r"Prometheus at http://127.0.0.1:\d+: ") as raised:
        await client.query("up", datetime.now(UTC))

    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(client)
    await client.close()


async def test_a_frozen_server_is_unavailable_in_time(server: PrometheusServer) -> None:
    client = Prometheus(server.url, timeout=0.5)
    server.process.suspend()
    try:
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(UnavailableError, match="no answer in time"):
                await client.ping()
    finally:
        server.process.resume()
        await client.close()


@pytest.mark.parametrize("url", ["ftp://host", "prometheus:9090", "http://", "", "http://user:hunter2@:port"])
def test_a_wrong_address_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match="the address of Prometheus") as raised:
        Prometheus(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, "no", ForbiddenError),
        (403, "no", ForbiddenError),
        (404, "no", PermanentError),
        (302, "", PermanentError),
        (429, "later", UnavailableError),
        (500, "broken", UnavailableError),
        (503, "draining", UnavailableError),
        (200, "<html>", AdapterError),
        (200, "[]", AdapterError),
        (200, '{"data": {"resultType": "vector", "result": [{}]}}', AdapterError),
    ],
)
async def test_every_kind_of_answer(status: int, body: str, error: type[Exception]) -> None:
    """Against a server of our own, because a real Prometheus gives these only behind a proxy."""

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"].startswith("Basic ")
        return web.Response(status=status, text=body, headers={"Location": "http://elsewhere.invalid/"})

    app = web.Application()
    app.router.add_get("/prefix/api/v1/query", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    client = Prometheus(f"http://user:hunter2@127.0.0.1:{port}/prefix/")
    try:
        with pytest.raises(error, match=f"Prometheus at http://127.0.0.1:{port}") as raised:
            await client.ping() if status != 200 else await client.query("up", datetime.now(UTC))
        assert "hunter2" not in str(raised.value)
    finally:
        await client.close()
        await runner.cleanup()
