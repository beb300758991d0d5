"""The Slack lane against the stand-in that enforces Slack's limits: what people see, and what failures become."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from hdr_responder.adapters.rate_limits import RateLimits
from hdr_responder.adapters.slack import SlackAccess, SlackSender
from hdr_responder.domain.incidents import IncidentStatus
from hdr_responder.domain.notifications import NotificationKind
from hdr_responder.domain.ports.people import Posted
from hdr_responder.domain.ports.store import Message
from hdr_responder.domain.runs import RunStatus, StepStatus, Verification
from hdr_responder.errors import AdapterError, PermanentError, TemporaryError, UnavailableError
from tests.fakes import FakeSlack, SlackLimits
from tests.unit.people.builders import (
    NOW,
    hostile_record,
    make_alert,
    make_incident,
    make_notification,
    make_record,
    make_run,
    make_step,
)

CARD, THREAD, PAGE = NotificationKind.CARD, NotificationKind.THREAD, NotificationKind.PAGE


def access_to(slack: FakeSlack, **changes: object) -> SlackAccess:
    access = SlackAccess(bot_token=slack.bot_token, channel=slack.channel.id, api_url=slack.url, timeout_seconds=5)
    return replace(access, **changes)  # type: ignore[arg-type]


class Unlimited(RateLimits):
    """No limit of our own, where a test is about Slack's."""

    async def take(self, limit: object, key: str) -> None:
        del limit, key


@pytest_asyncio.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack(limits=SlackLimits(posts_per_second=1000, post_burst=1000)) as server:
        yield server


@pytest_asyncio.fixture
async def sender(slack: FakeSlack) -> AsyncIterator[SlackSender]:
    made = SlackSender(access_to(slack), Unlimited())
    yield made
    await made.close()


def shown(slack: FakeSlack) -> str:
    (message,) = slack.top_level()
    return json.dumps(message.blocks, ensure_ascii=False)


def offered(slack: FakeSlack) -> set[str]:
    (message,) = slack.top_level()
    return {e["action_id"] for b in message.blocks if b["type"] == "actions" for e in b["elements"]}


async def test_card_is_posted_once_and_then_edited_in_place(slack: FakeSlack, sender: SlackSender) -> None:
    posted = await sender.send(make_notification(CARD), make_record(), None)
    assert posted.message == Message(channel=slack.channel.id, message_id=slack.top_level()[0].ts)
    resolved = make_incident(status=IncidentStatus.RESOLVED, resolved_by="alice (slack:U1)", resolved_at=NOW)
    again = await sender.send(make_notification(CARD, number=2), make_record(resolved), posted.message)
    assert again.message is None
    assert len(slack.messages()) == 1
    assert "Resolved by alice\\n" in shown(slack)
    assert "slack:U1" not in shown(slack)
    assert offered(slack) == set()


async def test_card_tells_what_one_needs_at_night(slack: FakeSlack, sender: SlackSender) -> None:
    run = make_run(RunStatus.COMPLETED, verification=Verification.FAILED, reason="the rollout got stuck")
    record = make_record(
        make_incident(lower_bound=True, alerts_total=20, alerts_firing=18, episode=2),
        alerts=(make_alert(runbook_url="https://runbooks.example/hdr"),),
        runs=((run, (make_step(run),)),),
    )
    await sender.send(make_notification(CARD), record, None)
    text = shown(slack)
    for expected in (
        "P1 INC-142 neural-hdr: 5xx above 2 %",
        "Triggered, not acknowledged yet",
        "tier 1 service and severity critical (rule customer-facing)",
        "&gt;= 18 firing of &gt;= 20 alerts",
        "restart-workers (auto) completed: the rollout got stuck",
        "1. Restart the workers on Deployment vfx/neural-hdr: done after 1 min 12 s",
        "Verification: it did not help",
        "<https://runbooks.example/hdr|Runbook>",
        "Reopened",
    ):
        assert expected in text, expected
    assert offered(slack) == {"hdr_ack", "hdr_resolve"}


async def test_acknowledged_card_offers_to_resolve_only(slack: FakeSlack, sender: SlackSender) -> None:
    acknowledged = make_incident(status=IncidentStatus.ACKNOWLEDGED, acknowledged_by="bob", acknowledged_at=NOW)
    await sender.send(make_notification(CARD), make_record(acknowledged), None)
    assert "Acknowledged by bob" in shown(slack)
    assert offered(slack) == {"hdr_resolve"}


async def test_run_that_waits_shows_its_plan_and_asks(slack: FakeSlack, sender: SlackSender) -> None:
    run = make_run(RunStatus.AWAITING_APPROVAL)
    await sender.send(make_notification(CARD), make_record(runs=((run, ()),)), None)
    assert offered(slack) == {"hdr_ack", "hdr_resolve", "hdr_approve", "hdr_deny"}
    (message,) = slack.top_level()
    asked = next(b for b in message.blocks if b.get("block_id") == f"hdr_run_{run.id}")
    assert {e["value"] for e in asked["elements"]} == {str(run.id)}
    assert "1. Restart the workers on Deployment vfx/neural-hdr" in shown(slack)
    assert "Refused by cooldown: it ran 3 min ago" in shown(slack)


async def test_hostile_incident_is_accepted_and_pings_nobody(slack: FakeSlack, sender: SlackSender) -> None:
    record = hostile_record()
    posted = await sender.send(make_notification(CARD), record, None)
    assert posted.message is not None
    await sender.send(make_notification(CARD, number=2), record, posted.message)
    await sender.send(make_notification(THREAD, number=3, text=record.incident.title), record, posted.message)
    await sender.send(make_notification(PAGE, number=4, text=record.incident.title), record, posted.message)
    assert [c.error for c in slack.calls if c.error] == []
    assert slack.pings == []
    assert "…" in shown(slack)
    assert "\\u001b" not in json.dumps(slack.top_level()[0].blocks)
    reply, page = slack.thread(slack.top_level()[0])
    assert len(reply.text) <= 3900
    assert page.text.startswith("Needs a person now: INC-142 &lt;!channel&gt;")


@pytest.mark.parametrize("error", ["message_not_found", "cant_update_message", "edit_window_closed"])
async def test_message_that_cannot_be_edited_is_posted_anew(slack: FakeSlack, sender: SlackSender, error: str) -> None:
    first = await sender.send(make_notification(CARD), make_record(), None)
    slack.fail_next("chat.update", error=error)
    second = await sender.send(make_notification(CARD, number=2), make_record(), first.message)
    assert second.message is not None
    assert second.message != first.message
    assert len(slack.top_level()) == 2


async def test_card_moves_when_its_channel_is_gone(slack: FakeSlack, sender: SlackSender) -> None:
    old = Message(channel="C0GONE0000", message_id="1700000000.000001")
    moved = await sender.send(make_notification(CARD), make_record(), old)
    assert moved.message is not None
    assert moved.message.channel == slack.channel.id


async def test_thread_lines_go_to_the_thread(slack: FakeSlack, sender: SlackSender) -> None:
    posted = await sender.send(make_notification(CARD), make_record(), None)
    reply = await sender.send(make_notification(THREAD, number=2, text="a < b\nc"), make_record(), posted.message)
    assert reply.message is None
    assert [m.text for m in slack.thread(slack.top_level()[0])] == ["a &lt; b\nc"]


@pytest.mark.parametrize("gone", [False, True])
async def test_thread_line_without_a_message_posts_the_card_first(
    slack: FakeSlack, sender: SlackSender, gone: bool
) -> None:
    message = Message(channel=slack.channel.id, message_id="1700000000.000001") if gone else None
    posted = await sender.send(make_notification(THREAD, text="restarting"), make_record(), message)
    (card,) = slack.top_level()
    assert posted.message == Message(channel=slack.channel.id, message_id=card.ts)
    assert [m.text for m in slack.thread(card)] == ["restarting"]


async def test_lost_answer_makes_no_second_message(slack: FakeSlack, sender: SlackSender) -> None:
    slack.fail_next("chat.postMessage", drop_connection=True, after_effect=True)
    with pytest.raises(UnavailableError):
        await sender.send(make_notification(CARD), make_record(), None)
    posted = await sender.send(make_notification(CARD, attempts=2), make_record(), None)
    assert posted.message is not None
    assert [m.ts for m in slack.messages()] == [posted.message.message_id]
    slack.fail_next("chat.postMessage", status=503, after_effect=True)
    with pytest.raises(TemporaryError):
        await sender.send(make_notification(THREAD, number=2, text="x"), make_record(), posted.message)
    await sender.send(make_notification(THREAD, number=2, attempts=2, text="x"), make_record(), posted.message)
    assert len(slack.thread(slack.top_level()[0])) == 1


async def test_retry_without_the_right_to_look_posts_again(slack: FakeSlack, sender: SlackSender) -> None:
    slack.fail_next("conversations.history", error="missing_scope")
    await sender.send(make_notification(CARD, attempts=2), make_record(), None)
    assert len(slack.messages()) == 1


@pytest.mark.parametrize("named", [False, True])
async def test_lost_answer_is_looked_for_by_channel_name_too(slack: FakeSlack, named: bool) -> None:
    sender = SlackSender(access_to(slack, channel="#incidents" if named else slack.channel.id), Unlimited())
    slack.fail_next("chat.postMessage", drop_connection=True, after_effect=True)
    with pytest.raises(UnavailableError):
        await sender.send(make_notification(CARD), make_record(), None)
    await sender.send(make_notification(CARD, attempts=2), make_record(), None)
    assert len(slack.messages()) == 1
    await sender.close()


async def test_attempt_that_was_turned_away_is_not_looked_for(slack: FakeSlack, sender: SlackSender) -> None:
    for attempt in (1, 2):
        slack.fail_next("chat.postMessage", retry_after=1)
        with pytest.raises(TemporaryError):
            await sender.send(make_notification(CARD, attempts=attempt), make_record(), None)
    await sender.send(make_notification(CARD, attempts=3), make_record(), None)
    assert {c.method for c in slack.calls} == {"chat.postMessage"}
    slack.fail_next("chat.postMessage", drop_connection=True, after_effect=True)
    with pytest.raises(TemporaryError):
        await sender.send(make_notification(CARD, number=2), make_record(), None)
    slack.fail_next("chat.postMessage", retry_after=1)
    await sender.send(make_notification(CARD, number=2, attempts=2), make_record(), None)
    assert len(slack.messages()) == 2


async def test_half_posted_pair_is_completed(slack: FakeSlack, sender: SlackSender) -> None:
    notification = make_notification(THREAD, text="restarting")
    slack.fail_next("chat.postMessage", delay=0.001)
    slack.fail_next("chat.postMessage", retry_after=1)
    with pytest.raises(TemporaryError):
        await sender.send(notification, make_record(), None)
    again = make_notification(THREAD, attempts=2, text="restarting")
    posted = await sender.send(again, make_record(), None)
    (card,) = slack.top_level()
    assert posted.message == Message(channel=slack.channel.id, message_id=card.ts)
    assert [m.text for m in slack.thread(card)] == ["restarting"]


async def test_slacks_own_limit_is_passed_on(slack: FakeSlack, sender: SlackSender) -> None:
    slack.fail_next("chat.postMessage", retry_after=17)
    with pytest.raises(TemporaryError) as caught:
        await sender.send(make_notification(CARD), make_record(), None)
    assert caught.value.retry_after == 17
    assert len(slack.calls_to("chat.postMessage")) == 1


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 503}, {"drop_connection": True}, {"error": "fatal_error"}]
)
async def test_passing_failures_are_temporary(slack: FakeSlack, sender: SlackSender, fault: dict[str, object]) -> None:
    slack.fail_next("chat.postMessage", **fault)  # type: ignore[arg-type]
    with pytest.raises(TemporaryError):
        await sender.send(make_notification(CARD), make_record(), None)
    assert len(slack.calls_to("chat.postMessage")) == 1


async def test_no_answer_in_time_is_temporary(slack: FakeSlack) -> None:
    sender = SlackSender(access_to(slack, timeout_seconds=0.05), Unlimited())
    slack.fail_next("chat.postMessage", delay=2)
    with pytest.raises(UnavailableError, match="no answer in time"):
        await sender.send(make_notification(CARD), make_record(), None)
    await sender.close()


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("channel_not_found", "HDR_SLACK__CHANNEL"),
        ("not_in_channel", "/invite"),
        ("token_revoked", "HDR_SLACK__BOT_TOKEN"),
        ("invalid_auth", "HDR_SLACK__BOT_TOKEN"),
        ("missing_scope", "slack-manifest.yaml"),
        ("invalid_blocks", "invalid_blocks"),
    ],
)
async def test_lasting_failures_say_what_to_do(slack: FakeSlack, sender: SlackSender, error: str, advice: str) -> None:
    slack.fail_next("chat.postMessage", error=error)
    with pytest.raises(PermanentError, match=advice):
        await sender.send(make_notification(CARD), make_record(), None)


async def test_something_else_than_slack_is_named(slack: FakeSlack) -> None:
    sender = SlackSender(access_to(slack, api_url=slack.url + "nowhere/"), Unlimited())
    with pytest.raises(PermanentError, match="HDR_SLACK__API_URL"):
        await sender.send(make_notification(CARD), make_record(), None)
    await sender.close()


async def test_own_limit_is_one_post_a_second_per_channel(slack: FakeSlack) -> None:
    sender = SlackSender(access_to(slack), RateLimits())
    posted = await sender.send(make_notification(CARD), make_record(), None)
    with pytest.raises(TemporaryError) as caught:
        await sender.send(make_notification(THREAD, number=2, text="x"), make_record(), posted.message)
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 1
    assert len(slack.messages()) == 1
    await sender.close()


async def test_page_without_a_pager_is_shown_in_the_channel(slack: FakeSlack) -> None:
    sender = SlackSender(access_to(slack, page_mention="here"), Unlimited())
    posted = await sender.send(make_notification(CARD), make_record(), None)
    await sender.send(
        make_notification(PAGE, number=2, text="nobody answers <!channel>"), make_record(), posted.message
    )
    (call,) = [c for c in slack.calls_to("chat.postMessage") if c.args.get("reply_broadcast")]
    assert call.args["text"].startswith("<!here> Needs a person now: INC-142 nobody answers")
    assert [p.kind for p in slack.pings] == ["here"]
    for number, kind in enumerate((NotificationKind.PAGE_ACK, NotificationKind.PAGE_RESOLVE), start=3):
        await sender.send(make_notification(kind, number=number), make_record(), posted.message)
    assert len(slack.calls) == 2
    await sender.close()


async def test_check_disturbs_nobody(slack: FakeSlack, sender: SlackSender) -> None:
    assert await sender.check() == "Slack: @responder of Example is in #incidents"
    named = SlackSender(access_to(slack, channel="#incidents"), Unlimited())
    assert "is in #incidents" in await named.check()
    await named.close()
    assert slack.messages() == []


async def test_check_looks_at_the_further_channels_too(slack: FakeSlack) -> None:
    slack.add_channel("ops")
    sender = SlackSender(access_to(slack, channels=("ops",)), Unlimited())
    assert (await sender.check()).endswith("is in #incidents, #ops")
    await sender.close()
    sender = SlackSender(access_to(slack, channels=("nowhere",)), Unlimited())
    with pytest.raises(PermanentError, match="HDR_SLACK__CHANNELS"):
        await sender.check()
    await sender.close()


async def test_a_post_in_another_channel_names_the_incident_and_pings_nobody(
    slack: FakeSlack, sender: SlackSender
) -> None:
    ops = slack.add_channel("ops")
    said = make_notification(THREAD, text="<!channel> all is well & so on " + "x" * 5000, channel="ops")
    assert await sender.send(said, make_record(), None) == Posted()
    (message,) = slack.messages(ops.id)
    assert message.thread_ts is None
    assert message.text.startswith("INC-142: &lt;!channel&gt; all is well &amp; so on")
    assert len(message.text) <= 3900
    assert slack.pings == []


async def test_a_post_in_another_channel_whose_answer_was_lost_is_not_posted_again(
    slack: FakeSlack, sender: SlackSender
) -> None:
    ops = slack.add_channel("ops")
    for attempts in (1, 2):
        await sender.send(make_notification(THREAD, attempts=attempts, text="x", channel="ops"), make_record(), None)
    assert len(slack.messages(ops.id)) == 1


async def test_a_post_where_the_app_is_not_is_given_up(slack: FakeSlack, sender: SlackSender) -> None:
    slack.add_channel("elsewhere", bot_is_member=False)
    with pytest.raises(PermanentError, match="/invite"):
        await sender.send(make_notification(THREAD, text="x", channel="elsewhere"), make_record(), None)


@pytest.mark.parametrize("channel", ["#nowhere", "C0NOWHERE00"])
async def test_check_finds_a_wrong_channel(slack: FakeSlack, channel: str) -> None:
    sender = SlackSender(access_to(slack, channel=channel), Unlimited())
    with pytest.raises(PermanentError, match="HDR_SLACK__CHANNEL"):
        await sender.check()
    await sender.close()


async def test_check_finds_a_channel_without_the_app(slack: FakeSlack) -> None:
    outside = slack.add_channel("elsewhere", bot_is_member=False)
    sender = SlackSender(access_to(slack, channel=outside.id), Unlimited())
    with pytest.raises(PermanentError, match="/invite"):
        await sender.check()
    await sender.close()


async def test_test_message_is_visible(slack: FakeSlack, sender: SlackSender) -> None:
    await sender.send(make_notification(NotificationKind.TEST), None, None)
    assert "Nothing has happened" in slack.top_level()[0].text


async def test_incident_is_needed_for_what_is_about_one(sender: SlackSender) -> None:
    with pytest.raises(AdapterError):
        await sender.send(make_notification(CARD), None, None)


async def test_step_that_only_began_is_told(slack: FakeSlack, sender: SlackSender) -> None:
    run = make_run(RunStatus.RUNNING)
    step = make_step(run, status=StepStatus.STARTED, ended_at=None)
    await sender.send(make_notification(CARD), make_record(runs=((run, (step,)),)), None)
    assert "neural-hdr: started" in shown(slack)
