"""The stand-in for Slack, called through slack_sdk as the product calls it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncServerErrorRetryHandler
from slack_sdk.models.blocks import HeaderBlock, SectionBlock
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes import FakeSlack, ManualClock, SlackLimits


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def slack(clock: ManualClock) -> AsyncIterator[FakeSlack]:
    async with FakeSlack(clock=clock) as server:
        yield server


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    return AsyncWebClient(token=slack.bot_token, base_url=slack.url, retry_handlers=[], timeout=5)


async def refusal(call: Any) -> dict[str, Any]:
    with pytest.raises(SlackApiError) as caught:
        await call
    return dict(caught.value.response.data) | {"status": caught.value.response.status_code}


def section(text: str, **extra: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}} | extra


def button(**extra: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": "ack", "text": {"type": "plain_text", "text": "Ack"}} | extra


def actions(*elements: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)} | extra


async def test_auth_test_names_the_bot(slack: FakeSlack, client: AsyncWebClient) -> None:
    answer = await client.auth_test()
    assert answer["user_id"].startswith("U")
    assert answer["bot_id"].startswith("B")


@pytest.mark.parametrize(("token", "error"), [(None, "not_authed"), ("xoxb-wrong", "invalid_auth")])
async def test_token_is_checked(slack: FakeSlack, token: str | None, error: str) -> None:
    stranger = AsyncWebClient(token=token, base_url=slack.url)
    assert (await refusal(stranger.auth_test()))["error"] == error


async def test_revoked_token_is_refused_and_never_recorded(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.switches.token_revoked = True
    assert (await refusal(client.auth_test()))["error"] == "token_revoked"
    assert slack.bot_token not in repr(slack.calls)


async def test_message_is_posted_updated_and_threaded(slack: FakeSlack, client: AsyncWebClient) -> None:
    posted = await client.chat_postMessage(
        channel=slack.channel.id, text="INC-1", blocks=[HeaderBlock(text="INC-1"), SectionBlock(text="triggered")]
    )
    reply = await client.chat_postMessage(channel="#incidents", text="detail", thread_ts=posted["ts"])
    await client.chat_update(channel=slack.channel.id, ts=posted["ts"], text="INC-1 resolved")

    (root,) = slack.top_level()
    assert (root.text, root.edits, root.blocks[0]["type"]) == ("INC-1 resolved", 1, "header")
    assert [m.ts for m in slack.thread(root)] == [reply["ts"]]
    assert [m.ts for m in slack.messages("incidents")] == [posted["ts"], reply["ts"]]


async def test_form_encoded_bodies_are_read(slack: FakeSlack, client: AsyncWebClient) -> None:
    fields = {"channel": slack.channel.id, "text": "hi", "blocks": json.dumps([section("hello")])}
    await client.api_call("chat.postMessage", data=fields)
    assert slack.messages()[0].blocks == [section("hello")]


async def test_channel_and_membership_are_checked(slack: FakeSlack, client: AsyncWebClient) -> None:
    elsewhere = slack.add_channel("elsewhere", bot_is_member=False)
    secret = slack.add_channel("secret", bot_is_member=False, is_private=True)
    post = client.chat_postMessage
    assert (await refusal(post(channel="C0NOWHERE", text="x")))["error"] == "channel_not_found"
    assert (await refusal(post(channel=elsewhere.id, text="x")))["error"] == "not_in_channel"
    assert (await refusal(post(channel=secret.id, text="x")))["error"] == "channel_not_found"
    await client.conversations_join(channel=elsewhere.id)
    await post(channel=elsewhere.id, text="x")
    elsewhere.is_archived = True
    assert (await refusal(post(channel=elsewhere.id, text="x")))["error"] == "is_archived"


async def test_text_is_needed_and_bounded(slack: FakeSlack, client: AsyncWebClient) -> None:
    post = client.chat_postMessage
    empty = client.api_call("chat.postMessage", json={"channel": slack.channel.id, "text": ""})
    assert (await refusal(empty))["error"] == "no_text"
    assert (await refusal(post(channel=slack.channel.id, text="x" * 40_001)))["error"] == "msg_too_long"
    await post(channel=slack.channel.id, text="x" * 40_000)


TOO_MUCH: list[tuple[str, list[dict[str, Any]], str]] = [
    ("blocks", [{"type": "divider"}] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
    ("text", [section("x" * 3001)], "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
    ("empty", [section("")], "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
    (
        "fields",
        [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}],
        "no more than 10 items allowed [json-pointer:/blocks/0/fields]",
    ),
    (
        "field",
        [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}],
        "must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]",
    ),
    (
        "header",
        [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
        "must be less than 151 characters [json-pointer:/blocks/0/text/text]",
    ),
    (
        "header-markup",
        [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
        "must be one of plain_text [json-pointer:/blocks/0/text/type]",
    ),
    (
        "button-text",
        [actions(button(text={"type": "plain_text", "text": "x" * 76}))],
        "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
    ),
    (
        "button-value",
        [actions(button(value="x" * 2001))],
        "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
    ),
    (
        "elements",
        [actions(*(button(action_id=f"a{n}") for n in range(26)))],
        "no more than 25 items allowed [json-pointer:/blocks/0/elements]",
    ),
    (
        "context",
        [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}],
        "no more than 10 items allowed [json-pointer:/blocks/0/elements]",
    ),
    (
        "action-id",
        [actions(button(action_id="x" * 256))],
        "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]",
    ),
    (
        "block-id",
        [section("x", block_id="x" * 256)],
        "must be less than 256 characters [json-pointer:/blocks/0/block_id]",
    ),
    (
        "block-id-twice",
        [section("x", block_id="b"), section("y", block_id="b")],
        "`block_id` must be unique: b [json-pointer:/blocks/1/block_id]",
    ),
    (
        "action-id-twice",
        [actions(button(), button())],
        "`action_id` must be unique: ack [json-pointer:/blocks/0/elements/1/action_id]",
    ),
    ("unknown-block", [{"type": "blink"}], "unsupported type: blink [json-pointer:/blocks/0/type]"),
    ("extra", [section("x", colour="red")], "invalid additional property: colour [json-pointer:/blocks/0]"),
]


@pytest.mark.parametrize(("blocks", "message"), [case[1:] for case in TOO_MUCH], ids=[case[0] for case in TOO_MUCH])
async def test_blocks_beyond_the_limits_are_refused(
    slack: FakeSlack, client: AsyncWebClient, blocks: list[dict[str, Any]], message: str
) -> None:
    answer = await refusal(client.chat_postMessage(channel=slack.channel.id, text="x", blocks=blocks))
    assert answer["error"] == "invalid_blocks"
    assert answer["response_metadata"]["messages"] == [f"[ERROR] {message}"]
    assert slack.messages() == []


async def test_blocks_at_the_limits_are_taken(slack: FakeSlack, client: AsyncWebClient) -> None:
    full = [
        {"type": "header", "text": {"type": "plain_text", "text": "x" * 150}},
        section("x" * 3000, block_id="x" * 255),
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 10},
        actions(*(button(action_id=f"a{n}", value="x" * 2000, style="danger") for n in range(25))),
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 10},
        *[{"type": "divider"}] * 45,
    ]
    await client.chat_postMessage(channel=slack.channel.id, text="x", blocks=full)


async def test_all_text_of_a_message_together_is_bounded(slack: FakeSlack, client: AsyncWebClient) -> None:
    blocks = [section("x" * 2640)] * 5
    await client.chat_postMessage(channel=slack.channel.id, text="x", blocks=blocks)
    answer = await refusal(client.chat_postMessage(channel=slack.channel.id, text="x", blocks=[*blocks, section("x")]))
    assert answer["error"] == "msg_blocks_too_long"


async def test_posts_are_limited_per_channel(slack: FakeSlack, client: AsyncWebClient, clock: ManualClock) -> None:
    other = slack.add_channel("other")
    for _ in range(3):
        await client.chat_postMessage(channel=slack.channel.id, text="x")
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=slack.channel.id, text="x")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "1"
    await client.chat_postMessage(channel=other.id, text="x")
    clock.advance(1)
    await client.chat_postMessage(channel=slack.channel.id, text="x")
    assert len(slack.messages()) == 4


async def test_updates_are_limited_per_minute(clock: ManualClock) -> None:
    async with FakeSlack(clock=clock, limits=SlackLimits(updates_per_minute=2)) as slack:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.url)
        ts = (await client.chat_postMessage(channel=slack.channel.id, text="x"))["ts"]
        for text in ("y", "z"):
            await client.chat_update(channel=slack.channel.id, ts=ts, text=text)
        with pytest.raises(SlackApiError) as caught:
            await client.chat_update(channel=slack.channel.id, ts=ts, text="w")
        assert caught.value.response.headers["Retry-After"] == "60"
        clock.advance(60)
        await client.chat_update(channel=slack.channel.id, ts=ts, text="w")
        assert slack.messages()[0].edits == 3


async def test_updates_that_slack_refuses(slack: FakeSlack, client: AsyncWebClient) -> None:
    said = slack.say("hello", user=slack.alice)
    ts = (await client.chat_postMessage(channel=slack.channel.id, text="x"))["ts"]
    update = client.chat_update
    there = slack.channel.id
    assert (await refusal(update(channel=there, ts="1.000001", text="x")))["error"] == "message_not_found"
    assert (await refusal(update(channel=there, ts=said.ts, text="x")))["error"] == "cant_update_message"
    assert (await refusal(update(channel="#incidents", ts=ts, text="x")))["error"] == "channel_not_found"
    assert (await refusal(update(channel=there, ts=ts, text="x" * 4001)))["error"] == "msg_too_long"
    slack.switches.edit_window_closed = True
    assert (await refusal(update(channel=there, ts=ts, text="x")))["error"] == "edit_window_closed"
    assert [m.text for m in slack.messages()] == ["hello", "x"]


async def test_threads_must_exist(slack: FakeSlack, client: AsyncWebClient) -> None:
    post = client.chat_postMessage
    gone = await refusal(post(channel=slack.channel.id, text="x", thread_ts="1700000000.000001"))
    assert gone["error"] == "thread_not_found"
    junk = await refusal(post(channel=slack.channel.id, text="x", thread_ts="soon"))
    assert junk["error"] == "invalid_thread_ts"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<!channel>", "channel"),
        ("<!here|here>", "here"),
        ("<!everyone>", "everyone"),
        ("<@U012AB3CD>", "user"),
        ("<!subteam^S012AB3CD>", "subteam"),
    ],
)
async def test_pings_are_found_wherever_they_are(
    slack: FakeSlack, client: AsyncWebClient, text: str, kind: str
) -> None:
    ts = (await client.chat_postMessage(channel=slack.channel.id, text=f"a {text}"))["ts"]
    blocks = [section("ok"), {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}]
    await client.chat_update(channel=slack.channel.id, ts=ts, text="ok", blocks=blocks)
    assert [(p.kind, p.where, p.method) for p in slack.pings] == [
        (kind, "/text", "chat.postMessage"),
        (kind, "/blocks/1/elements/0/text", "chat.update"),
    ]


async def test_escaped_and_plain_text_pings_nobody(slack: FakeSlack, client: AsyncWebClient) -> None:
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "<!channel>"}},
        section("&lt;!channel&gt; @here"),
        actions(button(value="<!channel>")),
    ]
    await client.chat_postMessage(channel=slack.channel.id, text="&lt;@U012AB3CD&gt; @channel", blocks=blocks)
    assert slack.pings == []
    await client.chat_postMessage(channel=slack.channel.id, text="@channel", link_names=True)
    assert [p.kind for p in slack.pings] == ["channel"]


async def test_failures_on_order(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.fail_next("auth.test", status=500)
    slack.fail_next("auth.test", retry_after=7)
    slack.fail_next("auth.test", error="internal_error")
    assert (await refusal(client.auth_test()))["status"] == 500
    assert (await refusal(client.auth_test()))["status"] == 429
    assert (await refusal(client.auth_test()))["error"] == "internal_error"
    assert (await client.auth_test())["ok"]
    assert [call.status for call in slack.calls_to("auth.test")] == [500, 429, 200, 200]


async def test_sdk_retries_a_server_error(slack: FakeSlack) -> None:
    client = AsyncWebClient(token=slack.bot_token, base_url=slack.url, retry_handlers=[AsyncServerErrorRetryHandler()])
    slack.fail_next("auth.test", status=503)
    assert (await client.auth_test())["ok"]


async def test_dropped_answer_leaves_the_message_posted(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.fail_next("chat.postMessage", drop_connection=True)
    slack.fail_next("chat.postMessage", drop_connection=True, after_effect=True)
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel=slack.channel.id, text="lost before")
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel=slack.channel.id, text="lost after")
    assert [m.text for m in slack.messages()] == ["lost after"]


async def test_held_answer_comes_when_released(slack: FakeSlack, client: AsyncWebClient) -> None:
    release = asyncio.Event()
    slack.fail_next("chat.postMessage", hold=release)
    posting = asyncio.create_task(client.chat_postMessage(channel=slack.channel.id, text="x"))
    (call,) = await slack.wait_for_calls("chat.postMessage")
    assert call.status is None
    assert slack.messages() == []
    release.set()
    await posting
    assert call.succeeded


async def test_stop_does_not_wait_for_held_calls(clock: ManualClock) -> None:
    slack = await FakeSlack.start(clock=clock)
    client = AsyncWebClient(token=slack.bot_token, base_url=slack.url, retry_handlers=[])
    slack.fail_next(hold=asyncio.Event())
    calling = asyncio.create_task(client.auth_test())
    await slack.wait_for_calls("auth.test")
    async with asyncio.timeout(3):
        await slack.stop()
    with pytest.raises(aiohttp.ClientError):
        await calling


async def test_ephemeral_messages_are_seen_by_one(slack: FakeSlack, client: AsyncWebClient) -> None:
    bob = slack.add_user("bob")
    ts = (await client.chat_postEphemeral(channel=slack.channel.id, user=slack.alice.id, text="psst"))["message_ts"]
    assert [m.text for m in slack.ephemerals(slack.alice)] == ["psst"]
    assert (slack.messages(), slack.ephemerals(bob)) == ([], [])
    update = client.chat_update(channel=slack.channel.id, ts=ts, text="x")
    assert (await refusal(update))["error"] == "message_not_found"
    outsider = client.chat_postEphemeral(channel=slack.channel.id, user=bob.id, text="x")
    assert (await refusal(outsider))["error"] == "user_not_in_channel"


async def test_file_goes_through_the_three_steps(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = (await client.chat_postMessage(channel=slack.channel.id, text="INC-1"))["ts"]
    await client.files_upload_v2(
        filename="logs.txt", content="line\n", channel=slack.channel.id, thread_ts=root, initial_comment="logs"
    )
    (file,) = slack.files
    assert (file.name, file.content, file.thread_ts) == ("logs.txt", b"line\n", root)
    (shared,) = slack.thread(slack.top_level()[0])
    assert (shared.files, shared.text) == ([file.id], "logs")
    again = client.files_completeUploadExternal(files=[{"id": file.id, "title": "x"}])
    assert (await refusal(again))["error"] == "file_not_found"


async def test_people_and_channels_can_be_looked_up(slack: FakeSlack, client: AsyncWebClient) -> None:
    found = await client.users_lookupByEmail(email="Alice@example.com")
    assert found["user"]["id"] == slack.alice.id
    assert (await refusal(client.users_lookupByEmail(email="x@example.com")))["error"] == "users_not_found"
    assert (await client.users_info(user=slack.alice.id))["user"]["name"] == "alice"
    slack.add_channel("other")
    names = []
    async for page in await client.conversations_list(limit=1):
        names += [channel["name"] for channel in page["channels"]]
    assert names == ["incidents", "other"]


async def test_reactions_history_and_replies(slack: FakeSlack, client: AsyncWebClient) -> None:
    there = slack.channel.id
    first = (await client.chat_postMessage(channel=there, text="1"))["ts"]
    await client.chat_postMessage(channel=there, text="1a", thread_ts=first)
    second = (await client.chat_postMessage(channel=there, text="2"))["ts"]
    await client.reactions_add(channel=there, name="eyes", timestamp=first)
    again = client.reactions_add(channel=there, name="eyes", timestamp=first)
    assert (await refusal(again))["error"] == "already_reacted"
    assert [m["ts"] for m in (await client.conversations_history(channel=there))["messages"]] == [second, first]
    newer = await client.conversations_history(channel=there, oldest=first)
    assert [m["ts"] for m in newer["messages"]] == [second]
    replies = await client.conversations_replies(channel=there, ts=first)
    assert [m["text"] for m in replies["messages"]] == ["1", "1a"]


async def test_trigger_opens_one_modal_within_three_seconds(
    slack: FakeSlack, client: AsyncWebClient, clock: ManualClock
) -> None:
    view = {"type": "modal", "title": {"type": "plain_text", "text": "Update"}, "blocks": [section("x")]}
    trigger = slack.workspace.issue_trigger(slack.alice.id).id
    late = slack.workspace.issue_trigger(slack.alice.id).id
    await client.views_open(trigger_id=trigger, view=view)
    assert slack.views[0].user == slack.alice.id
    assert (await refusal(client.views_open(trigger_id=trigger, view=view)))["error"] == "exchanged_trigger_id"
    long_title = view | {"title": {"type": "plain_text", "text": "x" * 25}}
    assert (await refusal(client.views_open(trigger_id=late, view=long_title)))["error"] == "invalid_arguments"
    clock.advance(3)
    assert (await refusal(client.views_open(trigger_id=late, view=view)))["error"] == "expired_trigger_id"


async def test_unreadable_bodies_and_unknown_methods(slack: FakeSlack, client: AsyncWebClient) -> None:
    headers = {"Authorization": f"Bearer {slack.bot_token}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(slack.url + "chat.postMessage", data=b"{", headers=headers) as response,
    ):
        assert await response.json() == {"ok": False, "error": "invalid_json"}
    assert (await refusal(client.api_call("chat.shout")))["error"] == "unknown_method"
    bad = client.chat_postMessage(channel=slack.channel.id, text="x", blocks="[")
    assert (await refusal(bad))["error"] == "invalid_blocks_format"
