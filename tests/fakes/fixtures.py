"""The stand-ins as fixtures; a conftest takes them in with ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from .pagerduty import FakePagerDuty
from .slack import FakeSlack


@pytest_asyncio.fixture
async def fake_slack() -> AsyncIterator[FakeSlack]:
    """Give a Slack workspace of this test's own, on the machine's clock."""
    async with FakeSlack() as slack:
        yield slack


@pytest_asyncio.fixture
async def fake_pagerduty() -> AsyncIterator[FakePagerDuty]:
    """Give a PagerDuty integration of this test's own, on the machine's clock."""
    async with FakePagerDuty() as pagerduty:
        yield pagerduty
