"""The fixtures give servers that are up, each test its own."""

from __future__ import annotations

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes import FakePagerDuty, FakeSlack


@pytest.mark.parametrize("_again", [1, 2])
async def test_fixtures_serve(fake_slack: FakeSlack, fake_pagerduty: FakePagerDuty, _again: int) -> None:
    client = AsyncWebClient(token=fake_slack.bot_token, base_url=fake_slack.url)
    await client.chat_postMessage(channel=fake_slack.channel.id, text="x")
    event = {"routing_key": fake_pagerduty.routing_key, "event_action": "resolve", "dedup_key": "x"}
    async with aiohttp.ClientSession() as session, session.post(fake_pagerduty.events_url, json=event) as response:
        assert response.status == 202
    assert (len(fake_slack.messages()), len(fake_pagerduty.dropped)) == (1, 1)
