"""What the API server's refusals mean for us, so that callers see "again", "never" or "look first" instead of numbers.

The body is a Kubernetes ``Status`` object (meta/v1): ``reason``, ``message``, ``details.causes``,
``details.retryAfterSeconds``. Its message is written by the server or an admission webhook; it is cut short and never
holds what we sent as credentials.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.errors import (
    AmbiguousError,
    ConflictError,
    ForbiddenError,
    HdrError,
    NotFoundError,
    PermanentError,
    TemporaryError,
)

MESSAGE_LIMIT = 300


def failure(cluster: str, request: ApiRequest, status: int, headers: Mapping[str, str], body: bytes) -> HdrError:  # noqa: PLR0911 - one return per meaning
    """Return the error that an answer with ``status`` (>= 300) stands for."""
    answer = _status_object(body)
    said = _said(answer)
    where = f"cluster {cluster}: {request}"
    match status:
        case 401:
            return ForbiddenError(f"cluster {cluster}: the credentials are not accepted ({request})")
        case 403:
            return ForbiddenError(f"cluster {cluster}: not allowed to {request}{said}")
        case 404:
            return NotFoundError(f"{where}: not found{said}")
        case 409:
            return ConflictError(f"{where}: conflict{said}")
        case 422 if request.verb == "patch" and _did_not_fit(answer):
            return ConflictError(f"{where}: the object is not as the patch assumes")
        case 429:
            return TemporaryError(f"{where}: the server asks to wait{said}", retry_after=_retry_after(headers, answer))
        case _ if status >= 500 and request.changes:
            return AmbiguousError(f"{where}: answered {status}, the change may have happened{said}")
        case _ if status >= 500:
            return TemporaryError(f"{where}: answered {status}{said}", retry_after=_retry_after(headers, answer))
        case _:
            return PermanentError(f"{where}: refused with {status}{said}")


def _status_object(body: bytes) -> dict[str, JsonValue]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _said(answer: Mapping[str, JsonValue]) -> str:
    message = answer.get("message")
    if not isinstance(message, str) or not message:
        return ""
    short = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
    return f": {short}"


def _details(answer: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    details = answer.get("details")
    return details if isinstance(details, dict) else {}


def _did_not_fit(answer: Mapping[str, JsonValue]) -> bool:
    """Tell a failed ``test`` (or a missing path) of a JSON patch from an invalid result and an admission webhook's no.

    The first says nothing but "the server rejected our request", validation names the causes.
    """
    return not _details(answer).get("causes") and "admission webhook" not in str(answer.get("message"))


def _retry_after(headers: Mapping[str, str], answer: Mapping[str, JsonValue]) -> float | None:
    header = headers.get("Retry-After", "")
    if header.isdigit():
        return float(header)
    seconds = _details(answer).get("retryAfterSeconds")
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else None
