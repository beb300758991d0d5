"""Probes, metrics, routes of other adapters, and the socket."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from hdr_responder.adapters.http.dependencies import Readiness
from hdr_responder.adapters.http.server import HttpServer, build_application
from hdr_responder.errors import ConfigError, UnavailableError

from .conftest import Client, Serve
from .stand_ins import World
from .test_webhooks import problem


@pytest.fixture
async def client(serve: Serve, world: World) -> Client:
    return await serve(world.dependencies())


async def test_alive(client: Client, world: World) -> None:
    world.records.failure = UnavailableError("gone")
    assert (await client.get("/healthz")).status == 200


async def test_ready_says_what_is_missing(client: Client, world: World) -> None:
    response = await client.get("/readyz")
    assert response.status == 200
    assert (await response.json())["checks"] == {"database": "ok"}
    world.ready = lambda: Readiness(ready=False, checks={"documents": "not loaded"})
    response = await client.get("/readyz")
    assert response.status == 503
    assert (await response.json())["checks"] == {"documents": "not loaded"}


async def test_a_readiness_that_fails_is_not_ready(client: Client, world: World) -> None:
    def fail() -> Readiness:
        raise UnavailableError("the database cannot be reached")

    world.ready = fail
    response = await client.get("/readyz")
    assert response.status == 503
    assert "cannot be reached" in await response.text()


async def test_metrics_are_named_as_promised_and_fresh(client: Client, world: World) -> None:
    response = await client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    lines = (await response.text()).splitlines()
    assert 'hdr_responder_incidents_open{priority="P1"} 2.0' in lines
    assert 'hdr_responder_incidents_open{priority="P2"} 0.0' in lines
    assert 'hdr_responder_queue_depth{entrypoint="intake"} 3.0' in lines
    assert 'hdr_responder_notification_lag_seconds{lane="slack"} 30.0' in lines
    assert "hdr_responder_paused 1.0" in lines
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)
    world.records.failure = UnavailableError("gone")
    assert "hdr_responder_paused 1.0" in await (await client.get("/metrics")).text()


async def test_what_is_not_there_is_a_problem(client: Client) -> None:
    await problem(await client.get("/"), 404)
    await problem(await client.get("/webhooks/alertmanager/a/b"), 404)
    response = await client.delete("/api/v1/incidents")
    await problem(response, 405)
    assert "GET" in response.headers["Allow"]


async def test_other_adapters_add_routes_that_share_the_errors(serve: Serve, world: World) -> None:
    async def events(request: web.Request) -> web.Response:
        if not request.can_read_body:
            raise UnavailableError("no body")
        return web.Response(text=await request.text())

    client = await serve(world.dependencies(extra_routes=[web.post("/slack/events", events)]))
    assert await (await client.post("/slack/events", data=b"payload")).text() == "payload"
    await problem(await client.post("/slack/events"), 503)


async def test_the_server_listens_on_a_free_port_and_finishes_what_it_began(world: World) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        began.set()
        await go_on.wait()
        return web.Response(text="done")

    application = build_application(world.dependencies(extra_routes=[web.get("/slow", slow)]))
    server = HttpServer(application, "127.0.0.1", 0)
    async with server, aiohttp.ClientSession() as session:
        address = f"http://127.0.0.1:{server.port}"
        assert (await session.get(f"{address}/healthz")).status == 200
        answer = asyncio.create_task(session.get(f"{address}/slow"))
        await asyncio.wait_for(began.wait(), 5)
        closing = asyncio.create_task(server.__aexit__(None, None, None))
        await asyncio.sleep(0)
        go_on.set()
        assert (await asyncio.wait_for(answer, 5)).status == 200
        await asyncio.wait_for(closing, 15)


async def test_a_taken_port_is_told(world: World) -> None:
    async with HttpServer(build_application(world.dependencies()), "127.0.0.1", 0) as first:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{first.port}"):
            async with HttpServer(build_application(world.dependencies()), "127.0.0.1", first.port):
                raise AssertionError("it must not start")
