"""Posts a notification's message once, although an attempt may have succeeded without our hearing of it.

Every message carries its notification's tag; a later attempt looks for the tag before it posts. Looking costs calls, so
it is left out where every earlier attempt is known to have been turned away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from hdr_responder.adapters.rate_limits import ThrottledError
from hdr_responder.adapters.slack.card import Content
from hdr_responder.adapters.slack.client import SlackApi
from hdr_responder.adapters.slack.failures import CHANNEL_GONE, MESSAGE_GONE, SlackRefusedError
from hdr_responder.domain.notifications import Notification
from hdr_responder.domain.ports.store import Message

CLOCK_DIFFERENCE_SECONDS = 60.0
MAX_REMEMBERED = 1000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What is to be posted where; ``part`` tells the messages of one notification apart."""

    channel: str
    content: Content
    part: str
    thread_ts: str | None = None
    broadcast: bool = False
    paced: bool = True


class OnceOnly:
    """Posts through the API, once per notification and part."""

    def __init__(self, api: SlackApi) -> None:
        self._api = api
        self._turned_away: dict[tuple[int, str], int] = {}

    async def post(self, notification: Notification, post: Post) -> Message:
        """Post, or return what an earlier attempt posted; raises as `SlackApi.post`."""
        key = (notification.id, post.part)
        tag = {"notification": notification.id, "part": post.part}
        untried = notification.attempts <= 1 or self._turned_away.get(key) == notification.attempts - 1
        found = None if untried else await self._find(notification, post, tag)
        if found is not None:
            return found
        try:
            return await self._api.post(
                post.channel,
                post.content,
                thread_ts=post.thread_ts,
                broadcast=post.broadcast,
                tag=tag,
                paced=post.paced,
            )
        except ThrottledError:
            if untried:
                self._remember(key, notification.attempts)
            raise

    def _remember(self, key: tuple[int, str], attempts: int) -> None:
        if len(self._turned_away) >= MAX_REMEMBERED:
            self._turned_away.clear()
        self._turned_away[key] = attempts

    async def _find(self, notification: Notification, post: Post, tag: Mapping[str, object]) -> Message | None:
        """Look for an earlier post; without the right to look, post again rather than not at all."""
        since = notification.created_at.timestamp() - CLOCK_DIFFERENCE_SECONDS
        try:
            return await self._api.find(post.channel, tag, since=since, thread_ts=post.thread_ts)
        except SlackRefusedError as e:
            if e.code in MESSAGE_GONE | CHANNEL_GONE:
                raise
            log.warning("cannot look for an earlier post", reason=e.code)
            return None
