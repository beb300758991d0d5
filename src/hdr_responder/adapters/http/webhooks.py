"""`POST /webhooks/alertmanager[/{source}]`: authenticate, bound, check, commit; nothing else happens before the answer.

The status tells Alertmanager what to do (contract rules 1 and 2): 2xx only after the commit, 503 whenever trying again
may help, 4xx when only a person can help; then the group comes again at its next interval, so a rejected body is kept
once.
"""

from __future__ import annotations

import math

from aiohttp import web

from hdr_responder.adapters.http.auth import WebhookCredentials
from hdr_responder.adapters.http.bodies import read_body, require_json
from hdr_responder.adapters.http.dependencies import HttpDependencies
from hdr_responder.adapters.http.problems import ProblemError, unavailable
from hdr_responder.domain.deliveries import check_contract
from hdr_responder.errors import InvalidInputError, TemporaryError
from hdr_responder.settings import DEFAULT_SOURCE, is_source_name

PATH = "/webhooks/alertmanager"
_RESULTS = {400: "rejected", 401: "unauthorized", 403: "unauthorized", 413: "too_large", 503: "unavailable"}


class AlertmanagerWebhook:
    """Takes Alertmanager's deliveries in."""

    def __init__(self, dependencies: HttpDependencies) -> None:
        self._deliveries = dependencies.deliveries
        self._clock = dependencies.clock
        self._backlog_age = dependencies.backlog_age
        self._backlog_limit = dependencies.alertmanager.backlog_limit
        self._draining = dependencies.draining
        self._max_body_bytes = dependencies.max_body_bytes
        self._credentials = WebhookCredentials(dependencies.alertmanager)
        self._metrics = dependencies.metrics

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the webhook's routes."""
        return [web.post(PATH, self.receive), web.post(PATH + "/{source}", self.receive)]

    async def receive(self, request: web.Request) -> web.Response:
        """Take one delivery in."""
        source, result = DEFAULT_SOURCE, "failed"
        try:
            source = self._source(request)
            await self._take(request, source)
            result = "accepted"
        except ProblemError as problem:
            result = _RESULTS.get(problem.status, "refused")
            raise
        finally:
            self._metrics.delivery(source, result)
        return web.Response()

    def _source(self, request: web.Request) -> str:
        grant = self._credentials.grant(request.headers.get("Authorization"))
        named = request.match_info.get("source")
        if named is not None and not is_source_name(named):
            raise ProblemError(404, "a source's name is at most 64 characters of a-z, 0-9 and -", field="source")
        return self._credentials.source(grant, named, DEFAULT_SOURCE)

    async def _take(self, request: web.Request, source: str) -> None:
        self._refuse_when_busy()
        require_json(request)
        body = await read_body(request, self._max_body_bytes)
        try:
            await self._commit(source, body)
        except TemporaryError as e:
            raise unavailable("deliveries cannot be stored right now", e.retry_after) from e

    async def _commit(self, source: str, body: bytes) -> None:
        try:
            check_contract(body)
        except InvalidInputError as e:
            await self._deliveries.reject(source, body, self._clock.now(), error=e.detail, field=e.field)
            raise ProblemError(400, e.detail, field=e.field) from e
        await self._deliveries.commit(source, body, self._clock.now())

    def _refuse_when_busy(self) -> None:
        if self._draining():
            raise unavailable("the service is shutting down")
        age = self._backlog_age()
        if age > self._backlog_limit:
            raise unavailable(
                f"the oldest delivery has been waiting for {math.ceil(age.total_seconds())} s",
                retry_after=self._backlog_limit.total_seconds() / 2,
            )
