"""What Slack sends, signed, repeated, forged and late, against the inbound side as it is mounted."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from hdr_responder.adapters.rate_limits import RateLimits
from hdr_responder.adapters.slack import SlackSender
from hdr_responder.domain.notifications import NotificationKind
from hdr_responder.domain.runs import RunStatus
from hdr_responder.errors import AdapterError, UnavailableError
from tests.fakes import Delivery, FakeSlack, Message
from tests.unit.people.builders import hostile_record, make_notification, make_run
from tests.unit.slack.workspace import INC, Desk, access_to, make_inbound, serving


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest_asyncio.fixture
async def app_url(fake_slack: FakeSlack, desk: Desk) -> AsyncIterator[str]:
    async with serving(make_inbound(access_to(fake_slack), desk)) as url:
        yield url


async def post_card(slack: FakeSlack, desk: Desk) -> Message:
    sender = SlackSender(access_to(slack), RateLimits())
    await sender.send(make_notification(NotificationKind.CARD), desk.records[INC], None)
    await sender.close()
    return slack.top_level()[-1]


def alice(slack: FakeSlack) -> str:
    return f"alice (slack:{slack.alice.id})"


async def test_buttons_act_in_the_persons_name(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    card = await post_card(fake_slack, desk)
    assert (await fake_slack.click(app_url, action_id="hdr_ack", message=card)).status == 200
    assert (await fake_slack.click(app_url, action_id="hdr_resolve", message=card)).status == 200
    who = alice(fake_slack)
    assert desk.changes == [("acknowledge", INC, who), ("resolve", INC, who, None)]
    assert fake_slack.calls_to("response_url") == []


@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_approval_buttons(fake_slack: FakeSlack, desk: Desk, app_url: str, decision: str) -> None:
    run = desk.add_run(make_run(RunStatus.AWAITING_APPROVAL))
    card = await post_card(fake_slack, desk)
    await fake_slack.click(app_url, action_id=f"hdr_{decision}", message=card)
    assert desk.changes == [(decision, run.id, alice(fake_slack))]


async def test_double_click_acts_once(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    desk.add_run(make_run(RunStatus.AWAITING_APPROVAL))
    card = await post_card(fake_slack, desk)
    for action in ("hdr_ack", "hdr_approve"):
        await asyncio.gather(*(fake_slack.click(app_url, action_id=action, message=card) for _ in range(2)))
    assert [c[0] for c in desk.changes] == ["acknowledge", "approve"]
    assert fake_slack.calls_to("response_url") == []


async def test_second_person_is_told_who_was_first(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    bob = fake_slack.add_user("bob")
    card = await post_card(fake_slack, desk)
    await fake_slack.click(app_url, action_id="hdr_ack", message=card)
    await fake_slack.click(app_url, action_id="hdr_ack", message=card, user=bob)
    await fake_slack.wait_for_calls("response_url")
    await fake_slack.wait_until(lambda: bool(fake_slack.ephemerals(bob)))
    assert [m.text for m in fake_slack.ephemerals(bob)] == ["INC-142 had been acknowledged by alice before."]


async def test_refusals_are_told_to_the_person_alone(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    desk.add_run(make_run(RunStatus.EXPIRED))
    card = await post_card(fake_slack, desk)
    stale: dict[str, Any] = {"text": {"type": "plain_text", "text": "Approve"}}
    for value in (str(uuid.UUID(int=7)), "junk"):
        await fake_slack.click(app_url, action_id="hdr_approve", message=card, value=value, stale_element=stale)
    await fake_slack.wait_until(lambda: len(fake_slack.ephemerals(fake_slack.alice)) == 2)
    told = {m.text for m in fake_slack.ephemerals(fake_slack.alice)}
    assert any("is expired" in text for text in told)
    assert any("is not a run's id" in text for text in told)
    assert desk.changes == []


async def test_unknown_button_is_told(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    card = await post_card(fake_slack, desk)
    await fake_slack.click(app_url, action_id="hdr_old", message=card, value="INC-142", stale_element={})
    await fake_slack.wait_until(lambda: bool(fake_slack.ephemerals()))
    assert "older version" in fake_slack.ephemerals()[0].text


async def test_database_out_of_reach_is_told_and_a_second_try_works(
    fake_slack: FakeSlack, desk: Desk, app_url: str
) -> None:
    card = await post_card(fake_slack, desk)
    desk.failure = UnavailableError("postgresql://user:secret@db cannot be reached")
    assert (await fake_slack.click(app_url, action_id="hdr_ack", message=card)).status == 200
    await fake_slack.wait_until(lambda: bool(fake_slack.ephemerals()))
    said = (await fake_slack.command(app_url, "/incident", "ack INC-142")).json()
    for text in (fake_slack.ephemerals()[0].text, said["text"]):
        assert text == "Not done: the database cannot be reached just now. Please try again."
    assert said["response_type"] == "ephemeral"
    desk.failure = None
    await fake_slack.click(app_url, action_id="hdr_ack", message=card)
    assert [c[0] for c in desk.changes] == ["acknowledge"]


async def test_defect_is_told_without_its_details(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    desk.failure = AdapterError("inner detail")
    said = (await fake_slack.command(app_url, "/incident", "ack INC-142")).json()
    assert "defect" in said["text"]
    assert "inner detail" not in said["text"]


async def test_slow_database_is_answered_within_slacks_time(
    fake_slack: FakeSlack, desk: Desk, app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdr_responder.adapters.slack.inbound.ANSWER_SECONDS", 0.05)
    never = asyncio.Event()

    async def stall(key: str) -> bool:
        await never.wait()
        return True

    desk.first_time = stall  # type: ignore[method-assign]
    async with serving(make_inbound(access_to(fake_slack), desk)) as url:
        said = (await fake_slack.command(url, "/incident", "ack INC-142")).json()
    assert "not known whether this was done" in said["text"]


async def test_commands_answer_changes_publicly_and_reads_privately(
    fake_slack: FakeSlack, desk: Desk, app_url: str
) -> None:
    public = (await fake_slack.command(app_url, "/incident", "note INC-142 a <b> & c")).json()
    assert (public["response_type"], public["text"]) == ("in_channel", "INC-142 noted by alice: a &lt;b&gt; &amp; c")
    assert desk.changes == [("note", INC, alice(fake_slack), "a <b> & c")]
    private = (await fake_slack.command(app_url, "/incident", "show INC-142")).json()
    assert private["response_type"] == "ephemeral"
    assert private["blocks"]
    wrong = (await fake_slack.command(app_url, "/incident", "ack INC-9")).json()
    assert (wrong["response_type"], wrong["text"]) == ("ephemeral", "Not done: there is no INC-9")


async def test_repeated_command_is_done_once(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    body = (
        b"command=%2Fincident&text=note+INC-142+once&user_id=U1&user_name=a&channel_id=C1&team_id=T1&trigger_id=1.2.x"
    )
    form = "application/x-www-form-urlencoded"
    for delivery in (None, Delivery.retry(1)):
        assert (await fake_slack.send(app_url, body, content_type=form, delivery=delivery)).status == 200
    assert len(desk.changes) == 1


async def test_mention_in_the_thread_knows_its_incident(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    card = await post_card(fake_slack, desk)
    desk.threads[(card.channel, card.ts)] = INC
    said = fake_slack.say("x", user=fake_slack.alice, thread_ts=card.ts)
    event = {
        "type": "app_mention",
        "user": fake_slack.alice.id,
        "text": "<@U0FAKEBOT0> note 3 &lt;pods&gt; gone",
        "channel": card.channel,
        "ts": said.ts,
        "thread_ts": card.ts,
    }
    for delivery in (None, Delivery.retry(1), Delivery.retry(2)):
        assert (await fake_slack.event(app_url, event, event_id="Ev1", delivery=delivery)).status == 200
    assert desk.changes == [("note", INC, alice(fake_slack), "3 <pods> gone")]
    await fake_slack.wait_until(lambda: len(fake_slack.thread(card)) == 2)
    assert fake_slack.thread(card)[-1].text == "INC-142 noted by alice: 3 &lt;pods&gt; gone"
    private = event | {"text": "<@U0FAKEBOT0> why"}
    await fake_slack.event(app_url, private)
    await fake_slack.wait_until(lambda: bool(fake_slack.ephemerals(fake_slack.alice)))


async def test_name_that_cannot_be_looked_up_keeps_nobody_from_acting(
    fake_slack: FakeSlack, desk: Desk, app_url: str
) -> None:
    fake_slack.fail_next("users.info", status=500)
    user = fake_slack.alice.id
    event = {
        "type": "app_mention",
        "user": user,
        "text": "<@B> ack INC-142",
        "channel": fake_slack.channel.id,
        "ts": "1.1",
    }
    await fake_slack.event(app_url, event)
    assert desk.changes == [("acknowledge", INC, f"{user} (slack:{user})")]


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery.forged(),
        Delivery.replayed(),
        Delivery.unsigned(),
        Delivery.junk_timestamp(),
        Delivery.junk_timestamp("9" * 5000),
        Delivery.junk_timestamp("-1"),
        Delivery.junk_timestamp("1e9"),
        Delivery(signature="v0=\u00e9"),
        Delivery(age=-400),
    ],
    ids=["forged", "old", "unsigned", "word", "huge", "negative", "float", "non-ascii", "future"],
)
async def test_what_slack_did_not_sign_is_turned_away(
    fake_slack: FakeSlack, desk: Desk, app_url: str, delivery: Delivery
) -> None:
    answer = await fake_slack.command(app_url, "/incident", "ack INC-142", delivery=delivery)
    assert answer.status == 401
    assert answer.json()["title"] == "the signature does not fit"
    assert desk.changes == []


@pytest.mark.parametrize("body", [b"{", b"[1]", b"payload=%7B", b"\xff\xfe", b"", b'"x"', b"payload=%5B1%5D"])
async def test_signed_nonsense_is_no_server_error(fake_slack: FakeSlack, app_url: str, body: bytes) -> None:
    answer = await fake_slack.send(app_url, body)
    assert answer.status < 500


async def test_body_size_is_bounded(fake_slack: FakeSlack, app_url: str) -> None:
    assert (await fake_slack.send(app_url, b"x" * (512 * 1024 + 1))).status == 413


async def test_url_verification_and_unwanted_events(fake_slack: FakeSlack, app_url: str) -> None:
    assert "challenge-7" in (await fake_slack.verify_url(app_url, "challenge-7")).body
    assert (await fake_slack.event(app_url, {"type": "reaction_added", "user": "U1"})).status == 200


async def test_lazy_headers_cannot_reach_into_bolt(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    headers = {"X-Slack-Bolt-Lazy-Only": "1", "X-Slack-Bolt-Lazy-Function-Name": "x"}
    async with aiohttp.ClientSession() as session, session.post(f"{app_url}/slack/events", headers=headers) as answer:
        assert answer.status == 401


async def test_unanswered_people_do_not_stop_the_service(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    card = await post_card(fake_slack, desk)
    fake_slack.fail_next("response_url", status=500)
    await fake_slack.click(app_url, action_id="hdr_approve", message=card, value="junk", stale_element={})
    await fake_slack.wait_for_calls("response_url")
    assert (await fake_slack.click(app_url, action_id="hdr_ack", message=card)).status == 200


async def test_nothing_hostile_pings(fake_slack: FakeSlack, desk: Desk, app_url: str) -> None:
    desk.records[INC] = hostile_record()
    for text in ("list", "show INC-142", "why INC-142", "note INC-142 <!channel> <@U0FAKEBOT0>", "ack <!here>"):
        answer = await fake_slack.command(app_url, "/incident", text)
        assert answer.status == 200
        assert "<!channel" not in answer.body
        assert "<!here" not in answer.body
        json.loads(answer.body)


async def test_without_a_signing_secret_nothing_is_mounted(fake_slack: FakeSlack, desk: Desk) -> None:
    inbound = make_inbound(access_to(fake_slack, signing_secret=None), desk)
    assert inbound.routes() == []
    await inbound.start()
    await inbound.stop()
