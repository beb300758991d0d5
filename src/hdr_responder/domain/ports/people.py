"""How a lane delivers: the dispatcher hands it one notification, the lane answers with an outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hdr_responder.domain.notifications import Lane, Notification
from hdr_responder.domain.ports.records import IncidentRecord
from hdr_responder.domain.ports.store import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A delivered notification; ``message`` is set when an incident's message was created or moved."""

    message: Message | None = None


class LaneSender(Protocol):
    """One destination."""

    lane: Lane

    async def send(self, notification: Notification, record: IncidentRecord | None, message: Message | None) -> Posted:
        """Deliver one notification.

        ``record`` is the incident as it is now (None for a test message), ``message`` where its message already stands.

        Raises TemporaryError (with ``retry_after`` seconds where the other side said so) to be called again later, any
        PermanentError to give up.
        """
        ...

    async def check(self) -> str:
        """Prove the connection without disturbing anyone and return one line about it; raises as `send`."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
