"""A server over stand-ins, reached through real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from hdr_responder.adapters.http.dependencies import HttpDependencies
from hdr_responder.adapters.http.server import build_application

from .stand_ins import World

Client = TestClient[Request, Application]
Serve = Callable[[HttpDependencies], Awaitable[Client]]


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(dependencies)`` starts a server and returns a client of it."""
    clients: list[Client] = []

    async def start(dependencies: HttpDependencies) -> Client:
        client = TestClient(TestServer(build_application(dependencies)))
        await client.start_server()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()
