"""What the doctor says of answers, errors and test messages."""

from __future__ import annotations

import pytest

from hdr_responder.cli.findings import Status, ask
from hdr_responder.cli.lane_test import finding
from hdr_responder.domain.notifications import Lane, NotificationStatus
from hdr_responder.domain.ports.store import QueuedTest
from hdr_responder.errors import ConfigError, HdrError, UnavailableError


async def _answer(error: Exception | None = None) -> str:
    if error:
        raise error
    return "fine"


@pytest.mark.parametrize(
    ("error", "unreachable"), [(UnavailableError("gone"), True), (TimeoutError(), True), (ConfigError("wrong"), False)]
)
async def test_errors_carry_advice(error: Exception, unreachable: bool) -> None:
    found = await ask("thing", _answer(error), "check HDR_THING")
    assert (found.status, found.unreachable) == (Status.FAILED, unreachable)
    assert found.detail.endswith(" (check HDR_THING)")


async def test_answers_and_defects() -> None:
    assert (await ask("thing", _answer(), "advice")).detail == "fine"
    with pytest.raises(ZeroDivisionError):
        await ask("thing", _answer(ZeroDivisionError()))


async def test_secrets_in_errors_are_masked() -> None:
    found = await ask("thing", _answer(HdrError("redis://:hunter2hunter@r/0 is away")))
    assert "hunter2hunter" not in found.detail


@pytest.mark.parametrize(
    ("status", "error", "state", "unreachable", "told"),
    [
        (NotificationStatus.SENT, None, Status.OK, False, "delivered"),
        (NotificationStatus.FAILED, "channel_not_found", Status.FAILED, False, "channel_not_found"),
        (NotificationStatus.PENDING, "rate limited", Status.FAILED, True, "2 attempts: rate limited"),
        (NotificationStatus.PENDING, None, Status.FAILED, True, "is the service running?"),
    ],
)
def test_test_messages(
    status: NotificationStatus, error: str | None, state: Status, unreachable: bool, told: str
) -> None:
    found = finding(QueuedTest(lane=Lane.SLACK, status=status, attempts=2, error=error))
    assert (found.what, found.status, found.unreachable) == ("test slack", state, unreachable)
    assert told in found.detail
