"""The Slack lane: one message per incident, edited in place, with the details in its thread."""

from __future__ import annotations

import structlog

from hdr_responder.adapters.rate_limits import RateLimits
from hdr_responder.adapters.slack.card import Content, card
from hdr_responder.adapters.slack.client import SlackAccess, SlackApi
from hdr_responder.adapters.slack.failures import CHANNEL_GONE, MESSAGE_GONE, SlackRefusedError
from hdr_responder.adapters.slack.once import OnceOnly, Post
from hdr_responder.adapters.slack.text import MESSAGE_LIMIT, fit
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.ports.people import Posted
from hdr_responder.domain.ports.records import IncidentRecord
from hdr_responder.domain.ports.store import Message
from hdr_responder.errors import AdapterError, PermanentError

THREAD_LIMIT = MESSAGE_LIMIT
PAGE_LIMIT = 600

log = structlog.get_logger(__name__)


class SlackSender:
    """Delivers to one channel. Implements LaneSender."""

    lane = Lane.SLACK

    def __init__(self, access: SlackAccess, limits: RateLimits) -> None:
        self._access = access
        self._mention = _mention(access.page_mention)
        self.api = SlackApi(access, limits)
        self._once = OnceOnly(self.api)

    async def send(self, notification: Notification, record: IncidentRecord | None, message: Message | None) -> Posted:
        """Deliver one notification; see LaneSender.

        Pages come here only when there is no pager: they are shown in the channel too, and ping whom the settings name.
        """
        match notification.kind:
            case NotificationKind.CARD:
                return await self._show(notification, _needed(record), message)
            case NotificationKind.THREAD if notification.payload.get("channel"):
                return await self._elsewhere(notification, _needed(record))
            case NotificationKind.THREAD:
                text = fit(_payload_text(notification), THREAD_LIMIT)
                return await self._reply(notification, _needed(record), message, Content(text=text))
            case NotificationKind.PAGE:
                return await self._reply(notification, _needed(record), message, self._page(notification, record))
            case NotificationKind.PAGE_ACK | NotificationKind.PAGE_RESOLVE:
                return Posted()
            case NotificationKind.TEST:
                text = "Test message of hdr-responder: incidents will be shown here. Nothing has happened."
                await self.api.post(self._access.channel, Content(text=text))
                return Posted()

    async def check(self) -> str:
        """Prove token and channel without posting; see LaneSender."""
        me = await self.api.whoami()
        names = [await self._joined(self._access.channel, "HDR_SLACK__CHANNEL")]
        names += [await self._joined(channel, "HDR_SLACK__CHANNELS") for channel in self._access.channels]
        return f"Slack: @{me.get('user')} of {me.get('team')} is in {', '.join(names)}"

    async def close(self) -> None:
        """Give connections back."""
        await self.api.close()

    async def _joined(self, wanted: str, setting: str) -> str:
        """Return a channel's name; raises PermanentError when it cannot be posted to."""
        channel = await self.api.channel(wanted)
        if not channel:
            raise PermanentError(f"Slack: no channel {wanted[:80]!r}: check {setting}")
        name = str(channel.get("name") or wanted)[:80]
        if channel.get("is_archived"):
            raise PermanentError(f"Slack: #{name} is archived: unarchive it or set another {setting}")
        if channel.get("is_member") is False:
            raise PermanentError(f"Slack: the app is not in #{name}: invite it with /invite @hdr-responder")
        return f"#{name}"

    async def _elsewhere(self, notification: Notification, record: IncidentRecord) -> Posted:
        """Post in a channel of the settings, with the incident's name, since the thread does not tell it there."""
        text = fit(f"{record.incident.ref}: {_payload_text(notification)}", THREAD_LIMIT)
        channel = str(notification.payload["channel"])
        await self._once.post(notification, Post(channel=channel, content=Content(text=text), part="post"))
        return Posted()

    async def _show(self, notification: Notification, record: IncidentRecord, message: Message | None) -> Posted:
        """Edit the incident's message, or post it where there is none any more."""
        content = card(record)
        if message is not None:
            try:
                await self.api.update(message, content)
            except SlackRefusedError as e:
                if e.code not in MESSAGE_GONE | CHANNEL_GONE:
                    raise
                log.warning("posting the incident's message anew", incident=record.incident.ref, reason=e.code)
            else:
                return Posted()
        post = Post(channel=self._access.channel, content=content, part="card")
        return Posted(message=await self._once.post(notification, post))

    async def _reply(
        self, notification: Notification, record: IncidentRecord, message: Message | None, content: Content
    ) -> Posted:
        """Reply in the incident's thread, posting its message first where there is none."""
        if message is None:
            return await self._start_thread(notification, record, content)
        try:
            await self._post_reply(notification, message, content)
        except SlackRefusedError as e:
            if e.code not in MESSAGE_GONE | CHANNEL_GONE:
                raise
            log.warning("starting the incident's thread anew", incident=record.incident.ref, reason=e.code)
            return await self._start_thread(notification, record, content)
        return Posted()

    async def _start_thread(self, notification: Notification, record: IncidentRecord, content: Content) -> Posted:
        """Post the incident's message and the reply; Slack takes the two as a burst, so only the first is paced."""
        posted = (await self._show(notification, record, None)).message
        if posted is None:
            raise AdapterError("Slack: the incident's new message has no place")
        await self._post_reply(notification, posted, content, paced=False)
        return Posted(message=posted)

    async def _post_reply(
        self, notification: Notification, message: Message, content: Content, *, paced: bool = True
    ) -> None:
        post = Post(
            channel=message.channel,
            content=content,
            part="reply",
            thread_ts=message.message_id,
            broadcast=notification.kind is NotificationKind.PAGE,
            paced=paced,
        )
        await self._once.post(notification, post)

    def _page(self, notification: Notification, record: IncidentRecord | None) -> Content:
        incident = _needed(record).incident
        said = _payload_text(notification, default=incident.title)
        return Content(text=f"{self._mention}{fit(f'Needs a person now: {incident.ref} {said}', PAGE_LIMIT)}")


def _needed(record: IncidentRecord | None) -> IncidentRecord:
    if record is None:
        raise AdapterError("Slack: this notification needs an incident")
    return record


def _payload_text(notification: Notification, default: str = "") -> str:
    text = notification.payload.get("text")
    return text if isinstance(text, str) and text.strip() else default or "(no text)"


def _mention(setting: str) -> str:
    """Return the markup for whom a page pings, followed by a space."""
    if setting in {"here", "channel"}:
        return f"<!{setting}> "
    group = setting.removeprefix("subteam:")
    return f"<!subteam^{group}> " if setting.startswith("subteam:") and group.isalnum() else ""
