"""What people press and type in Slack, by HTTP or Socket Mode.

Slack wants an answer within three seconds and forgets nothing that it was not answered: the work is therefore
committed before the answer, and each delivery is taken once. A double click is two deliveries; it acts once because
the operations change nothing that is already so. Taking the click by its button instead would lose a second try
after a failure.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.authorization import AuthorizeResult

from hdr_responder.adapters.rate_limits import RateLimits
from hdr_responder.adapters.slack.card import ACTION_PREFIX, Content, Press
from hdr_responder.adapters.slack.client import Place, SlackAccess, SlackApi, quiet_logger
from hdr_responder.adapters.slack.commands import Answer, Commands, Request, parse_run_id
from hdr_responder.adapters.slack.signature import Signatures
from hdr_responder.adapters.slack.text import fit, unescape
from hdr_responder.domain.clock import Clock
from hdr_responder.domain.incidents import parse_ref
from hdr_responder.domain.ports.operations import Operations
from hdr_responder.domain.ports.records import Records
from hdr_responder.errors import HdrError, InvalidInputError, PermanentError, TemporaryError
from hdr_responder.records.presentation import one_line, person

PATH = "/slack/events"
BODY_LIMIT_BYTES = 512 * 1024
ANSWER_SECONDS = 2.2
"""Slack gives three seconds; the rest is for the way there and back."""
NAME_SECONDS = 0.8
CLOSE_SECONDS = 5.0
ERROR_LIMIT = 600
MAX_NAMES = 1000

Json = dict[str, Any]
Acknowledge = Callable[..., Awaitable[Any]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """What is asked of the store.

    ``first_time`` records an inbound event by its key and says False when it was already taken.
    ``incident_of_message`` says which incident a message (channel, timestamp) shows.
    """

    first_time: Callable[[str], Awaitable[bool]]
    incident_of_message: Callable[[str, str], Awaitable[int | None]]


class SlackInbound:
    """Receives Slack's requests: mount `routes`, and `start` for Socket Mode (does nothing without an app token)."""

    def __init__(
        self, access: SlackAccess, operations: Operations, records: Records, *, lookups: Lookups, clock: Clock
    ) -> None:
        self._access = access
        self._commands = Commands(operations, records)
        self._lookups = lookups
        self._api = SlackApi(access, RateLimits())
        self._signatures = Signatures(access.signing_secret, clock) if access.signing_secret else None
        self._app = self._bolt()
        self._socket: Any = None  # the SDK's client is not typed
        self._connecting: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._names: dict[str, str] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the route to mount; none without a signing secret, since nobody could be told from Slack then."""
        return [web.post(PATH, self._receive)] if self._signatures else []

    async def start(self) -> None:
        """Connect by Socket Mode where an app token is set; connecting goes on in the background until it succeeds."""
        if self._access.app_token is None or self._socket is not None:
            return
        handler = AsyncSocketModeHandler(
            self._app, self._access.app_token, logger=quiet_logger(), web_client=self._api.web
        )
        self._socket = handler.client
        self._connecting = asyncio.create_task(self._socket.connect())

    async def stop(self) -> None:
        """Stop to receive, let answers under way go out, and give connections back."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._answers:
            _, late = await asyncio.wait(self._answers, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
        await self._api.close()

    def _bolt(self) -> AsyncApp:
        async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
            """Asking Slack for every request whose token this is would make acknowledging depend on Slack's API."""
            return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=self._access.bot_token)

        app = AsyncApp(
            name="hdr-responder",
            logger=quiet_logger(),
            authorize=authorize,
            process_before_response=True,
            request_verification_enabled=False,
            ssl_check_enabled=False,
            attaching_function_token_enabled=False,
            attaching_conversation_kwargs_enabled=False,
        )
        app.command("/incident")(self._on_command)
        app.action(re.compile(f"^{ACTION_PREFIX}"))(self._on_click)
        app.event("app_mention")(self._on_mention)
        return app

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request)
        if body is None:
            return _problem(413, "the request is too large")
        if self._signatures is None or not self._signatures.genuine(body, request.headers):
            return _problem(401, "the signature does not fit")
        try:
            asked = AsyncBoltRequest(body=body.decode(), headers={"content-type": request.content_type})
        except (ValueError, AttributeError, TypeError, RecursionError):
            return _problem(400, "the body is not what Slack sends")
        answer = await self._app.async_dispatch(asked)
        if answer.status == 404 and "event" in asked.body:
            return web.Response()
        return await to_aiohttp_response(answer)

    async def _on_command(self, ack: Acknowledge, body: Json) -> None:
        by = _person(body.get("user_id"), body.get("user_name"))

        async def work() -> Answer:
            incident_id = await self._incident_of(body.get("channel_id"), body.get("thread_ts"))
            return await self._commands.run(Request(text=str(body.get("text", "")), by=by, incident_id=incident_id))

        answer = await self._taken_once(body.get("trigger_id"), work)
        if answer is None:
            await ack()
            return
        content = answer.content
        shown_to = "in_channel" if answer.public else "ephemeral"
        await ack(text=content.text, blocks=list(content.blocks), response_type=shown_to)

    async def _on_click(self, ack: Acknowledge, body: Json) -> None:
        """Carry a button out; what it changed shows on the incident's message, so only the rest is answered."""
        action = body["actions"][0]
        user = body.get("user", {})
        by = _person(user.get("id"), user.get("username") or user.get("name"))

        async def work() -> Answer | None:
            return await self._press(str(action.get("action_id")), str(action.get("value", "")), by)

        answer = await self._taken_once(body.get("trigger_id"), work)
        await ack()
        url = body.get("response_url")
        if answer is not None and isinstance(url, str):
            self._later(self._api.respond(url, answer.content))

    async def _press(self, action_id: str, value: str, by: str) -> Answer | None:
        """Do what a button says; return what its incident's message will not tell."""
        match action_id:
            case Press.ACKNOWLEDGE:
                incident = await self._commands.acknowledge(parse_ref(value), by)
                return _unless(incident.acknowledged_by, by, f"{incident.ref} had been acknowledged by")
            case Press.RESOLVE:
                incident = await self._commands.resolve(parse_ref(value), by)
                return _unless(incident.resolved_by, by, f"{incident.ref} had been resolved by")
            case Press.APPROVE | Press.DENY:
                await self._commands.decide(parse_run_id(value), by, approved=action_id == Press.APPROVE)
                return None
            case _:
                raise InvalidInputError("this button is of an older version", field="action_id")

    async def _on_mention(self, body: Json, event: Json) -> None:
        """Take ``@hdr-responder ack`` in an incident's thread: slash commands cannot be typed in threads."""
        user, channel = event.get("user"), event.get("channel")
        if not isinstance(user, str) or not isinstance(channel, str) or event.get("bot_id"):
            return
        thread_ts = event.get("thread_ts") or event.get("ts")
        text = re.sub(r"^\s*<@[^>]*>", "", str(event.get("text", "")))

        async def work() -> Answer:
            by = _person(user, await self._name_of(user))
            incident_id = await self._incident_of(channel, event.get("thread_ts"))
            return await self._commands.run(Request(text=unescape(text).strip(), by=by, incident_id=incident_id))

        answer = await self._taken_once(body.get("event_id"), work)
        if answer is not None:
            place = Place(channel=channel, user=user, thread_ts=str(thread_ts))
            self._later(self._api.answer(place, answer.content, public=answer.public))

    async def _taken_once(self, delivery: object, work: Callable[[], Awaitable[Answer | None]]) -> Answer | None:
        """Do ``work`` unless this delivery was taken before; every failure becomes an answer for the person alone."""
        if not isinstance(delivery, str) or not delivery:
            return _said("Not done: Slack's request carries no id of its own.")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await work() if await self._lookups.first_time(f"slack:{delivery}") else None
        except TimeoutError:
            return _said("It is not known whether this was done: the database was too slow. Look before you try again.")
        except TemporaryError:
            return _said("Not done: the database cannot be reached just now. Please try again.")
        except PermanentError as e:
            return _said(f"Not done: {fit(one_line(str(e), ERROR_LIMIT), ERROR_LIMIT)}")
        except HdrError:
            log.exception("a request from Slack failed", delivery=delivery)
            return _said("Not done: the responder has a defect, its log says more.")

    async def _incident_of(self, channel: object, thread_ts: object) -> int | None:
        if not isinstance(channel, str) or not isinstance(thread_ts, str) or not thread_ts:
            return None
        return await self._lookups.incident_of_message(channel, thread_ts)

    async def _name_of(self, user: str) -> str:
        """Return a user's name; Slack being slow or unwilling must not keep a person from acting."""
        if user not in self._names:
            try:
                async with asyncio.timeout(NAME_SECONDS):
                    name = await self._api.user_name(user)
            except (HdrError, TimeoutError):
                return user
            if len(self._names) >= MAX_NAMES:
                self._names.clear()
            self._names[user] = name
        return self._names[user]

    def _later(self, answer: Coroutine[Any, Any, None]) -> None:
        """Send an answer after Slack was acknowledged; it is held here, since nothing else would hold it."""
        task = asyncio.create_task(_told(answer))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)


async def _told(answer: Coroutine[Any, Any, None]) -> None:
    try:
        await answer
    except HdrError as e:
        log.warning("an answer in Slack could not be given", error=str(e))


async def _read(request: web.Request) -> bytes | None:
    """Return the body; None when it is longer than anything that Slack sends."""
    body = bytearray()
    async for chunk in request.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            return None
    return bytes(body)


def _problem(status: int, title: str) -> web.Response:
    body = {"type": "about:blank", "title": title, "status": status}
    return web.json_response(body, status=status, content_type="application/problem+json")


def _said(escaped: str) -> Answer:
    return Answer(content=Content(text=escaped))


def _unless(done_by: str | None, by: str, told: str) -> Answer | None:
    """Say who was first when it was somebody else."""
    return _said(fit(f"{told} {person(done_by)} before.", ERROR_LIMIT)) if done_by and done_by != by else None


def _person(user_id: object, name: object) -> str:
    """Return a person's name as it is recorded: for people, with the account that does not change for the audit."""
    account = re.sub(r"[^A-Z0-9]", "", str(user_id or ""))[:32] or "unknown"
    return f"{one_line(str(name or ''), 60) or account} (slack:{account})"
