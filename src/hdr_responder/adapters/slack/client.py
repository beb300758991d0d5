"""The one place where Slack's Web API is called: timeouts, our own rate limits and our own errors.

The SDK retries nothing here, since the outbox does: two layers of retries would multiply.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from hdr_responder.adapters.rate_limits import RateLimit, RateLimits
from hdr_responder.adapters.slack.card import Content
from hdr_responder.adapters.slack.failures import failure
from hdr_responder.domain.ports.store import Message
from hdr_responder.errors import AdapterError, PermanentError, TemporaryError

DEFAULT_API_URL = "https://slack.com/api/"
POSTS = RateLimit(name="slack-post", amount=1, seconds=1)
"""chat.postMessage: one a second per channel (Slack contract)."""
UPDATES = RateLimit(name="slack-update", amount=5, seconds=6)
"""chat.update: 50 a minute, spread so that a burst does not block the minute after it (Slack contract)."""
PAGE_SIZE = 1000
MAX_PAGES = 20

_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{6,}")
_SECRETS = re.compile(r"(xox[a-z]|xapp)-[\w-]+|(?<=ticket=)[^&'\"\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackAccess:
    """How Slack is reached. Secrets are kept out of the ``repr``.

    ``channel`` is an id (safest) or a name, ``channels`` are further ones that playbooks may post to. ``page_mention``
    says whom a page in Slack pings, for teams without a pager: ``here``, ``channel`` or ``subteam:S0123``; empty for
    nobody.
    """

    bot_token: str = field(repr=False)
    channel: str
    channels: tuple[str, ...] = ()
    signing_secret: str | None = field(default=None, repr=False)
    app_token: str | None = field(default=None, repr=False)
    api_url: str = DEFAULT_API_URL
    timeout_seconds: float = 10.0
    page_mention: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a person asked, and who."""

    channel: str
    user: str
    thread_ts: str | None = None


class SlackApi:
    """Slack's methods as far as the responder needs them; safe to share between tasks.

    Every method raises TemporaryError (UnavailableError when Slack cannot be reached) to be tried again, and
    SlackRefusedError for a refusal.
    """

    def __init__(self, access: SlackAccess, limits: RateLimits) -> None:
        self._access = access
        self._limits = limits
        self._client: AsyncWebClient | None = None
        self._ids: dict[str, str] = {}

    async def post(
        self,
        channel: str,
        content: Content,
        *,
        thread_ts: str | None = None,
        broadcast: bool = False,
        tag: Mapping[str, object] | None = None,
        paced: bool = True,
    ) -> Message:
        """Post a message; our own rate limit does not wait but raises TemporaryError, unless ``paced`` is false.

        ``tag`` is kept with the message so that `find` recognises it.
        """
        if paced:
            await self._limits.take(POSTS, self._ids.get(channel, channel))
        answer = await self._call(
            "chat.postMessage",
            self.web.chat_postMessage(
                channel=channel,
                text=content.text,
                blocks=list(content.blocks) or None,
                thread_ts=thread_ts,
                reply_broadcast=broadcast or None,
                metadata={"event_type": "hdr_responder", "event_payload": dict(tag)} if tag else None,
                unfurl_links=False,
                unfurl_media=False,
            ),
        )
        self._ids[channel] = _text(answer, "channel")
        return Message(channel=self._ids[channel], message_id=_text(answer, "ts"))

    async def update(self, message: Message, content: Content) -> None:
        """Edit a message in place."""
        await self._limits.take(UPDATES, message.channel)
        call = self.web.chat_update(
            channel=message.channel, ts=message.message_id, text=content.text, blocks=list(content.blocks)
        )
        await self._call("chat.update", call)

    async def answer(self, place: Place, content: Content, *, public: bool) -> None:
        """Answer a person in a conversation, visible to all or to that person alone; not held to our own limits."""
        blocks = list(content.blocks) or None
        if public:
            call = self.web.chat_postMessage(
                channel=place.channel, text=content.text, blocks=blocks, thread_ts=place.thread_ts
            )
            await self._call("chat.postMessage", call)
            return
        call = self.web.chat_postEphemeral(
            channel=place.channel, user=place.user, text=content.text, blocks=blocks, thread_ts=place.thread_ts
        )
        await self._call("chat.postEphemeral", call)

    async def respond(self, response_url: str, content: Content) -> None:
        """Answer an interaction for the person alone through its ``response_url`` (5 uses in 30 minutes)."""
        hook = AsyncWebhookClient(response_url, session=self.web.session, retry_handlers=[], logger=quiet_logger())
        try:
            answer = await hook.send(text=content.text, response_type="ephemeral", replace_original=False)
        except (SlackClientError, aiohttp.ClientError, OSError) as e:
            raise failure("response_url", e) from e
        if answer.status_code != 200:
            raise PermanentError(f"Slack response_url: answered {answer.status_code}")

    async def find(
        self, channel: str, tag: Mapping[str, object], *, since: float, thread_ts: str | None
    ) -> Message | None:
        """Return the message with this tag among 200 posted after ``since`` (Unix seconds), looking a name up first."""
        channel = await self._id_of(channel)
        if thread_ts is None:
            call = self.web.conversations_history(
                channel=channel, oldest=f"{since:.6f}", limit=200, include_all_metadata=True
            )
        else:
            call = self.web.conversations_replies(
                channel=channel, ts=thread_ts, oldest=f"{since:.6f}", limit=200, include_all_metadata=True
            )
        answer = await self._call("conversations.history", call)
        for shown in answer.get("messages") or ():
            if (shown.get("metadata") or {}).get("event_payload") == dict(tag):
                return Message(channel=channel, message_id=str(shown["ts"]))
        return None

    async def whoami(self) -> Mapping[str, Any]:
        """Return whose token this is (``user``, ``team``)."""
        return await self._call("auth.test", self.web.auth_test())

    async def scopes(self) -> frozenset[str] | None:
        """Return what the token may do, as Slack says beside its answer; None where it does not say."""
        try:
            answer = await self.web.auth_test()
        except (SlackClientError, aiohttp.ClientError, OSError) as e:
            raise failure("auth.test", e) from e
        told = next((str(v) for k, v in answer.headers.items() if k.lower() == "x-oauth-scopes"), None)
        return None if told is None else frozenset(scope.strip() for scope in told.split(",") if scope.strip())

    async def channel(self, name_or_id: str) -> Mapping[str, Any]:
        """Return a channel's description, looking a name up; empty when there is none of that name."""
        if _CHANNEL_ID.fullmatch(name_or_id):
            answer = await self._call("conversations.info", self.web.conversations_info(channel=name_or_id))
            described = answer.get("channel")
            return described if isinstance(described, dict) else {}
        return await self._channel_named(name_or_id.removeprefix("#"))

    async def user_name(self, user: str) -> str:
        """Return the name that people know a user by."""
        answer = await self._call("users.info", self.web.users_info(user=user))
        described = answer.get("user")
        return str(described.get("name") or user) if isinstance(described, dict) else user

    async def close(self) -> None:
        """Close the connections; a later call opens them anew."""
        client, self._client = self._client, None
        if client is not None and client.session is not None:
            await client.session.close()

    @property
    def web(self) -> AsyncWebClient:
        """The SDK's client; needs a running event loop when first asked for."""
        if self._client is None:
            total = aiohttp.ClientTimeout(total=self._access.timeout_seconds)
            self._client = AsyncWebClient(
                token=self._access.bot_token,
                base_url=self._access.api_url,
                session=aiohttp.ClientSession(timeout=total),
                retry_handlers=[],
                logger=quiet_logger(),
            )
        return self._client

    async def _id_of(self, channel: str) -> str:
        if channel not in self._ids and not _CHANNEL_ID.fullmatch(channel):
            described = await self.channel(channel)
            self._ids[channel] = str(described.get("id") or channel)
        return self._ids.get(channel, channel)

    async def _channel_named(self, name: str) -> Mapping[str, Any]:
        cursor = ""
        for _ in range(MAX_PAGES):
            call = self.web.conversations_list(
                cursor=cursor or None, limit=PAGE_SIZE, types="public_channel,private_channel", exclude_archived=False
            )
            answer = await self._call("conversations.list", call)
            found = next((c for c in answer.get("channels") or () if c.get("name") == name), None)
            if isinstance(found, dict):
                return found
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return {}
        raise TemporaryError(f"Slack conversations.list: no channel {name[:80]!r} on the first {MAX_PAGES} pages")

    async def _call(self, method: str, call: Awaitable[AsyncSlackResponse]) -> Mapping[str, Any]:
        try:
            answer = await call
        except (SlackClientError, aiohttp.ClientError, OSError) as e:
            raise failure(method, e) from e
        if not isinstance(answer.data, dict):
            raise AdapterError(f"Slack {method}: the answer is no object")
        return answer.data


class _NoSecrets(logging.Filter):
    """Takes tokens and connection tickets out of what the SDK logs; its tracebacks may quote them too."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _SECRETS.sub("***", record.getMessage()), ()
        record.exc_info = record.exc_text = None
        return True


def quiet_logger() -> logging.Logger:
    """Return the logger for the SDK and Bolt: warnings and above, without secrets."""
    logger = logging.getLogger("hdr_responder.slack")
    if not any(isinstance(f, _NoSecrets) for f in logger.filters):
        logger.addFilter(_NoSecrets())
        logger.setLevel(logging.WARNING)
    return logger


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str) or not value:
        raise AdapterError(f"Slack's answer has no {key}")
    return value
