"""The Web API methods beside chat: who we are, conversations, people, reactions, modals and files."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from hdr_responder.domain.clock import Clock

from .slack_blocks import check_modal
from .slack_chat import Chat
from .slack_content import required, structured
from .slack_errors import SlackRefusalError
from .slack_state import (
    BOT_ID,
    BOT_USER_ID,
    TEAM_ID,
    TRIGGER_LIFE,
    Channel,
    File,
    Message,
    View,
    Workspace,
)

JsonDict = dict[str, Any]
Method = Callable[[JsonDict], JsonDict]
PAGE = 100


class Methods:
    """Answers the calls; chat is given, since sharing a file posts a message."""

    def __init__(self, workspace: Workspace, clock: Clock, chat: Chat, upload_url: Callable[[str], str]) -> None:
        self._workspace = workspace
        self._clock = clock
        self._chat = chat
        self._upload_url = upload_url

    def methods(self) -> dict[str, Method]:
        """Return the Web API methods by name."""
        return {
            "auth.test": self.auth_test,
            "conversations.info": self.channel_info,
            "conversations.list": self.channel_list,
            "conversations.members": self.channel_members,
            "conversations.join": self.channel_join,
            "conversations.open": self.channel_open,
            "conversations.history": self.history,
            "conversations.replies": self.replies,
            "users.info": self.user_info,
            "users.list": self.user_list,
            "users.lookupByEmail": self.user_by_email,
            "reactions.add": self.react,
            "views.open": self.view_open,
            "views.update": self.view_update,
            "files.getUploadURLExternal": self.file_begin,
            "files.completeUploadExternal": self.file_complete,
        }

    def auth_test(self, args: JsonDict) -> JsonDict:
        """Say whose token this is."""
        return {
            "url": "https://example.slack.com/",
            "team": "Example",
            "user": self._workspace.users[BOT_USER_ID].name,
            "team_id": TEAM_ID,
            "user_id": BOT_USER_ID,
            "bot_id": BOT_ID,
            "is_enterprise_install": False,
        }

    def channel_info(self, args: JsonDict) -> JsonDict:
        """Describe a conversation."""
        return {"channel": self._visible(args).to_json()}

    def channel_list(self, args: JsonDict) -> JsonDict:
        """List the conversations that the bot can see, by page."""
        visible = [
            c
            for c in self._workspace.channels.values()
            if not c.is_im and (not c.is_private or BOT_USER_ID in c.members)
        ]
        page, cursor = _page([c.to_json() for c in visible], args)
        return {"channels": page, "response_metadata": {"next_cursor": cursor}}

    def channel_members(self, args: JsonDict) -> JsonDict:
        """List the members of a conversation, by page."""
        page, cursor = _page(sorted(self._visible(args).members), args)
        return {"members": page, "response_metadata": {"next_cursor": cursor}}

    def channel_join(self, args: JsonDict) -> JsonDict:
        """Join a public channel."""
        channel = self._visible(args)
        if channel.is_private or channel.is_im:
            raise SlackRefusalError("method_not_supported_for_channel_type")
        if channel.is_archived:
            raise SlackRefusalError("is_archived")
        channel.members.add(BOT_USER_ID)
        return {"channel": channel.to_json()}

    def channel_open(self, args: JsonDict) -> JsonDict:
        """Open the direct conversation with one user."""
        (user_id,) = required(args, "users")
        if user_id not in self._workspace.users:
            raise SlackRefusalError("user_not_found")
        return {"channel": {"id": self._workspace.direct_channel(user_id).id}}

    def history(self, args: JsonDict) -> JsonDict:
        """List the messages of a conversation without replies, newest first, by page."""
        channel = self._entered(args)
        shown = [m for m in self._posted(channel, args) if m.thread_ts in {None, m.ts}]
        page, cursor = _page([m.to_json() for m in reversed(shown)], args)
        return {"messages": page, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}

    def replies(self, args: JsonDict) -> JsonDict:
        """List a thread, its first message included, oldest first, by page."""
        channel = self._entered(args)
        (ts,) = required(args, "ts")
        root = self._workspace.find_message(channel.id, ts)
        if root is None:
            raise SlackRefusalError("thread_not_found")
        parent = root.thread_ts or root.ts
        shown = [m for m in self._posted(channel, args) if parent in {m.ts, m.thread_ts}]
        page, cursor = _page([m.to_json() for m in shown], args)
        return {"messages": page, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}

    def user_info(self, args: JsonDict) -> JsonDict:
        """Describe a user."""
        (user_id,) = required(args, "user")
        user = self._workspace.users.get(user_id)
        if user is None:
            raise SlackRefusalError("user_not_found")
        return {"user": user.to_json()}

    def user_list(self, args: JsonDict) -> JsonDict:
        """List the users, by page."""
        page, cursor = _page([u.to_json() for u in self._workspace.users.values()], args)
        return {"members": page, "response_metadata": {"next_cursor": cursor}}

    def user_by_email(self, args: JsonDict) -> JsonDict:
        """Find a user by e-mail address."""
        (email,) = required(args, "email")
        for user in self._workspace.users.values():
            if user.email.casefold() == email.casefold() and not user.deleted:
                return {"user": user.to_json()}
        raise SlackRefusalError("users_not_found")

    def react(self, args: JsonDict) -> JsonDict:
        """Add the bot's reaction to a message."""
        channel = self._entered(args)
        name, ts = required(args, "name", "timestamp")
        message = self._workspace.find_message(channel.id, ts)
        if message is None:
            raise SlackRefusalError("message_not_found")
        if name.startswith(":"):
            raise SlackRefusalError("invalid_name")
        if (name, BOT_USER_ID) in message.reactions:
            raise SlackRefusalError("already_reacted")
        message.reactions.append((name, BOT_USER_ID))
        return {}

    def view_open(self, args: JsonDict) -> JsonDict:
        """Open a modal; the trigger lives three seconds and works once."""
        (trigger_id,) = required(args, "trigger_id")
        trigger = self._workspace.triggers.get(trigger_id)
        if trigger is None:
            raise SlackRefusalError("invalid_trigger_id")
        if self._clock.now() - trigger.issued_at >= TRIGGER_LIFE:
            raise SlackRefusalError("expired_trigger_id")
        if trigger.used:
            raise SlackRefusalError("exchanged_trigger_id")
        given = _modal(args)
        trigger.used = True
        view = View(id=self._workspace.next_id("V"), view=given, user=trigger.user, hash=secrets.token_hex(6))
        self._workspace.views[view.id] = view
        return {"view": given | {"id": view.id, "hash": view.hash, "team_id": TEAM_ID}}

    def view_update(self, args: JsonDict) -> JsonDict:
        """Replace a modal; a ``hash`` guards against a race."""
        view = self._workspace.views.get(str(args.get("view_id")))
        if view is None:
            raise SlackRefusalError("not_found")
        if args.get("hash") not in (None, "", view.hash):
            raise SlackRefusalError("hash_conflict")
        view.view = _modal(args)
        view.hash = secrets.token_hex(6)
        return {"view": view.view | {"id": view.id, "hash": view.hash, "team_id": TEAM_ID}}

    def file_begin(self, args: JsonDict) -> JsonDict:
        """Give an address to upload ``length`` bytes to."""
        name, length = required(args, "filename", "length")
        if not length.isdigit() or int(length) == 0:
            raise SlackRefusalError("invalid_arguments", "length must be a positive number of bytes")
        file = File(id=self._workspace.next_id("F"), name=name, length=int(length))
        self._workspace.files[file.id] = file
        return {"upload_url": self._upload_url(file.id), "file_id": file.id}

    def file_complete(self, args: JsonDict) -> JsonDict:
        """Finish uploads and, when a channel is named, share them there in one message."""
        given = structured(args, "files", "invalid_arguments")
        if not isinstance(given, list) or not given:
            raise SlackRefusalError("invalid_arguments", "missing required field: files")
        files = [self._uploaded(entry) for entry in given]
        channel_id = args.get("channel_id") or args.get("channels")
        channel = self._entered({"channel": channel_id}) if channel_id else None
        for file, entry in zip(files, given, strict=True):
            file.title, file.completed = entry.get("title") or file.name, True
        if channel is not None:
            self._share(channel, files, args)
        return {"files": [{"id": file.id, "title": file.title} for file in files]}

    def _share(self, channel: Channel, files: list[File], args: JsonDict) -> None:
        message = Message(
            channel=channel.id,
            ts=self._workspace.next_ts(),
            user=BOT_USER_ID,
            text=args.get("initial_comment") or "",
            thread_ts=args.get("thread_ts") or None,
            files=[file.id for file in files],
        )
        self._workspace.messages.append(message)
        for file in files:
            file.channel, file.thread_ts = channel.id, message.thread_ts
        self._chat.note_pings("files.completeUploadExternal", args, channel.id, message.ts)

    def _uploaded(self, entry: Any) -> File:
        file = self._workspace.files.get(str(entry.get("id"))) if isinstance(entry, dict) else None
        if file is None or file.content is None or file.completed:
            raise SlackRefusalError("file_not_found")
        return file

    def _visible(self, args: JsonDict) -> Channel:
        (channel_id,) = required(args, "channel")
        channel = self._workspace.channels.get(channel_id)
        if channel is None or (channel.is_private and BOT_USER_ID not in channel.members):
            raise SlackRefusalError("channel_not_found")
        return channel

    def _entered(self, args: JsonDict) -> Channel:
        channel = self._visible(args)
        if BOT_USER_ID not in channel.members:
            raise SlackRefusalError("not_in_channel")
        return channel

    def _posted(self, channel: Channel, args: JsonDict) -> list[Message]:
        oldest, latest = args.get("oldest") or "0", args.get("latest") or "9999999999.999999"
        inclusive = str(args.get("inclusive", "0")) in {"1", "true", "True"}
        return [
            m
            for m in self._workspace.messages
            if m.channel == channel.id
            and m.ephemeral_to is None
            and (oldest < m.ts < latest or (inclusive and m.ts in {oldest, latest}))
        ]


def _modal(args: JsonDict) -> JsonDict:
    view = structured(args, "view", "invalid_arguments")
    if not isinstance(view, dict):
        raise SlackRefusalError("invalid_arguments", "missing required field: view")
    problems = check_modal(view)
    if problems:
        raise SlackRefusalError("invalid_arguments", *problems)
    return view


def _page(items: Sequence[Any], args: JsonDict) -> tuple[list[Any], str]:
    """Cut a page out of ``items``; return it with the cursor of the next, empty at the end."""
    start = str(args.get("cursor") or "0")
    limit = str(args.get("limit") or PAGE)
    if not start.isdigit():
        raise SlackRefusalError("invalid_cursor")
    if not limit.isdigit() or not 1 <= int(limit) <= 1000:
        raise SlackRefusalError("invalid_limit")
    end = int(start) + int(limit)
    return list(items[int(start) : end]), str(end) if end < len(items) else ""
