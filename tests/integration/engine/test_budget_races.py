"""No budget is passed by concurrency: many processes start many runs at once, each on a target of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hdr_responder.adapters.store.pool import open_pool
from hdr_responder.settings import Settings
from tests.integration.engine.cells import Cells, playbook
from tests.integration.engine.conftest import plain_logs
from tests.integration.engine.workshop import Workshop, open_workshop
from tests.integration.pools import close_pool
from tests.integration.store.conftest import _migrate
from tests.services.postgres import PostgresServer

__all__ = ["plain_logs"]

PROCESSES = 5
TARGETS = tuple(f"t{number}" for number in range(16))
ALLOWED = 4
BUDGET = {"runs": ALLOWED, "per": "1h"}


@pytest.fixture
async def url(postgres_server: PostgresServer) -> AsyncIterator[str]:
    postgres_server.ensure_running()
    with postgres_server.fresh_database(template=postgres_server.template("store_template", _migrate)) as url:
        yield url


@pytest.mark.parametrize(
    ("guard", "budgets", "rules"),
    [
        ("fleet_budget", {"fleet": BUDGET}, {}),
        ("effect_budget", {"effects": {"set": BUDGET}}, {}),
        ("playbook_budget", {}, {"playbook_budget": BUDGET}),
    ],
)
async def test_processes_together_start_no_more_than_is_allowed(
    url: str, tmp_path: Path, guard: str, budgets: dict[str, Any], rules: dict[str, Any]
) -> None:
    settings = Settings.model_validate({"automation": {"budgets": budgets}})
    async with processes(url, tmp_path, playbook(guards=rules), settings) as engines:
        first = engines[0]
        await first.cells.prepare(*TARGETS)
        await first.fire(*TARGETS, service=None)
        await first.intake()
        for incident in await first.rows("select id from incidents"):
            await first.engine.starter.plan_incident(incident["id"])
        waiting = [row["id"] for row in await first.rows("select id from runs")]
        assert len(waiting) == len(TARGETS)
        order = random.Random(1)
        starts = [e.engine.starter.start_run(i) for e in engines for i in order.sample(waiting, len(waiting))]
        await asyncio.gather(*starts)
        runs = await first.rows("select status, reason from runs")
    held = [r for r in runs if r["status"] == "held"]
    assert len(runs) - len(held) == ALLOWED
    assert all(f"{guard}: " in r["reason"] for r in held)


@contextlib.asynccontextmanager
async def processes(
    url: str, folder: Path, document: dict[str, Any], settings: Settings
) -> AsyncIterator[list[Workshop]]:
    """Engines on one database, each with a pool of its own."""
    playbooks = folder / "playbooks"
    playbooks.mkdir()
    (playbooks / "0.yaml").write_text(json.dumps(document))
    async with contextlib.AsyncExitStack() as stack:
        engines: list[Workshop] = []
        for _ in range(PROCESSES):
            pool = await open_pool(url, max_size=6)
            stack.push_async_callback(close_pool, pool)
            cells = Cells(pool)
            shared = {"folder": folder, "playbooks": playbooks, "settings": settings, "cells": cells}
            engines.append(open_workshop(pool, actions=cells.registry(), **shared))  # type: ignore[arg-type]
        yield engines
