"""What Slack's refusals mean: try again, or a person must change something, and what.

The SDK's own messages may quote what was sent and received; only Slack's short error code is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from hdr_responder.adapters.rate_limits import ThrottledError
from hdr_responder.errors import (
    AdapterError,
    HdrError,
    PermanentError,
    TemporaryError,
    UnavailableError,
)

MESSAGE_GONE = frozenset(
    {"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found", "invalid_thread_ts"}
)
"""A message that can no longer be edited or replied to; a new one takes its place (Slack contract)."""

CHANNEL_GONE = frozenset({"channel_not_found", "is_archived", "not_in_channel"})
"""A channel that no longer takes our messages; another one may have been configured since."""

_TEMPORARY = frozenset(
    {
        "fatal_error",
        "internal_error",
        "message_limit_exceeded",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
_CREDENTIALS = "issue a new bot token and set HDR_SLACK__BOT_TOKEN"
_CHANNEL = "check HDR_SLACK__CHANNEL (a channel id such as C0123456789 is safest) and invite the app to the channel"
_ADVICE = {
    "account_inactive": f"the app's account was deactivated: reinstall the app, {_CREDENTIALS}",
    "channel_not_found": f"the channel does not exist or the app cannot see it: {_CHANNEL}",
    "invalid_auth": f"the bot token is not valid: {_CREDENTIALS}",
    "is_archived": "the channel is archived: unarchive it or set another HDR_SLACK__CHANNEL",
    "missing_scope": "the app lacks a scope: install it again with the shipped deploy/slack-manifest.yaml",
    "no_permission": "the app may not do this: install it again with the shipped deploy/slack-manifest.yaml",
    "not_allowed_token_type": f"HDR_SLACK__BOT_TOKEN is not a bot token (xoxb-...): {_CREDENTIALS}",
    "not_authed": f"no bot token was sent: {_CREDENTIALS}",
    "not_in_channel": "the app is not in the channel: invite it with /invite @hdr-responder",
    "restricted_action": "the workspace does not let the app post there: ask an administrator",
    "token_expired": f"the bot token has expired: {_CREDENTIALS}",
    "token_revoked": f"the bot token was revoked: {_CREDENTIALS}",
}
_THROTTLED = frozenset({"ratelimited", "rate_limited"})


class SlackRefusedError(PermanentError):
    """Slack refused for a reason that code can act on; ``code`` is Slack's own word for it."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


def failure(method: str, error: Exception) -> HdrError:
    """Return the error that stands for what went wrong in a call of ``method``."""
    if isinstance(error, SlackApiError):
        return _answered(method, error)
    if isinstance(error, TimeoutError):
        return UnavailableError(f"Slack {method}: no answer in time")
    if isinstance(error, aiohttp.ClientError | OSError):
        return UnavailableError(f"Slack {method}: cannot be reached ({type(error).__name__})")
    if isinstance(error, SlackClientError):
        return AdapterError(f"Slack {method}: the call was not accepted by the client library ({type(error).__name__})")
    return AdapterError(f"Slack {method}: {type(error).__name__}")


def _answered(method: str, error: SlackApiError) -> HdrError:
    status, headers, data = _parts(error.response)
    code = _code(data)
    if status == 429 or code in _THROTTLED:
        return ThrottledError(f"Slack {method}: Slack asks to wait", retry_after=_retry_after(headers))
    if status >= 500 or code in _TEMPORARY or (not code and status < 400):
        return TemporaryError(f"Slack {method}: answered {code or status}", retry_after=_retry_after(headers))
    if not code:
        return PermanentError(f"Slack {method}: answered {status}, which is not Slack: check HDR_SLACK__API_URL")
    return SlackRefusedError(f"Slack {method}: {code}{_explained(code, data)}", code=code)


def _code(data: Mapping[str, Any]) -> str:
    """Return Slack's word for the error, empty when it is none: free text is not passed on."""
    code = data.get("error")
    return code if isinstance(code, str) and re.fullmatch(r"[a-z0-9_]{1,60}", code) else ""


def _explained(code: str, data: Mapping[str, Any]) -> str:
    advice = _ADVICE.get(code)
    return f": {advice}" if advice else _said(data)


def _parts(response: Any) -> tuple[int, Mapping[str, str], Mapping[str, Any]]:
    """Take an answer apart; one that is no JSON comes as the transport's own object, without data."""
    status = getattr(response, "status_code", None) or getattr(response, "status", None) or 0
    data = getattr(response, "data", None)
    return int(status), getattr(response, "headers", {}), data if isinstance(data, dict) else {}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = next((v for k, v in headers.items() if k.lower() == "retry-after"), "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else None


def _said(data: Mapping[str, Any]) -> str:
    """Return which field Slack objected to; it quotes places (``/blocks/0/text``), not content."""
    metadata = data.get("response_metadata")
    messages = metadata.get("messages") if isinstance(metadata, dict) else None
    shown = "; ".join(str(m) for m in messages[:3]) if isinstance(messages, list) else ""
    return f": {shown[:300]}" if shown else ""
