"""A workshop for each test: see `workshop`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from hdr_responder.adapters.store.pool import open_pool
from tests.integration.engine.workshop import Workshop, open_workshop
from tests.integration.store.conftest import _migrate
from tests.services.postgres import PostgresServer

OpenWorkshop = Callable[..., Awaitable[Workshop]]


@pytest.fixture
async def open_with(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[OpenWorkshop]:
    """Opens engines with systems, playbooks or settings of the test's choice, each on a database of its own."""
    postgres_server.ensure_running()
    template = postgres_server.template("store_template", _migrate)
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(**options: object) -> Workshop:
            url = stack.enter_context(postgres_server.fresh_database(template=template))
            pool = await open_pool(url, max_size=16)
            stack.callback(pool.terminate)
            return open_workshop(pool, tmp_path, **options)  # type: ignore[arg-type]

        yield open_one


@pytest.fixture
async def workshop(open_with: OpenWorkshop) -> Workshop:
    """An engine without systems to act on."""
    return await open_with()
