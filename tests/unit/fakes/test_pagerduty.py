"""The stand-in for PagerDuty: what it takes, what it refuses, what becomes of alerts."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.fakes import AlertState, DeadlineMissedError, FakePagerDuty, ManualClock, WebhookOptions


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def pagerduty(clock: ManualClock) -> AsyncIterator[FakePagerDuty]:
    async with FakePagerDuty(clock=clock) as server:
        yield server


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        yield http


def trigger(pagerduty: FakePagerDuty, **changes: Any) -> dict[str, Any]:
    payload = {"summary": "disk full", "source": "db-1", "severity": "critical"} | changes.pop("payload", {})
    event = {
        "routing_key": pagerduty.routing_key,
        "event_action": "trigger",
        "dedup_key": "INC-1",
        "payload": payload,
    }
    return event | changes


def follow_up(pagerduty: FakePagerDuty, action: str, key: str = "INC-1") -> dict[str, Any]:
    return {"routing_key": pagerduty.routing_key, "event_action": action, "dedup_key": key}


async def send(session: aiohttp.ClientSession, url: str, event: Any) -> tuple[int, dict[str, Any]]:
    async with session.post(url, json=event) as response:
        return response.status, await response.json()


async def test_alert_lives_from_trigger_to_resolve(pagerduty: FakePagerDuty, session: aiohttp.ClientSession) -> None:
    url = pagerduty.events_url
    status, body = await send(session, url, trigger(pagerduty))
    assert (status, body) == (202, {"status": "success", "message": "Event processed", "dedup_key": "INC-1"})
    await send(session, url, trigger(pagerduty))
    alert = pagerduty.open_alert("INC-1")
    assert alert is not None
    assert (alert.state, alert.triggers, alert.severity) == (AlertState.TRIGGERED, 2, "critical")
    await send(session, url, follow_up(pagerduty, "acknowledge"))
    assert alert.state == AlertState.ACKNOWLEDGED
    await send(session, url, follow_up(pagerduty, "resolve"))
    assert pagerduty.open_alerts() == []


async def test_trigger_after_resolve_opens_a_new_alert(
    pagerduty: FakePagerDuty, session: aiohttp.ClientSession
) -> None:
    for event in (trigger(pagerduty), follow_up(pagerduty, "resolve"), trigger(pagerduty)):
        await send(session, pagerduty.events_url, event)
    states = [alert.state for alert in pagerduty.alerts_for("INC-1")]
    assert states == [AlertState.RESOLVED, AlertState.TRIGGERED]


async def test_follow_up_without_open_alert_is_dropped_silently(
    pagerduty: FakePagerDuty, session: aiohttp.ClientSession
) -> None:
    for action in ("acknowledge", "resolve"):
        assert (await send(session, pagerduty.events_url, follow_up(pagerduty, action)))[0] == 202
    assert pagerduty.alerts == []
    assert [event["event_action"] for event in pagerduty.dropped] == ["acknowledge", "resolve"]


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("key-length", {"routing_key": "short"}, "Length of 'routing_key'"),
    ("key-missing", {"routing_key": ""}, "'routing_key' is missing"),
    ("key-unknown", {"routing_key": "0" * 32}, "Invalid routing key"),
    ("action", {"event_action": "open"}, "'event_action'"),
    ("dedup-key", {"dedup_key": "x" * 256}, "'dedup_key' is too long"),
    ("summary-missing", {"payload": {"summary": " "}}, "'payload.summary' is missing"),
    ("summary-long", {"payload": {"summary": "x" * 1025}}, "'payload.summary' is too long"),
    ("source", {"payload": {"source": None}}, "'payload.source'"),
    ("severity", {"payload": {"severity": "page"}}, "'payload.severity'"),
    ("timestamp", {"payload": {"timestamp": "now"}}, "'payload.timestamp'"),
    ("links", {"links": [{"text": "x"}]}, "'links'"),
]


@pytest.mark.parametrize(("changes", "error"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID])
async def test_invalid_events_are_refused(
    pagerduty: FakePagerDuty, session: aiohttp.ClientSession, changes: dict[str, Any], error: str
) -> None:
    status, body = await send(session, pagerduty.events_url, trigger(pagerduty, **changes))
    assert (status, body["status"]) == (400, "invalid event")
    assert len(body["errors"]) == 1
    assert body["errors"][0].startswith(error)
    assert pagerduty.alerts == []


async def test_limits_themselves_are_allowed(pagerduty: FakePagerDuty, session: aiohttp.ClientSession) -> None:
    event = trigger(pagerduty, dedup_key="x" * 255, payload={"summary": "x" * 1024})
    assert (await send(session, pagerduty.events_url, event))[0] == 202


async def test_size_and_form_are_checked(pagerduty: FakePagerDuty, session: aiohttp.ClientSession) -> None:
    large = trigger(pagerduty, payload={"custom_details": "x" * (512 * 1024)})
    assert (await send(session, pagerduty.events_url, large))[0] == 413
    assert (await send(session, pagerduty.events_url, ["no", "object"]))[0] == 400
    no_key = {"routing_key": pagerduty.routing_key, "event_action": "resolve"}
    assert (await send(session, pagerduty.events_url, no_key))[0] == 400
    assert (await send(session, pagerduty.events_url, trigger(pagerduty, dedup_key=None)))[1]["dedup_key"]


async def test_calls_are_limited_per_minute(session: aiohttp.ClientSession, clock: ManualClock) -> None:
    async with FakePagerDuty(clock=clock, calls_per_minute=2) as pagerduty:
        statuses = [(await send(session, pagerduty.events_url, trigger(pagerduty)))[0] for _ in range(3)]
        assert statuses == [202, 202, 429]
        clock.advance(60)
        assert (await send(session, pagerduty.events_url, trigger(pagerduty)))[0] == 202


async def test_change_events(pagerduty: FakePagerDuty, session: aiohttp.ClientSession) -> None:
    event = {"routing_key": pagerduty.routing_key, "payload": {"summary": "restarted neural-hdr"}}
    status, body = await send(session, pagerduty.change_events_url, event)
    assert (status, body["message"]) == (202, "Change event processed")
    assert pagerduty.changes == [event]
    assert (await send(session, pagerduty.change_events_url, event | {"payload": {}}))[0] == 400
    assert pagerduty.alerts == []


async def test_failures_on_order(pagerduty: FakePagerDuty, session: aiohttp.ClientSession) -> None:
    url = pagerduty.events_url
    pagerduty.fail_next("enqueue", status=502)
    pagerduty.fail_next("enqueue", retry_after=3)
    pagerduty.fail_next("enqueue", drop_connection=True, after_effect=True)
    async with session.post(url, json=trigger(pagerduty)) as response:
        assert response.status == 502
    async with session.post(url, json=trigger(pagerduty)) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "3")
    assert pagerduty.alerts == []
    with pytest.raises(aiohttp.ClientError):
        await send(session, url, trigger(pagerduty))
    assert len(pagerduty.open_alerts()) == 1


async def test_slow_answer(pagerduty: FakePagerDuty, session: aiohttp.ClientSession) -> None:
    pagerduty.fail_next("enqueue", hold=asyncio.Event(), after_effect=True)
    sending = asyncio.create_task(send(session, pagerduty.events_url, trigger(pagerduty)))
    await pagerduty.wait_until(lambda: bool(pagerduty.alerts))
    assert not sending.done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_webhooks_are_signed_and_bounded_in_time(pagerduty: FakePagerDuty) -> None:
    captured: list[tuple[dict[str, str], bytes, Any]] = []
    stall = asyncio.Event()

    async def keep(request: web.Request) -> web.Response:
        captured.append((dict(request.headers), await request.read(), await request.json()))
        if stall.is_set():
            await asyncio.Event().wait()
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/webhooks/pagerduty", keep)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    url = f"http://{host}:{port}/"
    try:
        rotated = WebhookOptions(secrets=("old", pagerduty.webhook_secret), webhook_id="w-1")
        answer = await pagerduty.webhook(url, "incident.acknowledged", dedup_key="INC-1", options=rotated)
        await pagerduty.webhook(url, "incident.resolved", options=WebhookOptions(signature=""))
        stall.set()
        with pytest.raises(DeadlineMissedError):
            await pagerduty.webhook(url, "incident.resolved", options=WebhookOptions(deadline=0.05))
    finally:
        await runner.cleanup()
    headers, raw, body = captured[0]
    expected = [hmac.new(k.encode(), raw, hashlib.sha256).hexdigest() for k in ("old", pagerduty.webhook_secret)]
    assert answer.status == 202
    assert headers["X-PagerDuty-Signature"] == ",".join(f"v1={digest}" for digest in expected)
    assert headers["X-Webhook-Id"] == "w-1"
    assert (body["event"]["data"]["incident_key"], body["event"]["data"]["status"]) == ("INC-1", "acknowledged")
    assert "X-PagerDuty-Signature" not in captured[1][0]
