"""What every lane keeps to: the port's shape, errors of our own family, and no secret in any error, log or repr."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from hdr_responder.adapters.console import ConsoleSender
from hdr_responder.adapters.pagerduty import PagerDutyAccess, PagerDutySender
from hdr_responder.adapters.rate_limits import RateLimits
from hdr_responder.adapters.slack import SlackAccess, SlackSender
from hdr_responder.domain.notifications import Lane, NotificationKind
from hdr_responder.domain.ports.people import LaneSender
from hdr_responder.errors import HdrError, PermanentError, TemporaryError
from tests.fakes import FakePagerDuty, FakeSlack
from tests.unit.people.builders import hostile_record, make_notification, make_record

APP_TOKEN = "xapp-1-not-a-real-token"
SIGNING_SECRET = "0123456789signing"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneUnderTest:
    sender: LaneSender
    kind: NotificationKind
    secrets: tuple[str, ...]
    fail: Callable[[dict[str, Any]], None]
    parts: tuple[object, ...] = ()


@pytest.fixture(autouse=True)
def no_limit_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault shall be met, not our own rate limit."""

    async def take(self: RateLimits, limit: object, key: str) -> None:
        del self, limit, key

    monkeypatch.setattr(RateLimits, "take", take)


@pytest_asyncio.fixture(params=list(Lane))
async def lane(
    request: pytest.FixtureRequest, fake_slack: FakeSlack, fake_pagerduty: FakePagerDuty
) -> AsyncIterator[LaneUnderTest]:
    made = {Lane.SLACK: slack_lane, Lane.PAGERDUTY: pagerduty_lane, Lane.CONSOLE: console_lane}
    under_test = made[request.param](fake_slack, fake_pagerduty)
    yield under_test
    await under_test.sender.close()
    await under_test.sender.close()


def slack_lane(slack: FakeSlack, _pagerduty: FakePagerDuty) -> LaneUnderTest:
    access = SlackAccess(
        bot_token=slack.bot_token,
        signing_secret=SIGNING_SECRET,
        app_token=APP_TOKEN,
        channel=slack.channel.id,
        api_url=slack.url,
        timeout_seconds=1,
    )
    return LaneUnderTest(
        sender=SlackSender(access, RateLimits()),
        kind=NotificationKind.CARD,
        secrets=(slack.bot_token, APP_TOKEN, SIGNING_SECRET),
        fail=lambda fault: slack.fail_next("chat.postMessage", **fault),
        parts=(access,),
    )


def pagerduty_lane(_slack: FakeSlack, pagerduty: FakePagerDuty) -> LaneUnderTest:
    access = PagerDutyAccess(routing_key=pagerduty.routing_key, events_url=pagerduty.events_url)
    return LaneUnderTest(
        sender=PagerDutySender(replace(access, timeout_seconds=1), RateLimits()),
        kind=NotificationKind.PAGE,
        secrets=(pagerduty.routing_key,),
        fail=lambda fault: pagerduty.fail_next("enqueue", **fault),
        parts=(access,),
    )


def console_lane(_slack: FakeSlack, _pagerduty: FakePagerDuty) -> LaneUnderTest:
    faults: list[dict[str, Any]] = []

    def write(_text: str) -> None:
        if faults:
            faults.clear()
            raise BrokenPipeError

    return LaneUnderTest(sender=ConsoleSender(write), kind=NotificationKind.CARD, secrets=(), fail=faults.append)


def everything_about(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


async def caught(call: Awaitable[object]) -> HdrError | None:
    try:
        await call
    except HdrError as e:
        return e
    return None


async def test_lane_names_itself(lane: LaneUnderTest) -> None:
    assert lane.sender.lane in Lane
    assert await lane.sender.check()


async def test_hostile_incident_is_delivered(lane: LaneUnderTest) -> None:
    await lane.sender.send(make_notification(lane.kind, lane=lane.sender.lane), hostile_record(), None)


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop_connection": True}, {"status": 429, "retry_after": 3}])
async def test_passing_failure_is_temporary_and_the_next_try_delivers(
    lane: LaneUnderTest, fault: dict[str, Any]
) -> None:
    notification = make_notification(lane.kind, lane=lane.sender.lane)
    lane.fail(fault)
    error = await caught(lane.sender.send(notification, make_record(), None))
    assert isinstance(error, TemporaryError)
    await lane.sender.send(replace(notification, attempts=2), make_record(), None)


async def test_no_secret_in_errors_logs_or_reprs(lane: LaneUnderTest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    faults: list[dict[str, Any]] = [
        {"status": 500},
        {"drop_connection": True},
        {"status": 429, "retry_after": 3},
        {"error": "invalid_auth"},
        {"delay": 1.5},
        {"error": "no_such_error"},
    ]
    told: list[str] = [repr(lane.sender), *map(repr, lane.parts)]
    with capture_logs() as logs:
        for fault in faults:
            lane.fail(fault)
            notification = make_notification(lane.kind, lane=lane.sender.lane)
            error = await caught(lane.sender.send(notification, make_record(), None))
            assert error is not None
            told.append(everything_about(error))
    told += [str(logs), caplog.text, *(str(vars(r)) for r in caplog.records)]
    for secret in lane.secrets:
        assert not any(secret in text for text in told)


async def test_wrong_credentials_are_permanent_and_not_shown(
    fake_slack: FakeSlack, fake_pagerduty: FakePagerDuty
) -> None:
    token, key = "xoxb-wrong-token", "f" * 32
    slack = SlackSender(SlackAccess(bot_token=token, channel="C0", api_url=fake_slack.url), RateLimits())
    pager = PagerDutySender(PagerDutyAccess(routing_key=key, events_url=fake_pagerduty.events_url), RateLimits())
    for sender, kind in ((slack, NotificationKind.CARD), (pager, NotificationKind.PAGE)):
        error = await caught(sender.send(make_notification(kind, lane=sender.lane), make_record(), None))
        assert isinstance(error, PermanentError)
        assert token not in everything_about(error)
        assert key not in everything_about(error)
        await sender.close()
