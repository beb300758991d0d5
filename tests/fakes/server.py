"""What the stand-ins share: a loopback server, a record of calls, failures on order, deliveries to the product."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from hdr_responder.domain.clock import Clock, SystemClock

from .faults import Fault, FaultPlan

JsonDict = dict[str, Any]
REQUEST_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of the product; ``status`` is None while it is in progress, and when its connection was dropped."""

    method: str
    args: JsonDict
    at: datetime
    status: int | None = None
    error: str | None = None
    response: Any = None

    @property
    def succeeded(self) -> bool:
        """Whether the caller was told that the call succeeded."""
        return self.error is None and self.status is not None and self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a stand-in answers. A text body is sent as it is, anything else as JSON."""

    status: int = 200
    body: Any
    error: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def to_response(self) -> web.Response:
        """Build the HTTP answer."""
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return web.Response(status=self.status, text=text, headers=dict(self.headers), content_type=self.content_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """How the product answered a delivery; ``took`` is in seconds."""

    status: int
    body: str
    headers: Mapping[str, str]
    took: float

    def json(self) -> Any:
        """Parse the body as JSON."""
        return json.loads(self.body)


class DeadlineMissedError(AssertionError):
    """The product did not answer a delivery within the time that the service allows."""


class FakeServer(ABC):
    """A server on a free loopback port, to be used with ``async with`` or started and stopped by hand."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.calls: list[Call] = []
        self.faults = FaultPlan()
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._changed = asyncio.Event()
        self._base_url = ""

    @abstractmethod
    def _routes(self) -> list[web.RouteDef]:
        """Return the routes of the stand-in."""

    @abstractmethod
    def _error_reply(self, error: str) -> Reply:
        """Answer a call with the service's form of ``error``."""

    @abstractmethod
    def _throttled_reply(self, retry_after: int | None) -> Reply:
        """Answer a call with the service's form of "too many requests"."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def open(self) -> None:
        """Start to serve on a free port of the loopback interface."""
        if self._runner is not None:
            raise RuntimeError("the stand-in is already running")
        app = web.Application(client_max_size=REQUEST_LIMIT_BYTES)
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self._base_url = f"http://{host}:{port}"
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))

    async def stop(self) -> None:
        """Close the port and every connection; state and calls stay readable."""
        session, self._session = self._session, None
        runner, self._runner = self._runner, None
        if session is not None:
            await session.close()
        if runner is not None:
            await runner.cleanup()

    def fail_next(
        self,
        method: str = "*",
        *,
        status: int | None = None,
        error: str | None = None,
        retry_after: int | None = None,
        drop_connection: bool = False,
        delay: float = 0.0,
        hold: asyncio.Event | None = None,
        after_effect: bool = False,
        times: int = 1,
    ) -> None:
        """Make the next ``times`` calls of ``method`` (``*``: any) fail or wait; see ``Fault``."""
        fault = Fault(
            status=status,
            error=error,
            retry_after=retry_after,
            drop_connection=drop_connection,
            delay=delay,
            hold=hold,
            after_effect=after_effect,
        )
        self.faults.add(method, fault, times=times)

    def calls_to(self, method: str) -> list[Call]:
        """Return the calls of one method, oldest first."""
        return [call for call in self.calls if call.method == method]

    async def wait_until(self, condition: Callable[[], bool], *, timeout: float = 5.0) -> None:  # noqa: ASYNC109
        """Wait until ``condition`` holds, asking it again after every call; TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def wait_for_calls(self, method: str, count: int = 1, *, timeout: float = 5.0) -> list[Call]:  # noqa: ASYNC109
        """Wait until ``method`` was called ``count`` times; return its calls."""
        await self.wait_until(lambda: len(self.calls_to(method)) >= count, timeout=timeout)
        return self.calls_to(method)

    async def _serve(
        self, request: web.Request, method: str, args: JsonDict, work: Callable[[], Reply]
    ) -> web.Response:
        call = Call(method=method, args=args, at=self.clock.now())
        self.calls.append(call)
        self._changed.set()
        fault = self.faults.take(method)
        if fault is not None and not fault.after_effect:
            await fault.wait()
            if fault.fails:
                return self._fail(request, call, fault)
        reply = work()
        # The effect is visible from here on, also to a test that waits while the answer is held back.
        self._changed.set()
        if fault is not None and fault.after_effect:
            await fault.wait()
            if fault.fails:
                return self._fail(request, call, fault)
        return self._answer(call, reply)

    def _answer(self, call: Call, reply: Reply) -> web.Response:
        call.status, call.error, call.response = reply.status, reply.error, reply.body
        self._changed.set()
        return reply.to_response()

    def _fail(self, request: web.Request, call: Call, fault: Fault) -> web.Response:
        if fault.drop_connection:
            call.error = "connection_dropped"
            self._changed.set()
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if fault.status == 429 or (fault.status is None and fault.retry_after is not None):
            return self._answer(call, self._throttled_reply(fault.retry_after))
        if fault.error is not None and fault.status is None:
            return self._answer(call, self._error_reply(fault.error))
        status = fault.status or 500
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        page = f"<html><body>{status}</body></html>"
        return self._answer(
            call,
            Reply(
                status=status,
                body=page,
                error=fault.error or f"http_{status}",
                headers=headers,
                content_type="text/html",
            ),
        )

    async def _deliver(self, url: str, *, body: bytes, headers: Mapping[str, str], deadline: float) -> Delivered:
        """POST to the product; raise DeadlineMissedError when it needs longer than ``deadline`` seconds."""
        if self._session is None:
            raise RuntimeError("the stand-in is not running")
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with (
                asyncio.timeout(deadline),
                self._session.post(url, data=body, headers=dict(headers)) as response,
            ):
                text = await response.text()
        except TimeoutError as e:
            raise DeadlineMissedError(f"no answer within {deadline:g} s") from e
        return Delivered(
            status=response.status,
            body=text,
            headers=dict(response.headers),
            took=loop.time() - started,
        )
