"""What Slack sends to an app: interactivity, slash commands and events, in Slack's shapes and signed as Slack signs."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlencode

from .slack_blocks import elements_of
from .slack_state import APP_ID, BOT_USER_ID, TEAM_ID, Channel, Message, User, View

JsonDict = dict[str, Any]

DEADLINE_SECONDS = 3.0
TEAM_DOMAIN = "example"
FORM = "application/x-www-form-urlencoded"
_VERIFICATION_TOKEN = "deprecated-verification-token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How a request is sent, so that a test can forge, age or repeat one.

    ``timestamp`` and ``signature`` replace the header (empty: no header); the signature otherwise fits the timestamp.
    ``age`` is in seconds and counts back from now. ``deadline`` is in seconds.
    """

    age: float = 0.0
    timestamp: str | None = None
    signature: str | None = None
    retry_num: int | None = None
    retry_reason: str = "http_timeout"
    deadline: float = DEADLINE_SECONDS

    @classmethod
    def forged(cls) -> Self:
        """Signed with something else than the signing secret."""
        return cls(signature="v0=" + "0" * 64)

    @classmethod
    def unsigned(cls) -> Self:
        """Without signature and timestamp."""
        return cls(signature="", timestamp="")

    @classmethod
    def replayed(cls, age: float = 301.0) -> Self:
        """Rightly signed, but longer ago than the five minutes that are tolerated."""
        return cls(age=age)

    @classmethod
    def junk_timestamp(cls, timestamp: str = "yesterday") -> Self:
        """Rightly signed over a timestamp that is no number."""
        return cls(timestamp=timestamp)

    @classmethod
    def retry(cls, number: int, reason: str = "http_timeout") -> Self:
        """Sent again since Slack got no answer (1, 2 or 3)."""
        return cls(retry_num=number, retry_reason=reason)

    def headers(self, body: bytes, *, secret: str, now: datetime, content_type: str) -> dict[str, str]:
        """Return the headers of a request with this body."""
        timestamp = self.timestamp
        if timestamp is None:
            timestamp = str(int(now.timestamp() - self.age))
        signature = sign(body, timestamp, secret) if self.signature is None else self.signature
        headers = {
            "Content-Type": content_type,
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }
        if timestamp:
            headers["X-Slack-Request-Timestamp"] = timestamp
        if signature:
            headers["X-Slack-Signature"] = signature
        if self.retry_num is not None:
            headers["X-Slack-Retry-Num"] = str(self.retry_num)
            headers["X-Slack-Retry-Reason"] = self.retry_reason
        return headers


def sign(body: bytes, timestamp: str, secret: str) -> str:
    """Return Slack's signature, version 0: HMAC-SHA256 over ``v0:{timestamp}:{raw body}``."""
    signed = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def form_payload(payload: JsonDict) -> bytes:
    """Encode an interactivity payload as Slack does."""
    return urlencode({"payload": json.dumps(payload)}).encode()


def find_element(message: Message, action_id: str, value: str | None) -> tuple[str, JsonDict]:
    """Return the block id and the interactive element that a user can press; LookupError when there is none."""
    for block, element in elements_of(message.blocks):
        if element["action_id"] == action_id and value in {None, element.get("value")}:
            return str(block.get("block_id", "generated")), element
    offered = sorted({str(element["action_id"]) for _, element in elements_of(message.blocks)})
    raise LookupError(f"message {message.ts} has no {action_id!r} with value {value!r}; it offers {offered}")


def pressed(block_id: str, element: JsonDict, at: str) -> JsonDict:
    """Return the action of pressing a button, as it stands in a payload."""
    keys = ("type", "action_id", "text", "value", "style", "url")
    return {"block_id": block_id, "action_ts": at} | {k: element[k] for k in keys if k in element}


def block_actions(
    *,
    user: User,
    channel: Channel,
    message: Message,
    action: JsonDict,
    trigger_id: str,
    response_url: str,
) -> JsonDict:
    """Return the payload of a press on a message's element."""
    container: JsonDict = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": channel.id,
        "is_ephemeral": message.ephemeral_to is not None,
    }
    if message.thread_ts:
        container["thread_ts"] = message.thread_ts
    payload = _interaction("block_actions", user, trigger_id) | {
        "container": container,
        "channel": {"id": channel.id, "name": channel.name},
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [action],
    }
    # Slack leaves an ephemeral message out of the payload.
    if message.ephemeral_to is None:
        payload["message"] = message.to_json()
    return payload


def view_submission(*, user: User, view: View, values: JsonDict, trigger_id: str) -> JsonDict:
    """Return the payload of a submitted modal; ``values`` maps block id to action id to the element's state."""
    shown = view.view | {
        "id": view.id,
        "hash": view.hash,
        "team_id": TEAM_ID,
        "app_id": APP_ID,
        "state": {"values": values},
    }
    return _interaction("view_submission", user, trigger_id) | {"view": shown, "response_urls": []}


def slash_command(
    *,
    command: str,
    text: str,
    user: User,
    channel: Channel,
    trigger_id: str,
    response_url: str,
) -> bytes:
    """Return the form body of a slash command."""
    fields = {
        "token": _VERIFICATION_TOKEN,
        "team_id": TEAM_ID,
        "team_domain": TEAM_DOMAIN,
        "channel_id": channel.id,
        "channel_name": channel.name,
        "user_id": user.id,
        "user_name": user.name,
        "command": command,
        "text": text,
        "api_app_id": APP_ID,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": trigger_id,
    }
    return urlencode(fields).encode()


def event_callback(event: JsonDict, *, event_id: str, now: datetime) -> JsonDict:
    """Return the envelope of an event."""
    authorization = {
        "enterprise_id": None,
        "team_id": TEAM_ID,
        "user_id": BOT_USER_ID,
        "is_bot": True,
        "is_enterprise_install": False,
    }
    return {
        "token": _VERIFICATION_TOKEN,
        "team_id": TEAM_ID,
        "api_app_id": APP_ID,
        "event": event,
        "type": "event_callback",
        "event_id": event_id,
        "event_time": int(now.timestamp()),
        "authorizations": [authorization],
        "is_ext_shared_channel": False,
        "event_context": f"4-{event_id}",
    }


def _interaction(kind: str, user: User, trigger_id: str) -> JsonDict:
    return {
        "type": kind,
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": TEAM_ID},
        "api_app_id": APP_ID,
        "token": _VERIFICATION_TOKEN,
        "trigger_id": trigger_id,
        "team": {"id": TEAM_ID, "domain": TEAM_DOMAIN},
        "enterprise": None,
        "is_enterprise_install": False,
    }
