"""The console lane: what a newcomer reads, with and without a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.adapters.console import ConsoleSender
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.runs import RunStatus, Verification
from hdr_responder.errors import TemporaryError
from tests.unit.people.builders import hostile_record, make_alert, make_notification, make_record, make_run, make_step


def notice(kind: NotificationKind, **payload: Any) -> Notification:
    return make_notification(kind, lane=Lane.CONSOLE, **payload)


async def show(kind: NotificationKind, *, colour: bool = False, **payload: Any) -> str:
    run = make_run(RunStatus.COMPLETED, verification=Verification.VERIFIED)
    record = make_record(
        alerts=(make_alert(runbook_url="https://runbooks.example/hdr"),), runs=((run, (make_step(run),)),)
    )
    written: list[str] = []
    sender = ConsoleSender(written.append, colour=colour)
    posted = await sender.send(notice(kind, **payload), record, None)
    assert posted.message is None
    return "".join(written)


async def test_card_in_plain_lines() -> None:
    assert await show(NotificationKind.CARD) == (
        "P1 INC-142 neural-hdr: 5xx above 2 %\n"
        "  Triggered, not acknowledged yet since 2026-03-01 03:00:00 UTC; 1 firing of 1 alert\n"
        "  P1: tier 1 service and severity critical (rule customer-facing)\n"
        "  restart-workers (auto) completed\n"
        "    1. Restart the workers on Deployment vfx/neural-hdr: done after 1 min 12 s\n"
        "    Verification: it helped\n"
        "  Runbook: https://runbooks.example/hdr\n"
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (NotificationKind.THREAD, "INC-142: restarting\n"),
        (NotificationKind.PAGE, "PAGE P1 INC-142 neural-hdr: 5xx above 2 %\n  restarting\n"),
        (NotificationKind.PAGE_ACK, "PAGE INC-142 acknowledged\n"),
        (NotificationKind.PAGE_RESOLVE, "PAGE INC-142 resolved\n"),
    ],
)
async def test_other_messages(kind: NotificationKind, expected: str) -> None:
    assert await show(kind, text="restarting") == expected


async def test_waiting_run_says_how_to_approve_it() -> None:
    run = make_run(RunStatus.AWAITING_APPROVAL)
    written: list[str] = []
    await ConsoleSender(written.append).send(notice(NotificationKind.CARD), make_record(runs=((run, ()),)), None)
    assert f"hdr-responder runs approve {run.id}" in written[0]


async def test_terminal_gets_colour_and_the_same_words() -> None:
    text = await show(NotificationKind.CARD, colour=True)
    assert "\x1b[" in text
    assert "Verification: it helped" in text


@pytest.mark.parametrize("colour", [False, True])
async def test_outside_text_is_neither_markup_nor_control_sequence(colour: bool) -> None:
    written: list[str] = []
    sender = ConsoleSender(written.append, colour=colour)
    record = hostile_record()
    record.incident.title = "[bold]x[/bold] \x1b]0;owned\x07\r\u202e[/nonsense]"
    for kind in (NotificationKind.CARD, NotificationKind.THREAD, NotificationKind.PAGE):
        await sender.send(notice(kind, text=record.incident.title), record, None)
    text = "".join(written)
    assert "[bold]x[/bold]" in text
    assert "\x1b]" not in text
    assert "\x07" not in text
    assert "\r" not in text
    assert "\u202e" not in text


async def test_closed_stream_is_temporary() -> None:
    def write(text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(TemporaryError):
        await ConsoleSender(write).send(notice(NotificationKind.TEST), None, None)
