"""The PagerDuty lane against the stand-in that enforces the Events API's contract."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from hdr_responder.adapters.pagerduty import PagerDutyAccess, PagerDutySender
from hdr_responder.adapters.rate_limits import RateLimits
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.priorities import Priority
from hdr_responder.errors import AdapterError, ConfigError, PermanentError, TemporaryError, UnavailableError
from tests.fakes import AlertState, FakePagerDuty
from tests.unit.people.builders import (
    hostile_record,
    make_alert,
    make_incident,
    make_notification,
    make_record,
    make_run,
)

PAGE, ACK, RESOLVE = NotificationKind.PAGE, NotificationKind.PAGE_ACK, NotificationKind.PAGE_RESOLVE


def notice(kind: NotificationKind, number: int = 1, **payload: Any) -> Notification:
    return make_notification(kind, lane=Lane.PAGERDUTY, number=number, **payload)


@pytest_asyncio.fixture
async def sender(fake_pagerduty: FakePagerDuty) -> AsyncIterator[PagerDutySender]:
    access = PagerDutyAccess(routing_key=fake_pagerduty.routing_key, events_url=fake_pagerduty.events_url)
    made = PagerDutySender(replace(access, timeout_seconds=5), RateLimits())
    yield made
    await made.close()


async def test_page_is_acknowledged_and_resolved_under_its_key(
    fake_pagerduty: FakePagerDuty, sender: PagerDutySender
) -> None:
    record = make_record()
    await sender.send(notice(PAGE), record, None)
    (alert,) = fake_pagerduty.open_alerts()
    await sender.send(notice(ACK), record, None)
    await sender.send(notice(RESOLVE), record, None)
    assert alert.dedup_key == "hdr-responder/INC-142/episode-1"
    assert [action for action, _ in alert.log] == ["trigger", "acknowledge", "resolve"]


async def test_repeated_page_wakes_once_and_a_new_episode_again(
    fake_pagerduty: FakePagerDuty, sender: PagerDutySender
) -> None:
    await sender.send(notice(PAGE), make_record(), None)
    await sender.send(notice(PAGE), make_record(), None)
    assert [a.triggers for a in fake_pagerduty.alerts] == [2]
    reopened = make_record(make_incident(episode=2))
    await sender.send(notice(PAGE), reopened, None)
    await sender.send(notice(RESOLVE, episode=1), reopened, None)
    assert [a.dedup_key for a in fake_pagerduty.open_alerts()] == ["hdr-responder/INC-142/episode-2"]


async def test_page_says_what_and_why(fake_pagerduty: FakePagerDuty, sender: PagerDutySender) -> None:
    record = make_record(
        make_incident(lower_bound=True, alerts_total=20),
        alerts=(make_alert(runbook_url="https://runbooks.example/hdr"),),
        runs=((make_run(reason="stuck"), ()),),
    )
    await sender.send(notice(PAGE, text="5xx above 2 %: not remedied in time"), record, None)
    (alert,) = fake_pagerduty.alerts
    assert alert.summary == "P1 INC-142 neural-hdr: 5xx above 2 %: not remedied in time"
    assert (alert.severity, alert.source) == ("critical", "prod")
    details = alert.event["payload"]["custom_details"]
    assert details["alerts"] == ">= 1 firing of >= 20 alerts"
    assert details["priority"] == "P1: tier 1 service and severity critical (rule customer-facing)"
    assert details["automation"] == ["restart-workers (auto) running: stuck"]
    assert details["first_alerts"] == [{"alertname": "HighErrorRate", "pod": "pod-0"}]
    assert alert.event["links"] == [{"href": "https://runbooks.example/hdr", "text": "Runbook"}]


@pytest.mark.parametrize(
    ("priority", "severity"), list(zip(Priority, ("critical", "error", "warning", "info"), strict=True))
)
async def test_severity_follows_the_priority(
    fake_pagerduty: FakePagerDuty, sender: PagerDutySender, priority: Priority, severity: str
) -> None:
    await sender.send(notice(PAGE), make_record(make_incident(priority=priority)), None)
    assert [a.severity for a in fake_pagerduty.alerts] == [severity]


async def test_hostile_incident_is_accepted(fake_pagerduty: FakePagerDuty, sender: PagerDutySender) -> None:
    record = hostile_record()
    await sender.send(notice(PAGE, text=record.incident.title * 3), record, None)
    (call,) = fake_pagerduty.calls
    assert call.status == 202
    assert len(call.args["payload"]["summary"]) <= 1024
    assert len(json.dumps(call.args)) < 512 * 1024


async def test_script_is_no_runbook(fake_pagerduty: FakePagerDuty, sender: PagerDutySender) -> None:
    await sender.send(notice(PAGE), make_record(alerts=(make_alert(runbook_url="javascript:alert(1)"),)), None)
    assert "links" not in fake_pagerduty.alerts[0].event


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {"drop_connection": True}])
async def test_passing_failures_are_temporary(
    fake_pagerduty: FakePagerDuty, sender: PagerDutySender, fault: dict[str, object]
) -> None:
    fake_pagerduty.fail_next("enqueue", **fault)  # type: ignore[arg-type]
    with pytest.raises(TemporaryError):
        await sender.send(notice(PAGE), make_record(), None)
    assert len(fake_pagerduty.calls) == 1


@pytest.mark.parametrize("wait", [None, 30])
async def test_pagerdutys_limit_is_passed_on(
    fake_pagerduty: FakePagerDuty, sender: PagerDutySender, wait: int | None
) -> None:
    fake_pagerduty.fail_next("enqueue", status=429, retry_after=wait)
    with pytest.raises(TemporaryError) as caught:
        await sender.send(notice(PAGE), make_record(), None)
    assert caught.value.retry_after == wait


async def test_refusal_carries_pagerdutys_words(fake_pagerduty: FakePagerDuty, sender: PagerDutySender) -> None:
    fake_pagerduty.fail_next("enqueue", error=f"Invalid routing key {fake_pagerduty.routing_key}")
    with pytest.raises(PermanentError, match=r"refused with 400: Event object is invalid; Invalid routing key \*\*\*"):
        await sender.send(notice(PAGE), make_record(), None)


async def test_no_answer_in_time_is_temporary(fake_pagerduty: FakePagerDuty) -> None:
    access = PagerDutyAccess(routing_key=fake_pagerduty.routing_key, events_url=fake_pagerduty.events_url)
    sender = PagerDutySender(replace(access, timeout_seconds=0.05), RateLimits())
    fake_pagerduty.fail_next("enqueue", delay=2)
    with pytest.raises(UnavailableError, match="no answer in time"):
        await sender.send(notice(PAGE), make_record(), None)
    await sender.close()


async def test_own_limit_is_120_a_minute(fake_pagerduty: FakePagerDuty, sender: PagerDutySender) -> None:
    for _ in range(120):
        await sender.send(notice(PAGE), make_record(), None)
    with pytest.raises(TemporaryError) as caught:
        await sender.send(notice(PAGE), make_record(), None)
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 60
    assert len(fake_pagerduty.calls) == 120


async def test_check_pages_nobody(fake_pagerduty: FakePagerDuty, sender: PagerDutySender) -> None:
    assert "nothing was sent" in await sender.check()
    assert fake_pagerduty.calls == []


@pytest.mark.parametrize("key", ["", "short", "x" * 33, "a-" * 16])
async def test_check_finds_a_malformed_key(key: str) -> None:
    sender = PagerDutySender(PagerDutyAccess(routing_key=key), RateLimits())
    with pytest.raises(PermanentError, match="HDR_PAGERDUTY__ROUTING_KEY"):
        await sender.check()


async def test_test_page_resolves_itself(fake_pagerduty: FakePagerDuty, sender: PagerDutySender) -> None:
    await sender.send(notice(NotificationKind.TEST, number=9), None, None)
    (alert,) = fake_pagerduty.alerts
    assert (alert.dedup_key, alert.state) == ("hdr-responder/test/9", AlertState.RESOLVED)


@pytest.mark.parametrize("url", ["", "ftp://x/y", "events.pagerduty.com", "http://["])
def test_address_must_be_one(url: str) -> None:
    with pytest.raises(ConfigError, match="HDR_PAGERDUTY__EVENTS_URL"):
        PagerDutySender(PagerDutyAccess(routing_key="k", events_url=url), RateLimits())


@pytest.mark.parametrize("kind", [NotificationKind.CARD, NotificationKind.THREAD])
async def test_what_a_pager_cannot_show_is_a_defect(sender: PagerDutySender, kind: NotificationKind) -> None:
    with pytest.raises(AdapterError):
        await sender.send(notice(kind), make_record(), None)
