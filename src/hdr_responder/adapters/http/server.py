"""Builds the application from its parts and runs it on a socket."""

from __future__ import annotations

import json
import logging
from types import TracebackType
from typing import Self

from aiohttp import web

from hdr_responder.adapters.http import openapi
from hdr_responder.adapters.http.api import Api
from hdr_responder.adapters.http.auth import ApiTokens
from hdr_responder.adapters.http.dependencies import HttpDependencies
from hdr_responder.adapters.http.endpoint import routes
from hdr_responder.adapters.http.probes import Probes
from hdr_responder.adapters.http.problems import problem_middleware
from hdr_responder.adapters.http.webhooks import AlertmanagerWebhook
from hdr_responder.errors import ConfigError

LINGERING_SECONDS = 2.0
"""How long the rest of a refused body is read, so that its sender sees the answer instead of a broken connection."""


def build_application(dependencies: HttpDependencies) -> web.Application:
    """Return the application. Bodies are not unpacked while they arrive (see `bodies`) and requests are not logged."""
    application = web.Application(
        middlewares=[problem_middleware],
        client_max_size=dependencies.max_body_bytes,
        handler_args={"auto_decompress": False, "access_log": None, "lingering_time": LINGERING_SECONDS},
    )
    endpoints = Api(dependencies).endpoints()
    application.add_routes(AlertmanagerWebhook(dependencies).routes())
    application.add_routes(Probes(dependencies).routes())
    application.add_routes(routes(endpoints, ApiTokens(dependencies.tokens), dependencies.max_body_bytes))
    application.add_routes([_description(json.dumps(openapi.describe(endpoints)).encode())])
    application.add_routes(dependencies.extra_routes)
    return application


class HttpServer:
    """The application on a TCP socket, for ``async with``; leaving waits for requests in flight."""

    def __init__(self, application: web.Application, host: str, port: int, *, grace_seconds: float = 10.0) -> None:
        self._runner = web.AppRunner(application, shutdown_timeout=grace_seconds, logger=logging.getLogger(__name__))
        self._host = host
        self._port = port

    @property
    def port(self) -> int:
        """The port that is listened on, also where a free one was asked for."""
        address = self._runner.addresses[0]
        return int(address[1])

    async def __aenter__(self) -> Self:
        """Start listening; raises ConfigError when the address cannot be had."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as e:
            await self._runner.cleanup()
            raise ConfigError(f"cannot listen on {self._host}:{self._port}: {e.strerror or e}") from e
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, let requests in flight end, close the rest."""
        await self._runner.cleanup()


def _description(document: bytes) -> web.RouteDef:
    async def describe(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    return web.get(openapi.PATH, describe)
