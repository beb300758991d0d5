"""One description per endpoint, from which its route and its OpenAPI entry are made, so that neither can go stale."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from hdr_responder.adapters.http.auth import ApiTokens, Principal
from hdr_responder.adapters.http.bodies import parse_json, parse_query, read_body, require_json
from hdr_responder.domain.incidents import parse_ref
from hdr_responder.errors import InvalidInputError
from hdr_responder.settings import Scope

PREFIX = "/api/v1"


class Input(BaseModel):
    """What a request may carry; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class Nothing(Input):
    """No query or no body."""


Q = TypeVar("Q", bound=Input)
B = TypeVar("B", bound=Input)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Q, B]):
    """An authenticated request, read."""

    by: Principal
    query: Q
    body: B
    path: web.UrlMappingMatchInfo

    @property
    def incident_id(self) -> int:
        """The incident that the path names."""
        return parse_ref(self.path["ref"])

    def uuid(self, name: str) -> uuid.UUID:
        """Return an id of the path; raises InvalidInputError naming it."""
        try:
            return uuid.UUID(self.path[name])
        except ValueError as e:
            raise InvalidInputError("is not an id", field=name) from e

    def number(self, name: str) -> int:
        """Return a number of the path; raises InvalidInputError naming it."""
        text = self.path[name]
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise InvalidInputError("is not a number", field=name)
        return int(text)


Answer = BaseModel | web.Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[Q, B]):
    """An address of the API. ``answer`` is the model of its JSON, or the media type of another answer."""

    method: str
    path: str
    summary: str
    scope: Scope
    handler: Callable[[Call[Q, B]], Awaitable[Answer]]
    answer: type[BaseModel] | str
    query: type[Q]
    body: type[B]
    status: int = 200


AnyEndpoint = Endpoint[Any, Any]


def get(
    path: str,
    handler: Callable[[Call[Q, Nothing]], Awaitable[Answer]],
    answer: type[BaseModel] | str,
    *,
    query: type[Q],
) -> Endpoint[Q, Nothing]:
    """Describe an endpoint that reads; its summary is the first line of the handler's docstring."""
    return Endpoint(
        method="GET",
        path=PREFIX + path,
        summary=_summary(handler),
        scope=Scope.READ,
        handler=handler,
        answer=answer,
        query=query,
        body=Nothing,
    )


def post(
    path: str, handler: Callable[[Call[Nothing, B]], Awaitable[Answer]], answer: type[BaseModel], *, body: type[B]
) -> Endpoint[Nothing, B]:
    """Describe an endpoint that changes something."""
    return Endpoint(
        method="POST",
        path=PREFIX + path,
        summary=_summary(handler),
        scope=Scope.OPERATE,
        handler=handler,
        answer=answer,
        query=Nothing,
        body=body,
    )


def routes(endpoints: Iterable[AnyEndpoint], tokens: ApiTokens, max_body_bytes: int) -> Sequence[web.AbstractRouteDef]:
    """Return the routes of the endpoints."""
    return [web.route(e.method, e.path, _handler(e, tokens, max_body_bytes)) for e in endpoints]


def _handler(
    endpoint: AnyEndpoint, tokens: ApiTokens, max_body_bytes: int
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        by = tokens.require(request, endpoint.scope)
        query = parse_query(request, endpoint.query)
        body = await _body(request, endpoint, max_body_bytes)
        answer = await endpoint.handler(Call(by=by, query=query, body=body, path=request.match_info))
        if isinstance(answer, web.Response):
            return answer
        return web.Response(
            status=endpoint.status, body=answer.model_dump_json().encode(), content_type="application/json"
        )

    return handle


async def _body(request: web.Request, endpoint: AnyEndpoint, max_body_bytes: int) -> Input:
    if endpoint.method == "GET":
        return Nothing()
    if request.can_read_body:
        require_json(request)
    body: Input = parse_json(await read_body(request, max_body_bytes), endpoint.body)
    return body


def _summary(handler: Callable[..., Any]) -> str:
    return (handler.__doc__ or "").strip().partition("\n")[0].rstrip(".")
