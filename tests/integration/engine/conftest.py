"""A workshop for each test: see `workshop`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from hdr_responder.adapters.store.pool import open_pool
from tests.integration.engine.catalogues import with_health
from tests.integration.engine.cells import Cells, playbook
from tests.integration.engine.times import with_calendar
from tests.integration.engine.workshop import Workshop, open_workshop
from tests.integration.pools import close_pool
from tests.integration.store.conftest import _migrate
from tests.services.postgres import PostgresServer

OpenWorkshop = Callable[..., Awaitable[Workshop]]


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Tracebacks as plain text: drawing them with their variables takes seconds."""
    before = structlog.get_config()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    yield
    structlog.configure(**before)


@pytest.fixture
async def open_with(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[OpenWorkshop]:
    """Opens engines with systems, playbooks or settings of the test's choice, each on a database of its own."""
    postgres_server.ensure_running()
    template = postgres_server.template("store_template", _migrate)
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(**options: object) -> Workshop:
            url = stack.enter_context(postgres_server.fresh_database(template=template))
            pool = await open_pool(url, max_size=16)
            stack.push_async_callback(close_pool, pool)
            return open_workshop(pool, folder=tmp_path, **options)  # type: ignore[arg-type]

        yield open_one


@pytest.fixture
async def open_cells(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[OpenWorkshop]:
    """Opens an engine with the playbooks of the test (see `cells.playbook`) on cells ``a``, ``b`` and ``c``.

    ``health`` gives services a probe (see `catalogues.with_health`), ``calendar`` is the calendar's content.
    """
    postgres_server.ensure_running()
    template = postgres_server.template("store_template", _migrate)
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(
            *documents: dict[str, Any],
            health: dict[str, Any] | None = None,
            calendar: dict[str, Any] | None = None,
            **options: Any,
        ) -> Workshop:
            url = stack.enter_context(postgres_server.fresh_database(template=template))
            pool = await open_pool(url, max_size=32)
            stack.push_async_callback(close_pool, pool)
            cells = Cells(pool)
            await cells.prepare("a", "b", "c")
            folder = tmp_path / "playbooks"
            folder.mkdir(exist_ok=True)
            for number, document in enumerate(documents or (playbook(),)):
                (folder / f"{number}.yaml").write_text(json.dumps(document))
            if health:
                options["config"] = with_health(tmp_path, health)
            if calendar:
                options["config"] = with_calendar(tmp_path, calendar, options.get("config"))
            return open_workshop(
                pool, folder=tmp_path, playbooks=folder, actions=cells.registry(), cells=cells, **options
            )

        yield open_one


@pytest.fixture
async def workshop(open_with: OpenWorkshop) -> Workshop:
    """An engine without systems to act on."""
    return await open_with()
