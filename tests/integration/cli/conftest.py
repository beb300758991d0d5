"""A desk for each test: the command line as a process of its own, on the database that an engine works on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import open_pool
from hdr_responder.settings import Settings
from tests.fakes.fixtures import fake_slack
from tests.integration.engine.workshop import Workshop, open_workshop
from tests.integration.pools import close_pool
from tests.integration.store.conftest import store_url
from tests.unit.cli.command_line import Ended, run_process

__all__ = ["fake_slack", "store_url"]

PERSON = "anna@example.com"


@dataclasses.dataclass
class Desk:
    """The command line and the engine behind the same database."""

    url: str
    home: Path
    workshop: Workshop
    store: PostgresStore

    async def receive(self, *names: str) -> None:
        """Let the engine do all that recorded deliveries cause."""
        await self.workshop.receive(*names)
        await self.workshop.intake()
        await self.workshop.settle()

    def run(self, *arguments: str, **variables: str) -> Ended:
        known = {
            "HDR_DATABASE__URL": self.url,
            "HDR_DATABASE__DATA_DIR": str(self.home),
            "HDR_USER": PERSON,
            "HDR_ENVIRONMENT": "staging",
        }
        return run_process(self.home, *arguments, variables=known | variables)

    def told(self, *arguments: str, **variables: str) -> str:
        """Return what a command printed that must succeed without a word on standard error."""
        ended = self.run(*arguments, **variables)
        assert (ended.code, ended.err) == (0, ""), ended
        return ended.out

    def asked(self, *arguments: str) -> Any:
        """Return the JSON that a command printed."""
        return json.loads(self.told(*arguments, "--json"))


@pytest.fixture
async def desk(store_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk on an empty database, in an environment where every run needs approval."""
    pool = await open_pool(store_url)
    workshop = open_workshop(pool, folder=tmp_path, settings=Settings(environment="staging"))
    yield Desk(url=store_url, home=tmp_path, workshop=workshop, store=PostgresStore(pool))
    await close_pool(pool)
