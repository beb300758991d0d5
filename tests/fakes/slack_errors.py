"""How Slack says no: a refusal is an answer with ``ok: false``, a throttled call a 429."""

from __future__ import annotations

from typing import Any


class SlackRefusalError(Exception):
    """The call is refused with ``error``; ``messages`` explain it (``response_metadata.messages``)."""

    def __init__(self, error: str, *messages: str) -> None:
        super().__init__(error)
        self.error = error
        self.messages = messages

    def to_json(self) -> dict[str, Any]:
        """Show the refusal as Slack does."""
        body: dict[str, Any] = {"ok": False, "error": self.error}
        if self.messages:
            body["errors"] = list(self.messages)
            body["response_metadata"] = {"messages": [f"[ERROR] {message}" for message in self.messages]}
        return body


class SlackThrottledError(Exception):
    """The call came too soon; the caller is to wait ``retry_after`` whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"retry after {retry_after} s")
        self.retry_after = retry_after
