"""What the platform asks: is it alive, should it get requests, how is it doing."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from hdr_responder.adapters.http.dependencies import HttpDependencies, Readiness
from hdr_responder.errors import HdrError
from hdr_responder.telemetry.metrics import CONTENT_TYPE

PROBE_SECONDS = 2.0
"""How long a probe waits for the database before it answers without it."""

log = structlog.get_logger(__name__)


class Probes:
    """``/healthz``, ``/readyz`` and ``/metrics``; none of them needs a credential or tells a secret."""

    def __init__(self, dependencies: HttpDependencies) -> None:
        self._readiness = dependencies.readiness
        self._records = dependencies.records
        self._metrics = dependencies.metrics
        self._clock = dependencies.clock

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the probes' routes."""
        return [web.get("/healthz", self.alive), web.get("/readyz", self.ready), web.get("/metrics", self.metrics)]

    async def alive(self, _request: web.Request) -> web.Response:
        """Answer as long as the event loop turns: a lost database is no reason to be restarted."""
        return web.json_response({"status": "ok"})

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 200 when everything is there that requests need, else 503 saying what is missing."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                state = await self._readiness()
        except TimeoutError:
            state = Readiness(ready=False, checks={"readiness": f"no answer within {PROBE_SECONDS:g} s"})
        except HdrError as e:
            state = Readiness(ready=False, checks={"readiness": str(e)})
        document = {"status": "ready" if state.ready else "not ready", "checks": dict(state.checks)}
        return web.json_response(document, status=200 if state.ready else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer with all metrics; those of the database stay as they were while it cannot be reached."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                self._metrics.read_health(await self._records.health(), self._clock.now())
        except (HdrError, TimeoutError) as e:
            log.warning("metrics_without_database", error=str(e) or type(e).__name__)
        response = web.Response(body=self._metrics.render())
        response.headers["Content-Type"] = CONTENT_TYPE
        return response
