"""The chat methods and ``response_url``: everything that puts a message into a conversation or changes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hdr_responder.domain.clock import Clock

from .limits import TokenBucket, Window
from .slack_content import UPDATE_TEXT, Content, is_timestamp, read_content, required
from .slack_errors import SlackRefusalError, SlackThrottledError
from .slack_pings import Ping, find_mentions
from .slack_state import (
    BOT_USER_ID,
    RESPONSE_URL_LIFE,
    RESPONSE_URL_USES,
    Channel,
    Message,
    ResponseTicket,
    Workspace,
)

JsonDict = dict[str, Any]
Method = Callable[[JsonDict], JsonDict]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackLimits:
    """Slack's limits, which a test may tighten or, to look at something else, loosen."""

    posts_per_second: float = 1.0
    post_burst: int = 3
    updates_per_minute: int = 50
    update_text: int = UPDATE_TEXT


@dataclass(slots=True)
class Switches:
    """States of the workspace that a test turns on."""

    token_revoked: bool = False
    edit_window_closed: bool = False


class Chat:
    """Posts, updates and deletes messages within the limits."""

    def __init__(self, workspace: Workspace, clock: Clock, limits: SlackLimits, switches: Switches) -> None:
        self._workspace = workspace
        self._clock = clock
        self._limits = limits
        self._switches = switches
        self._posts = TokenBucket(clock, per_second=limits.posts_per_second, burst=limits.post_burst)
        self._updates = Window(clock, limits.updates_per_minute)
        self.pings: list[Ping] = []

    def methods(self) -> dict[str, Method]:
        """Return the Web API methods by name."""
        return {
            "chat.postMessage": self.post,
            "chat.postEphemeral": self.post_ephemeral,
            "chat.update": self.update,
            "chat.delete": self.delete,
            "chat.getPermalink": self.permalink,
        }

    def post(self, args: JsonDict) -> JsonDict:
        """Post a message (1 a second per channel, with a small burst)."""
        channel = self.writable(args)
        _throttle(self._posts.take(channel.id))
        content = read_content(args)
        message = self._place(channel, content, thread_ts=self._thread(channel, args))
        self.note_pings("chat.postMessage", args, channel.id, message.ts)
        return {"channel": channel.id, "ts": message.ts, "message": message.to_json()}

    def post_ephemeral(self, args: JsonDict) -> JsonDict:
        """Show a message to one member of a channel."""
        channel = self.writable(args)
        (user,) = required(args, "user")
        if user not in channel.members:
            raise SlackRefusalError("user_not_in_channel")
        content = read_content(args)
        message = self._place(channel, content, thread_ts=self._thread(channel, args), ephemeral_to=user)
        self.note_pings("chat.postEphemeral", args, channel.id, message.ts)
        return {"message_ts": message.ts}

    def update(self, args: JsonDict) -> JsonDict:
        """Change a message of our own; what the call leaves out stays. A channel's name will not do."""
        _throttle(self._updates.take("chat.update"))
        channel, message = self._addressed(args)
        if message.user != BOT_USER_ID:
            raise SlackRefusalError("cant_update_message")
        if self._switches.edit_window_closed:
            raise SlackRefusalError("edit_window_closed")
        self._show(message, read_content(args, text_limit=self._limits.update_text))
        self.note_pings("chat.update", args, channel.id, message.ts)
        return {
            "channel": channel.id,
            "ts": message.ts,
            "text": message.text,
            "message": message.to_json(),
        }

    def delete(self, args: JsonDict) -> JsonDict:
        """Delete a message of our own."""
        channel, message = self._addressed(args)
        if message.user != BOT_USER_ID:
            raise SlackRefusalError("cant_delete_message")
        self._workspace.messages.remove(message)
        return {"channel": channel.id, "ts": message.ts}

    def permalink(self, args: JsonDict) -> JsonDict:
        """Give the address of a message."""
        channel_id, ts = required(args, "channel", "message_ts")
        if channel_id not in self._workspace.channels:
            raise SlackRefusalError("channel_not_found")
        if self._workspace.find_message(channel_id, ts) is None:
            raise SlackRefusalError("message_not_found")
        link = f"https://example.slack.com/archives/{channel_id}/p{ts.replace('.', '')}"
        return {"channel": channel_id, "permalink": link}

    def respond(self, ticket: ResponseTicket, args: JsonDict) -> None:
        """Answer an interaction through its ``response_url`` (5 uses within 30 minutes)."""
        if self._clock.now() - ticket.issued_at >= RESPONSE_URL_LIFE:
            raise SlackRefusalError("expired_url")
        if ticket.uses >= RESPONSE_URL_USES:
            raise SlackRefusalError("used_url")
        ticket.uses += 1
        channel = self._workspace.channels[ticket.channel]
        original = self._original(ticket)
        if args.get("delete_original") and original is not None:
            self._workspace.messages.remove(original)
            return
        content = read_content(args)
        if args.get("replace_original") and original is not None:
            self._show(original, content)
            self.note_pings("response_url", args, channel.id, original.ts)
            return
        shown_to = None if args.get("response_type") == "in_channel" else ticket.user
        thread_ts = args.get("thread_ts") or (original.thread_ts if original is not None else None)
        message = self._place(channel, content, thread_ts=thread_ts, ephemeral_to=shown_to)
        self.note_pings("response_url", args, channel.id, message.ts)

    def note_pings(self, method: str, args: JsonDict, channel: str, ts: str) -> None:
        """Keep whatever in these arguments notifies people."""
        for mention in find_mentions(args):
            self.pings.append(
                Ping(
                    kind=mention.kind,
                    text=mention.text,
                    where=mention.where,
                    method=method,
                    channel=channel,
                    ts=ts,
                )
            )

    def writable(self, args: JsonDict, key: str = "channel") -> Channel:
        """Find the conversation to post to: an id, a channel's name, or a user's id for a direct message."""
        (wanted,) = required(args, key)
        workspace = self._workspace
        if wanted in workspace.users:
            return workspace.direct_channel(wanted)
        channel = workspace.channels.get(wanted) or workspace.channel_by_name(wanted)
        return self._entered(channel)

    def _entered(self, channel: Channel | None) -> Channel:
        if channel is None:
            raise SlackRefusalError("channel_not_found")
        if BOT_USER_ID not in channel.members:
            raise SlackRefusalError("channel_not_found" if channel.is_private else "not_in_channel")
        if channel.is_archived:
            raise SlackRefusalError("is_archived")
        return channel

    def _addressed(self, args: JsonDict) -> tuple[Channel, Message]:
        channel_id, ts = required(args, "channel", "ts")
        channel = self._entered(self._workspace.channels.get(channel_id))
        message = self._workspace.find_message(channel.id, ts)
        if message is None:
            raise SlackRefusalError("message_not_found")
        return channel, message

    def _thread(self, channel: Channel, args: JsonDict) -> str | None:
        ts = args.get("thread_ts")
        if ts in (None, ""):
            return None
        if not is_timestamp(ts):
            raise SlackRefusalError("invalid_thread_ts", f"{ts} is not a valid thread_ts")
        parent = self._workspace.find_message(channel.id, str(ts))
        if parent is None:
            raise SlackRefusalError("thread_not_found")
        return parent.thread_ts or parent.ts

    def _original(self, ticket: ResponseTicket) -> Message | None:
        for message in self._workspace.messages:
            if message.ts == ticket.message_ts and message.channel == ticket.channel:
                return message
        return None

    def _place(
        self,
        channel: Channel,
        content: Content,
        *,
        thread_ts: str | None = None,
        ephemeral_to: str | None = None,
    ) -> Message:
        message = Message(
            channel=channel.id,
            ts=self._workspace.next_ts(),
            user=BOT_USER_ID,
            text=content.text,
            blocks=content.blocks or [],
            attachments=content.attachments or [],
            metadata=content.metadata,
            thread_ts=thread_ts,
            ephemeral_to=ephemeral_to,
        )
        self._workspace.messages.append(message)
        return message

    def _show(self, message: Message, content: Content) -> None:
        message.text = content.text or message.text
        message.blocks = message.blocks if content.blocks is None else content.blocks
        message.attachments = message.attachments if content.attachments is None else content.attachments
        message.metadata = content.metadata or message.metadata
        message.edits += 1
        message.edited_ts = self._workspace.next_ts()


def _throttle(seconds: int) -> None:
    if seconds:
        raise SlackThrottledError(seconds)
