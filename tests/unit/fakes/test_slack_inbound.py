"""Slack's requests to an app, received by Bolt as the product receives them, and answers through ``response_url``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.fakes import DeadlineMissedError, Delivery, FakeSlack, ManualClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/slack/events", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as server:
        yield server


class Seen:
    """What reached Bolt's listeners."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest_asyncio.fixture
async def app_url(slack: FakeSlack, seen: Seen) -> AsyncIterator[str]:
    app = AsyncApp(token=slack.bot_token, signing_secret=slack.signing_secret, process_before_response=True)
    app.client.base_url = slack.url

    async def listen(ack: Any, body: dict[str, Any]) -> None:
        seen.bodies.append(body)
        await ack()

    app.action("ack")(listen)
    app.command("/incident")(listen)
    app.event("app_mention")(listen)
    app.view("note")(listen)

    async def handle(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse = await to_aiohttp_response(
            await app.async_dispatch(await to_bolt_request(request))
        )
        return response

    async with serving(handle) as url:
        yield url


async def post_with_button(slack: FakeSlack) -> Any:
    block = {
        "type": "actions",
        "block_id": "b",
        "elements": [
            {"type": "button", "action_id": "ack", "value": "INC-1", "text": {"type": "plain_text", "text": "Ack"}}
        ],
    }
    message = slack.say("INC-1", user=slack.alice)
    message.blocks = [block]
    return message


async def test_click_reaches_a_listener(slack: FakeSlack, app_url: str, seen: Seen) -> None:
    message = await post_with_button(slack)
    answer = await slack.click(app_url, action_id="ack", message=message)
    assert answer.status == 200
    (body,) = seen.bodies
    (action,) = body["actions"]
    assert (action["value"], action["block_id"]) == ("INC-1", "b")
    assert body["container"]["message_ts"] == body["message"]["ts"] == message.ts
    assert body["user"]["id"] == slack.alice.id


async def test_double_click_is_two_requests(slack: FakeSlack, app_url: str, seen: Seen) -> None:
    message = await post_with_button(slack)
    await asyncio.gather(*(slack.click(app_url, action_id="ack", message=message) for _ in range(2)))
    stamps = {body["actions"][0]["action_ts"] for body in seen.bodies}
    assert len(stamps) == 2


async def test_only_a_button_that_is_there_can_be_pressed(slack: FakeSlack, app_url: str, seen: Seen) -> None:
    message = await post_with_button(slack)
    with pytest.raises(LookupError, match="offers \\['ack'\\]"):
        await slack.click(app_url, action_id="ack", value="INC-2", message=message)
    message.blocks = []
    await slack.click(app_url, action_id="ack", value="INC-9", message=message, stale_element={})
    assert seen.bodies[0]["actions"][0]["value"] == "INC-9"


async def test_command_and_event_reach_listeners(slack: FakeSlack, app_url: str, seen: Seen) -> None:
    bob = slack.add_user("bob")
    assert (await slack.command(app_url, "/incident", "ack INC-1 & <x>", user=bob)).status == 200
    event = {"type": "app_mention", "user": bob.id, "text": "hi", "channel": slack.channel.id, "ts": "1.000001"}
    for delivery in (None, Delivery.retry(1)):
        assert (await slack.event(app_url, event, event_id="Ev1", delivery=delivery)).status == 200
    command, *events = seen.bodies
    assert (command["text"], command["user_id"]) == ("ack INC-1 & <x>", bob.id)
    assert [e["event_id"] for e in events] == ["Ev1", "Ev1"]


async def test_modal_is_submitted(slack: FakeSlack, app_url: str, seen: Seen) -> None:
    trigger = slack.workspace.issue_trigger(slack.alice.id).id
    view = {"type": "modal", "callback_id": "note", "title": {"type": "plain_text", "text": "Note"}, "blocks": []}
    app = AsyncApp(token=slack.bot_token, signing_secret=slack.signing_secret)
    app.client.base_url = slack.url
    await app.client.views_open(trigger_id=trigger, view=view)
    values = {"text": {"text": {"type": "plain_text_input", "value": "restarted"}}}
    assert (await slack.submit(app_url, view=slack.views[0], values=values)).status == 200
    assert seen.bodies[0]["view"]["state"]["values"] == values


@pytest.mark.parametrize(
    "delivery", [Delivery.forged(), Delivery.replayed(), Delivery.unsigned()], ids=["forged", "replayed", "unsigned"]
)
async def test_bolt_turns_away_what_is_not_rightly_signed(
    slack: FakeSlack, app_url: str, seen: Seen, delivery: Delivery
) -> None:
    assert (await slack.command(app_url, "/incident", "list", delivery=delivery)).status == 401
    assert seen.bodies == []


async def test_headers_are_as_asked_for() -> None:
    captured: list[tuple[dict[str, str], bytes]] = []

    async def keep(request: web.Request) -> web.StreamResponse:
        captured.append((dict(request.headers), await request.read()))
        return web.Response(text="challenge-1")

    async with FakeSlack(clock=ManualClock()) as slack, serving(keep) as url:
        await slack.event(url, {"type": "x"}, delivery=Delivery.retry(2, "http_error"))
        await slack.event(url, {"type": "x"}, delivery=Delivery.junk_timestamp())
        answer = await slack.verify_url(url, "challenge-1")
        verifier = SignatureVerifier(slack.signing_secret)
        (retried, body), (junk, _), _ = captured
        signature = verifier.generate_signature(timestamp=retried["X-Slack-Request-Timestamp"], body=body)
    assert retried["X-Slack-Signature"] == signature
    assert int(retried["X-Slack-Request-Timestamp"]) == int(ManualClock().now().timestamp())
    assert (retried["X-Slack-Retry-Num"], retried["X-Slack-Retry-Reason"]) == ("2", "http_error")
    assert junk["X-Slack-Request-Timestamp"] == "yesterday"
    assert answer.body == "challenge-1"


async def test_slow_app_misses_the_deadline(slack: FakeSlack) -> None:
    release = asyncio.Event()

    async def stall(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with serving(stall) as url:
        with pytest.raises(DeadlineMissedError):
            await slack.command(url, "/incident", delivery=Delivery(deadline=0.05))


async def test_response_url_answers_five_times() -> None:
    async with FakeSlack(clock=ManualClock()) as slack:
        hook = AsyncWebhookClient(slack.response_url(slack.channel.id, slack.alice), timeout=5)
        for n in range(5):
            assert (await hook.send(text=f"{n}")).status_code == 200
        refused = await hook.send(text="one too many")
        assert (refused.status_code, "used_url" in refused.body) == (404, True)
        assert [m.text for m in slack.ephemerals(slack.alice)] == ["0", "1", "2", "3", "4"]
        assert len(slack.calls_to("response_url")) == 6


async def test_response_url_ends_after_thirty_minutes() -> None:
    clock = ManualClock()
    async with FakeSlack(clock=clock) as slack:
        hook = AsyncWebhookClient(slack.response_url(slack.channel.id, slack.alice), timeout=5)
        clock.advance(30 * 60)
        assert "expired_url" in (await hook.send(text="late")).body


async def test_response_url_replaces_deletes_and_shows_all() -> None:
    async with FakeSlack(clock=ManualClock()) as slack:
        message = slack.say("original", user=slack.alice)
        hook = AsyncWebhookClient(slack.response_url(slack.channel.id, slack.alice, message), timeout=5)
        await hook.send(text="replaced <!here>", replace_original=True)
        assert (message.text, message.edits) == ("replaced <!here>", 1)
        await hook.send(text="for all", response_type="in_channel")
        await hook.send(delete_original=True)
        assert [m.text for m in slack.messages()] == ["for all"]
        assert [(p.kind, p.method) for p in slack.pings] == [("here", "response_url")]
        assert (await hook.send(text="")).status_code == 400
