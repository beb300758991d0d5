"""Socket Mode: commands arrive through a connection that the responder opened, and are answered on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from hdr_responder.adapters.slack import SlackAccess
from tests.unit.slack.workspace import INC, Desk, make_inbound

APP_TOKEN = "xapp-1-A0FAKE-token"
COMMAND = {
    "type": "slash_commands",
    "envelope_id": "envelope-1",
    "accepts_response_payload": True,
    "payload": {
        "command": "/incident",
        "text": "ack INC-142",
        "user_id": "U1",
        "user_name": "alice",
        "channel_id": "C1",
        "team_id": "T1",
        "trigger_id": "1.2.3",
    },
}


class SocketServer:
    """Opens one web socket and hands over what the responder answers."""

    def __init__(self) -> None:
        self.url = ""
        self.refusals = 0
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sockets: list[web.WebSocketResponse] = []
        self.connected = asyncio.Event()

    async def open(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bearer {APP_TOKEN}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"ok": False, "error": "internal_error"})
        return web.json_response({"ok": True, "url": self.url.replace("http", "ws") + "/link?ticket=t0p"})

    async def link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        self.connected.set()
        async for message in socket:
            await self.answers.put(json.loads(message.data))
        return socket


@asynccontextmanager
async def serving() -> AsyncIterator[SocketServer]:
    server = SocketServer()
    app = web.Application()
    app.router.add_post("/api/apps.connections.open", server.open)
    app.router.add_get("/link", server.link)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def access_to(server: SocketServer) -> SlackAccess:
    return SlackAccess(bot_token="xoxb-x", app_token=APP_TOKEN, channel="C1", api_url=f"{server.url}/api/")


async def test_command_is_taken_and_answered_on_the_socket() -> None:
    desk = Desk()
    async with serving() as server, asyncio.timeout(10):
        inbound = make_inbound(access_to(server), desk)
        assert inbound.routes() == []
        await inbound.start()
        await server.connected.wait()
        for _ in range(2):
            await server.sockets[0].send_json(COMMAND)
        answers = [await server.answers.get(), await server.answers.get()]
        await inbound.stop()
    assert desk.changes == [("acknowledge", INC, "alice (slack:U1)")]
    assert {a["envelope_id"] for a in answers} == {"envelope-1"}
    said = [a["payload"] for a in answers if "payload" in a]
    assert [(p["text"], p["response_type"]) for p in said] == [("INC-142 acknowledged by alice", "in_channel")]


async def test_slack_out_of_reach_at_start_keeps_nothing_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, asyncio.timeout(10):
        server.refusals = 1
        inbound = make_inbound(access_to(server), Desk())
        await inbound.start()
        await inbound.stop()
    assert APP_TOKEN not in caplog.text
