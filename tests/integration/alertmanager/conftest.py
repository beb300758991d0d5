"""One Alertmanager for all tests, which inhibits what is marked as a symptom."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from hdr_responder.adapters.alertmanager import Alertmanager
from hdr_responder.domain.clock import SystemClock
from tests.integration.alertmanager.desk import Desk
from tests.services.alertmanager import Alertmanager as Server
from tests.services.alertmanager import run_alertmanager

CONFIG = json.dumps(
    {
        "route": {"receiver": "nobody", "group_wait": "100ms"},
        "receivers": [{"name": "nobody"}],
        "inhibit_rules": [
            {"source_matchers": ["alertname=Cause"], "target_matchers": ["alertname=Symptom"], "equal": ["case"]}
        ],
    }
)


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    with run_alertmanager(CONFIG) as started:
        yield started


@pytest.fixture
async def desk(_server: Server) -> AsyncIterator[Desk]:
    client = Alertmanager([_server.url], SystemClock(), settle=timedelta())
    yield Desk(_server, client)
    await client.close()
