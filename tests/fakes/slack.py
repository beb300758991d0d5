"""A server that stands in for Slack: the Web API towards the product, and Slack's requests to it.

It enforces what the Slack contract says (limits, membership, rates, signatures) and keeps messages as state, so that a
test looks at what people would see rather than at which calls were made.
"""

from __future__ import annotations

import hmac
import json
import secrets
from typing import Any, Self

from aiohttp import web

from hdr_responder.domain.clock import Clock

from .server import Delivered, FakeServer, JsonDict, Reply
from .slack_chat import Chat, Method, SlackLimits, Switches
from .slack_errors import SlackRefusalError, SlackThrottledError
from .slack_inbound import (
    FORM,
    Delivery,
    block_actions,
    event_callback,
    find_element,
    form_payload,
    pressed,
    slash_command,
    view_submission,
)
from .slack_methods import Methods
from .slack_pings import Ping
from .slack_state import BOT_USER_ID, TEAM_ID, Channel, File, Message, User, View, Workspace

RESPONSE_URL = "response_url"
UPLOAD = "files.upload"
_SCOPES = (
    "channels:history,channels:join,channels:read,chat:write,commands,files:write,reactions:write,"
    "users:read,users:read.email"
)


class FakeSlack(FakeServer):
    """One workspace with a bot, a person ``alice`` and the channel ``#incidents`` that both are in.

    ``fail_next`` knows the Web API's methods, ``response_url`` and ``files.upload`` (the bytes of a file). Set
    ``switches.token_revoked`` or ``switches.edit_window_closed`` to turn such a state on.
    """

    def __init__(self, *, clock: Clock | None = None, limits: SlackLimits | None = None) -> None:
        super().__init__(clock=clock)
        self.bot_token = f"xoxb-{secrets.token_hex(12)}"
        self.signing_secret = secrets.token_hex(16)
        self.switches = Switches()
        self.workspace = Workspace(self.clock)
        self._chat = Chat(self.workspace, self.clock, limits or SlackLimits(), self.switches)
        others = Methods(self.workspace, self.clock, self._chat, self._upload_url)
        self._methods: dict[str, Method] = self._chat.methods() | others.methods()
        bot = User(id=BOT_USER_ID, name="responder", email="", is_bot=True)
        self.workspace.users[bot.id] = bot
        self.alice = self.add_user("alice")
        self.channel = self.add_channel("incidents", members=[self.alice])

    @classmethod
    async def start(cls, *, clock: Clock | None = None, limits: SlackLimits | None = None) -> Self:
        """Make one and open its port."""
        server = cls(clock=clock, limits=limits)
        await server.open()
        return server

    @property
    def url(self) -> str:
        """The base of the Web API, with its slash at the end (``HDR_SLACK__API_URL``)."""
        return f"{self._base_url}/api/"

    @property
    def pings(self) -> list[Ping]:
        """Whatever notified people so far, oldest first."""
        return self._chat.pings

    @property
    def views(self) -> list[View]:
        """The modals that were opened, oldest first."""
        return list(self.workspace.views.values())

    @property
    def files(self) -> list[File]:
        """The files whose upload was finished, oldest first."""
        return [file for file in self.workspace.files.values() if file.completed]

    def add_user(self, name: str, *, email: str | None = None) -> User:
        """Add a person."""
        user = User(id=self.workspace.next_id("U"), name=name, email=email or f"{name}@example.com")
        self.workspace.users[user.id] = user
        return user

    def add_channel(
        self,
        name: str,
        *,
        members: list[User] | None = None,
        bot_is_member: bool = True,
        is_private: bool = False,
    ) -> Channel:
        """Add a channel with these people in it."""
        inside = {user.id for user in members or []} | ({BOT_USER_ID} if bot_is_member else set())
        channel = Channel(
            id=self.workspace.next_id("C"), name=name.removeprefix("#"), members=inside, is_private=is_private
        )
        self.workspace.channels[channel.id] = channel
        return channel

    def say(self, text: str, *, user: User, channel: Channel | None = None, thread_ts: str | None = None) -> Message:
        """Let a person write a message (without an event to the product; see ``event``)."""
        message = Message(
            channel=(channel or self.channel).id,
            ts=self.workspace.next_ts(),
            user=user.id,
            text=text,
            thread_ts=thread_ts,
        )
        self.workspace.messages.append(message)
        return message

    def messages(self, channel: Channel | str | None = None) -> list[Message]:
        """Return what everybody sees in a channel (object, id or name; default: #incidents), replies included."""
        wanted = self._channel_id(channel)
        return [m for m in self.workspace.messages if m.channel == wanted and m.ephemeral_to is None]

    def top_level(self, channel: Channel | str | None = None) -> list[Message]:
        """Return a channel's messages without the replies."""
        return [m for m in self.messages(channel) if m.thread_ts in {None, m.ts}]

    def thread(self, root: Message) -> list[Message]:
        """Return the replies to a message, oldest first."""
        return [m for m in self.messages(root.channel) if m.thread_ts == root.ts and m.ts != root.ts]

    def ephemerals(self, user: User | None = None) -> list[Message]:
        """Return what only one person sees (default: of anybody)."""
        return [
            m
            for m in self.workspace.messages
            if m.ephemeral_to is not None and (user is None or m.ephemeral_to == user.id)
        ]

    async def click(
        self,
        app_url: str,
        *,
        action_id: str,
        message: Message,
        value: str | None = None,
        user: User | None = None,
        stale_element: JsonDict | None = None,
        delivery: Delivery | None = None,
    ) -> Delivered:
        """Press a button of a message.

        The button must be there (LookupError), unless ``stale_element`` gives one that the user still had on screen.
        """
        person = user or self.alice
        if stale_element is None:
            block_id, element = find_element(message, action_id, value)
        else:
            block_id, element = "stale", {"type": "button", "action_id": action_id, "value": value} | stale_element
        payload = block_actions(
            user=person,
            channel=self.workspace.channels[message.channel],
            message=message,
            action=pressed(block_id, element, self.workspace.next_ts()),
            trigger_id=self.workspace.issue_trigger(person.id).id,
            response_url=self.response_url(message.channel, person, message),
        )
        return await self.interact(app_url, payload, delivery=delivery)

    async def submit(
        self,
        app_url: str,
        *,
        view: View,
        values: JsonDict,
        user: User | None = None,
        delivery: Delivery | None = None,
    ) -> Delivered:
        """Submit a modal; ``values`` maps block id to action id to the element's state."""
        person = user or self.alice
        trigger_id = self.workspace.issue_trigger(person.id).id
        payload = view_submission(user=person, view=view, values=values, trigger_id=trigger_id)
        return await self.interact(app_url, payload, delivery=delivery)

    async def interact(self, app_url: str, payload: JsonDict, *, delivery: Delivery | None = None) -> Delivered:
        """Send an interactivity payload of any shape."""
        return await self.send(app_url, form_payload(payload), content_type=FORM, delivery=delivery)

    async def command(
        self,
        app_url: str,
        command: str,
        text: str = "",
        *,
        user: User | None = None,
        channel: Channel | None = None,
        delivery: Delivery | None = None,
    ) -> Delivered:
        """Enter a slash command; ``command`` carries its slash."""
        person, place = user or self.alice, channel or self.channel
        body = slash_command(
            command=command,
            text=text,
            user=person,
            channel=place,
            trigger_id=self.workspace.issue_trigger(person.id).id,
            response_url=self.response_url(place.id, person),
        )
        return await self.send(app_url, body, content_type=FORM, delivery=delivery)

    async def event(
        self,
        app_url: str,
        event: JsonDict,
        *,
        event_id: str | None = None,
        delivery: Delivery | None = None,
    ) -> Delivered:
        """Send an event; give the same ``event_id`` again (with ``Delivery.retry``) to repeat one."""
        envelope = event_callback(event, event_id=event_id or self.workspace.next_id("Ev"), now=self.clock.now())
        return await self.send(app_url, json.dumps(envelope).encode(), delivery=delivery)

    async def verify_url(self, app_url: str, challenge: str, *, delivery: Delivery | None = None) -> Delivered:
        """Send the challenge that Slack sends when the request URL is set."""
        body = {"token": "deprecated", "challenge": challenge, "type": "url_verification"}
        return await self.send(app_url, json.dumps(body).encode(), delivery=delivery)

    async def send(
        self,
        app_url: str,
        body: bytes,
        *,
        content_type: str = "application/json",
        delivery: Delivery | None = None,
    ) -> Delivered:
        """Send raw bytes to the product's ``/slack/events``; DeadlineMissedError after 3 s."""
        how = delivery or Delivery()
        headers = how.headers(body, secret=self.signing_secret, now=self.clock.now(), content_type=content_type)
        url = app_url.rstrip("/") + "/slack/events"
        return await self._deliver(url, body=body, headers=headers, deadline=how.deadline)

    def response_url(self, channel_id: str, user: User, message: Message | None = None) -> str:
        """Make a ``response_url`` for this user there."""
        ticket = self.workspace.issue_ticket(channel_id, user.id, message.ts if message else None)
        return f"{self._base_url}/actions/{TEAM_ID}/{ticket.token}"

    def _upload_url(self, file_id: str) -> str:
        return f"{self._base_url}/upload/v1/{file_id}"

    def _channel_id(self, channel: Channel | str | None) -> str:
        if channel is None:
            return self.channel.id
        if isinstance(channel, Channel):
            return channel.id
        named = self.workspace.channel_by_name(channel)
        return named.id if named is not None else channel

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/{method}", self._on_call),
            web.get("/api/{method}", self._on_call),
            web.post("/upload/v1/{file_id}", self._on_upload),
            web.post("/actions/{team}/{token}", self._on_response),
        ]

    async def _on_call(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        args, problem = await _read_args(request)
        token = _token(request, args)
        return await self._serve(request, method, args, lambda: self._answer_call(method, args, token, problem))

    def _answer_call(self, method: str, args: JsonDict, token: str, problem: str | None) -> Reply:
        try:
            self._authorize(token)
            body = self._method(method, problem)(args)
        except SlackRefusalError as e:
            return Reply(body=e.to_json(), error=e.error)
        except SlackThrottledError as e:
            return self._throttled_reply(e.retry_after)
        return Reply(body={"ok": True} | body, headers={"X-OAuth-Scopes": _SCOPES})

    def _method(self, name: str, problem: str | None) -> Method:
        if problem is not None:
            raise SlackRefusalError(problem)
        if name not in self._methods:
            raise SlackRefusalError("unknown_method")
        return self._methods[name]

    def _authorize(self, token: str) -> None:
        if not token:
            raise SlackRefusalError("not_authed")
        if not hmac.compare_digest(token.encode(), self.bot_token.encode()):
            raise SlackRefusalError("invalid_auth")
        if self.switches.token_revoked:
            raise SlackRefusalError("token_revoked")

    async def _on_upload(self, request: web.Request) -> web.Response:
        file_id = request.match_info["file_id"]
        content = await request.read()
        args = {"file_id": file_id, "length": len(content)}
        return await self._serve(request, UPLOAD, args, lambda: self._answer_upload(file_id, content))

    def _answer_upload(self, file_id: str, content: bytes) -> Reply:
        file = self.workspace.files.get(file_id)
        if file is None:
            return Reply(status=404, body="not found", error="not_found", content_type="text/plain")
        if len(content) != file.length:
            return Reply(status=400, body="wrong length", error="wrong_length", content_type="text/plain")
        file.content = content
        return Reply(body=f"OK - {len(content)}", content_type="text/plain")

    async def _on_response(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        args, problem = await _read_args(request)
        return await self._serve(request, RESPONSE_URL, args, lambda: self._answer_response(token, args, problem))

    def _answer_response(self, token: str, args: JsonDict, problem: str | None) -> Reply:
        ticket = self.workspace.tickets.get(token)
        if ticket is None:
            return Reply(status=404, body={"ok": False, "error": "invalid_url"}, error="invalid_url")
        if problem is not None:
            return Reply(status=400, body={"ok": False, "error": "invalid_payload"}, error="invalid_payload")
        try:
            self._chat.respond(ticket, args)
        except SlackRefusalError as e:
            status = 404 if e.error in {"expired_url", "used_url"} else 400
            return Reply(status=status, body=e.to_json(), error=e.error)
        return Reply(body={"ok": True})

    def _error_reply(self, error: str) -> Reply:
        return Reply(body={"ok": False, "error": error}, error=error)

    def _throttled_reply(self, retry_after: int | None) -> Reply:
        return Reply(
            status=429,
            body={"ok": False, "error": "ratelimited"},
            error="ratelimited",
            headers={} if retry_after is None else {"Retry-After": str(retry_after)},
        )


async def _read_args(request: web.Request) -> tuple[JsonDict, str | None]:
    """Return a call's arguments from its query and its body, and Slack's error when the body cannot be read."""
    args: JsonDict = dict(request.query)
    if request.content_type != "application/json":
        return args | dict(await request.post()), None
    try:
        body: Any = json.loads(await request.read() or b"{}")
    except ValueError:
        return args, "invalid_json"
    if not isinstance(body, dict):
        return args, "json_not_object"
    return args | body, None


def _token(request: web.Request, args: JsonDict) -> str:
    """Return the token from the header or, as Slack also allows, from the arguments, where it is not recorded."""
    given = str(args.pop("token", ""))
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else given
