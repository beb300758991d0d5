"""A stage for the examples of one test."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from hdr_responder.adapters.store.pool import open_pool
from tests.integration.engine.properties.stage import Stage
from tests.integration.pools import close_pool
from tests.integration.store.conftest import _migrate
from tests.services.postgres import PostgresServer


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Nothing is logged: thousands of provoked faults would be."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture
def stage(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Stage]:
    """A stage on a database of its own, with a loop that lives as long."""
    postgres_server.ensure_running()
    template = postgres_server.template("store_template", _migrate)
    with postgres_server.fresh_database(template=template) as url, asyncio.Runner() as runner:
        pool = runner.run(open_pool(url, max_size=16))
        try:
            yield Stage(runner, pool, tmp_path)
        finally:
            runner.run(close_pool(pool))
