"""Every error as `application/problem+json` (RFC 9457), naming the field where one is to blame.

Errors of the domain keep their meaning in the status; what nobody foresaw is logged and told without detail, because
its text may hold anything.
"""

from __future__ import annotations

import http
import json
import math
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web

from hdr_responder.errors import (
    ConflictError,
    ForbiddenError,
    HdrError,
    InvalidInputError,
    NotFoundError,
    PermanentError,
    TemporaryError,
)

CONTENT_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER = 5.0
"""Seconds to wait where the dependency did not say."""
_KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")
_STATUS: tuple[tuple[type[HdrError], int], ...] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (ForbiddenError, 403),
    (InvalidInputError, 400),
    (TemporaryError, 503),
    (PermanentError, 409),
)
_DETAILS = {
    404: "there is nothing at this address",
    405: "this address does not take that method",
    500: "an unexpected error, which was logged",
}

log = structlog.get_logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ProblemError(Exception):
    """An answer other than success, to be raised by a handler."""

    def __init__(self, status: int, detail: str, *, field: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = headers or {}


def unavailable(detail: str, retry_after: float | None = None) -> ProblemError:
    """Return a 503 that says when to come again; 429 would be final for Alertmanager (contract rule 1)."""
    seconds = max(1, math.ceil(DEFAULT_RETRY_AFTER if retry_after is None else retry_after))
    return ProblemError(503, detail, headers={"Retry-After": str(seconds)})


def problem_response(problem: ProblemError) -> web.Response:
    """Return the answer that tells a problem."""
    document: dict[str, str | int] = {
        "type": "about:blank",
        "title": http.HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.field:
        document["field"] = problem.field
    return web.Response(
        status=problem.status,
        body=json.dumps(document).encode(),
        content_type=CONTENT_TYPE,
        headers=problem.headers,
    )


def problem_of(error: HdrError) -> ProblemError:
    """Return what an error of the domain means to the other side; 500 for what is no outcome but a defect."""
    if isinstance(error, TemporaryError):
        return unavailable(str(error), error.retry_after)
    if isinstance(error, InvalidInputError):
        return ProblemError(400, error.detail, field=error.field)
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return ProblemError(status, str(error) if status != 500 else _DETAILS[500])


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem document."""
    try:
        return await handler(request)
    except ProblemError as problem:
        return problem_response(problem)
    except web.HTTPException as e:
        if e.status < 400:
            raise
        headers = {name: e.headers[name] for name in _KEPT_HEADERS if name in e.headers}
        return problem_response(ProblemError(e.status, _DETAILS.get(e.status) or e.reason, headers=headers))
    except HdrError as error:
        told = problem_of(error)
        if told.status >= 500:
            _log_failure(request, error)
        return problem_response(told)
    except Exception as error:  # noqa: BLE001 - the last stop before the client; logged with its traceback
        _log_failure(request, error)
        return problem_response(ProblemError(500, _DETAILS[500]))


def _log_failure(request: web.Request, error: Exception) -> None:
    temporary = isinstance(error, TemporaryError)
    write = log.warning if temporary else log.error
    write("request_failed", method=request.method, path=request.path, error=str(error), exc_info=not temporary)
