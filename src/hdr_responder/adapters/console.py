"""The console lane: what Slack and the pager would show, for whoever tries the responder without either.

Lines are plain unless the writer goes to a terminal; then they have colour. Text from outside never reaches the
terminal as markup or control sequence.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.ports.people import Posted
from hdr_responder.domain.ports.records import IncidentRecord
from hdr_responder.domain.ports.store import Message
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import RunStatus
from hdr_responder.errors import AdapterError, TemporaryError
from hdr_responder.records import presentation as words

LINE_LIMIT = 300
TEXT_LIMIT = 2000
MAX_RUNS = 3
MAX_STEPS = 8
WIDTH = 110

_STYLES = {Priority.P1: "bold red", Priority.P2: "bold yellow", Priority.P3: "cyan", Priority.P4: "white"}


class ConsoleSender:
    """Writes to a terminal or a stream. Implements LaneSender.

    ``write`` takes one text that ends with a newline; ``colour`` says whether it goes to a terminal.
    """

    lane = Lane.CONSOLE

    def __init__(self, write: Callable[[str], object], *, colour: bool = False, width: int = WIDTH) -> None:
        self._write = write
        self._colour = colour
        self._width = width

    async def send(self, notification: Notification, record: IncidentRecord | None, message: Message | None) -> Posted:
        """Deliver one notification; see LaneSender."""
        del message
        if notification.kind is NotificationKind.TEST:
            self._show(["Test message of hdr-responder: incidents will be shown here. Nothing has happened."], "bold")
            return Posted()
        if record is None:
            raise AdapterError("console: this notification needs an incident")
        incident = record.incident
        match notification.kind:
            case NotificationKind.CARD:
                self._show(list(card_lines(record)), _STYLES[incident.priority])
            case NotificationKind.THREAD:
                where = notification.payload.get("channel")
                to = f" to {words.one_line(str(where), words.NAME_LIMIT)}" if where else ""
                self._show([f"{incident.ref}{to}: {_payload_text(notification)}"], "")
            case NotificationKind.PAGE:
                said = _payload_text(notification) or words.one_line(incident.title, LINE_LIMIT)
                self._show([f"PAGE {words.headline(incident)}", f"  {said}"], "bold red")
            case NotificationKind.PAGE_ACK | NotificationKind.PAGE_RESOLVE:
                done = "acknowledged" if notification.kind is NotificationKind.PAGE_ACK else "resolved"
                self._show([f"PAGE {incident.ref} {done}"], "green")
        return Posted()

    async def check(self) -> str:
        """Return that there is nothing to prove."""
        return "console: messages are written to this terminal"

    async def close(self) -> None:
        """Nothing is held."""

    def _show(self, told: list[str], style: str) -> None:
        try:
            self._write(self._coloured(told, style) if self._colour else "".join(f"{line}\n" for line in told))
        except (OSError, ValueError) as e:
            raise TemporaryError(f"console: cannot be written to ({type(e).__name__})") from e

    def _coloured(self, told: list[str], style: str) -> str:
        drawn = io.StringIO()
        console = Console(file=drawn, force_terminal=True, width=self._width, legacy_windows=False)
        if len(told) > 1:
            body = Text("\n".join(line.removeprefix("  ") for line in told[1:]))
            console.print(Panel(body, title=Text(told[0], style=style), title_align="left", border_style=style))
        else:
            console.print(Text(told[0], style=style))
        return drawn.getvalue()


def card_lines(record: IncidentRecord) -> Iterator[str]:
    """Return an incident as it is now in a few plain lines, the headline first and the others indented."""
    incident = record.incident
    yield words.headline(incident)
    yield f"  {words.status_line(incident)}; {words.alert_counts(incident)}"
    yield f"  {words.priority_line(incident)}"
    if incident.commander:
        yield f"  {words.person(incident.commander)} has command"
    runs = sorted(record.runs, key=lambda r: r[0].created_at, reverse=True)
    if not runs:
        yield "  Nothing has been done automatically."
    for index, (run, steps) in enumerate(runs[:MAX_RUNS]):
        yield f"  {words.run_line(run)}"
        begun = words.step_lines(run, steps, ahead=False) if index == 0 else []
        for line in begun[:MAX_STEPS]:
            yield f"    {line}"
        if index == 0 and words.verification_line(run):
            yield f"    {words.verification_line(run)}"
        if run.status is RunStatus.AWAITING_APPROVAL:
            yield f"    To approve: hdr-responder runs approve {run.id}"
    runbook = words.runbook_url(record)
    if runbook:
        yield f"  Runbook: {runbook}"


def _payload_text(notification: Notification) -> str:
    text = notification.payload.get("text")
    return words.one_line(text, TEXT_LIMIT) if isinstance(text, str) else ""
