"""A gate before the API server: a test sees each call of the responder and may hold it back, on its way or its answer.

It speaks plain HTTP to the responder, so that calls can be told apart, and HTTPS to the API server. A call whose caller
is gone before it was let through never reaches the API server, as on a real network.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp
from aiohttp import web
from yarl import URL

from tests.services.kubernetes import ControlPlane

_PASSED_ON = ("Authorization", "Content-Type", "Accept")
_PASSED_BACK = ("Content-Type", "Retry-After")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """What the responder asks of the API server."""

    method: str
    path: str
    dry_run: bool
    body: str


Match = Callable[[ApiCall], bool]


@dataclass(slots=True, kw_only=True)
class Hold:
    """Holds the first call that matches: its ``request`` before the API server gets it, or its ``answer``.

    ``after`` arms it only once a call that this other condition describes was answered; ``skip`` so many calls that
    match are let through first.
    """

    what: Literal["request", "answer"]
    match: Match
    after: Match | None = None
    skip: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def stop(self) -> None:
        """Keep the call until it is released."""
        self.arrived.set()
        await self.released.wait()


@dataclass(slots=True, kw_only=True)
class Fault:
    """Spoils every call that matches, ``times`` times at most.

    ``reaches`` tells whether the API server gets the call all the same. The caller is answered ``status``; with None
    the connection breaks instead, and with ``silent`` there is no answer until the caller gives up.
    """

    match: Match
    reaches: bool
    status: int | None = None
    silent: bool = False
    times: int = 1_000
    spoiled: int = 0


class ApiGate:
    """The gate to one control plane."""

    def __init__(self, control_plane: ControlPlane, folder: Path) -> None:
        self._control_plane = control_plane
        self._folder = folder
        self._holds: list[Hold] = []
        self._faults: list[Fault] = []
        self._calls = 0
        self._awaited: list[tuple[int, asyncio.Event]] = []
        self._session: aiohttp.ClientSession | None = None
        self.url = ""

    def kubeconfig(self, user_kubeconfig: Path) -> Path:
        """Return a copy of a user's kubeconfig that leads through the gate."""
        path = self._folder / f"gate-{user_kubeconfig.name}"
        path.write_text(user_kubeconfig.read_text().replace(self._control_plane.server, self.url))
        return path

    def hold(self, hold: Hold) -> Hold:
        """Hold a call from now on."""
        self._holds.append(hold)
        return hold

    def spoil(self, fault: Fault) -> Fault:
        """Spoil calls from now on."""
        self._faults.append(fault)
        return fault

    def after(self, calls: int) -> asyncio.Event:
        """Return an event that is set when so many more calls have come."""
        event = asyncio.Event()
        self._awaited.append((self._calls + calls, event))
        return event

    def open(self) -> None:
        """Hold and spoil nothing from now on; what is held already stays so."""
        self._holds.clear()
        self._faults.clear()

    async def serve(self, request: web.Request) -> web.Response:
        """Pass one call on."""
        self._count()
        body = await request.read()
        call = ApiCall(
            method=request.method,
            path=request.path,
            dry_run="dryRun" in request.query,
            body=body.decode(errors="replace"),
        )
        hold = self._holding(call)
        if hold is not None and hold.what == "request":
            await hold.stop()
        fault = next((f for f in self._faults if f.spoiled < f.times and f.match(call)), None)
        if fault is not None:
            return await self._spoiled(fault, request, body)
        answer = await self._forward(request, body)
        self._arm(call)
        if hold is not None and hold.what == "answer":
            await hold.stop()
        return answer

    async def _spoiled(self, fault: Fault, request: web.Request, body: bytes) -> web.Response:
        fault.spoiled += 1
        if fault.reaches:
            await self._forward(request, body)
        if fault.silent:
            await asyncio.Event().wait()
        if fault.status is None:
            assert request.transport is not None
            request.transport.abort()
        status = fault.status or 500
        message = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "spoiled", "code": status}
        return web.json_response(message, status=status, headers={"Retry-After": "1"} if status == 429 else None)

    def _count(self) -> None:
        self._calls += 1
        for number, event in self._awaited:
            if self._calls >= number:
                event.set()

    def _holding(self, call: ApiCall) -> Hold | None:
        found = next((h for h in self._holds if h.after is None and h.match(call)), None)
        if found is not None and found.skip:
            found.skip -= 1
            return None
        if found is not None:
            self._holds.remove(found)
        return found

    def _arm(self, call: ApiCall) -> None:
        for hold in self._holds:
            if hold.after is not None and hold.after(call):
                hold.after = None

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        assert self._session is not None
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        url = URL(f"{self._control_plane.server}{request.raw_path}", encoded=True)
        async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
            headers = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve on a free port."""
        application = web.Application(client_max_size=16 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self.serve)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, limit=0)) as self._session:
                yield
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def api_gate(control_plane: ControlPlane, folder: Path) -> AsyncIterator[ApiGate]:
    """A gate on a free port."""
    gate = ApiGate(control_plane, folder)
    async with gate.running():
        yield gate
