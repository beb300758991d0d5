"""What the stand-in for Slack remembers: users, channels, messages, files, modals, and one-time tickets to answer."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hdr_responder.domain.clock import Clock

JsonDict = dict[str, Any]

TEAM_ID = "T0FAKETEAM"
APP_ID = "A0FAKEAPP0"
BOT_ID = "B0FAKEBOT0"
BOT_USER_ID = "U0FAKEBOT0"
RESPONSE_URL_USES = 5
RESPONSE_URL_LIFE = timedelta(minutes=30)
TRIGGER_LIFE = timedelta(seconds=3)


@dataclass(slots=True, kw_only=True)
class User:
    """A member of the workspace."""

    id: str
    name: str
    email: str
    is_bot: bool = False
    deleted: bool = False
    tz: str = "Etc/UTC"

    def to_json(self) -> JsonDict:
        """Show the user as Slack does."""
        profile = {"real_name": self.name.title(), "display_name": self.name, "email": self.email}
        return {
            "id": self.id,
            "team_id": TEAM_ID,
            "name": self.name,
            "real_name": self.name.title(),
            "deleted": self.deleted,
            "is_bot": self.is_bot,
            "tz": self.tz,
            "profile": profile,
        }


@dataclass(slots=True, kw_only=True)
class Channel:
    """A conversation; ``members`` holds user ids, the bot's own among them once it joined."""

    id: str
    name: str
    members: set[str] = field(default_factory=set)
    is_private: bool = False
    is_im: bool = False
    is_archived: bool = False

    def to_json(self) -> JsonDict:
        """Show the channel as Slack does."""
        return {
            "id": self.id,
            "name": self.name,
            "is_channel": not self.is_im,
            "is_im": self.is_im,
            "is_private": self.is_private,
            "is_archived": self.is_archived,
            "is_member": BOT_USER_ID in self.members,
            "num_members": len(self.members),
        }


@dataclass(slots=True, kw_only=True)
class Message:
    """A message as it is shown now. ``edits`` counts updates; ``ephemeral_to`` names the only user who sees it."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: list[JsonDict] = field(default_factory=list)
    attachments: list[JsonDict] = field(default_factory=list)
    thread_ts: str | None = None
    metadata: JsonDict | None = None
    edits: int = 0
    edited_ts: str | None = None
    ephemeral_to: str | None = None
    reactions: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def to_json(self) -> JsonDict:
        """Show the message as Slack does."""
        shown: JsonDict = {"type": "message", "user": self.user, "ts": self.ts, "text": self.text, "team": TEAM_ID}
        if self.user == BOT_USER_ID:
            shown |= {"bot_id": BOT_ID, "app_id": APP_ID}
        for key in ("blocks", "attachments", "thread_ts", "metadata"):
            value = getattr(self, key)
            if value:
                shown[key] = value
        if self.edits:
            shown["edited"] = {"user": self.user, "ts": self.edited_ts}
        if self.files:
            shown["files"] = [{"id": file_id} for file_id in self.files]
        if self.reactions:
            names = dict.fromkeys(name for name, _ in self.reactions)
            shown["reactions"] = [
                {"name": name, "users": [user for other, user in self.reactions if other == name]} for name in names
            ]
        return shown


@dataclass(slots=True, kw_only=True)
class File:
    """An uploaded file; ``content`` is None until its bytes arrived, ``channel`` until it was shared."""

    id: str
    name: str
    length: int
    title: str = ""
    content: bytes | None = None
    channel: str | None = None
    thread_ts: str | None = None
    completed: bool = False


@dataclass(slots=True, kw_only=True)
class View:
    """A modal that the product opened; ``view`` is as it was given."""

    id: str
    view: JsonDict
    user: str
    hash: str


@dataclass(slots=True, kw_only=True)
class ResponseTicket:
    """A ``response_url``: whom it answers, and how often it was used."""

    token: str
    channel: str
    user: str
    issued_at: datetime
    message_ts: str | None = None
    uses: int = 0


@dataclass(slots=True, kw_only=True)
class Trigger:
    """A ``trigger_id``: opens one modal within three seconds."""

    id: str
    user: str
    issued_at: datetime
    used: bool = False


class Workspace:
    """The state of one Slack workspace with the product's app installed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_ts = 0
        self._ids = 0
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.messages: list[Message] = []
        self.files: dict[str, File] = {}
        self.views: dict[str, View] = {}
        self.tickets: dict[str, ResponseTicket] = {}
        self.triggers: dict[str, Trigger] = {}

    def next_id(self, prefix: str) -> str:
        """Make an id in Slack's form, ``C0...``."""
        self._ids += 1
        return f"{prefix}0{self._ids:08d}"

    def next_ts(self) -> str:
        """Make a message's timestamp: unique, rising, six decimals."""
        now = int(self._clock.now().timestamp() * 1_000_000)
        self._last_ts = max(now, self._last_ts + 1)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def channel_by_name(self, name: str) -> Channel | None:
        """Find a channel by its name, with or without ``#``."""
        wanted = name.removeprefix("#")
        return next((c for c in self.channels.values() if c.name == wanted and not c.is_im), None)

    def direct_channel(self, user_id: str) -> Channel:
        """Return the direct conversation between the bot and a user."""
        channel_id = "D" + user_id[1:]
        if channel_id not in self.channels:
            members = {user_id, BOT_USER_ID}
            self.channels[channel_id] = Channel(id=channel_id, name=user_id, members=members, is_im=True)
        return self.channels[channel_id]

    def find_message(self, channel_id: str, ts: str) -> Message | None:
        """Find a message that is visible in a channel; ephemeral ones cannot be addressed."""
        for message in self.messages:
            if message.channel == channel_id and message.ts == ts and message.ephemeral_to is None:
                return message
        return None

    def issue_ticket(self, channel_id: str, user_id: str, message_ts: str | None) -> ResponseTicket:
        """Make a ``response_url``'s ticket."""
        ticket = ResponseTicket(
            token=secrets.token_urlsafe(18),
            channel=channel_id,
            user=user_id,
            issued_at=self._clock.now(),
            message_ts=message_ts,
        )
        self.tickets[ticket.token] = ticket
        return ticket

    def issue_trigger(self, user_id: str) -> Trigger:
        """Make a ``trigger_id``."""
        trigger = Trigger(id=f"1.2.{secrets.token_hex(16)}", user=user_id, issued_at=self._clock.now())
        self.triggers[trigger.id] = trigger
        return trigger
