"""Reading requests: bounded in size and time before anything is parsed, with errors that name the field.

aiohttp would unpack compressed bodies while they arrive, of strangers too; here a body is unpacked after its sender was
authenticated, and never past the limit.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from hdr_responder.adapters.http.problems import ProblemError

READ_SECONDS = 30.0
"""How long a body may take to arrive."""
_JSON = "application/json"
_GZIP = 16 + zlib.MAX_WBITS

M = TypeVar("M", bound=BaseModel)


def require_json(request: web.Request) -> None:
    """Raise a 415 unless the body is said to be JSON."""
    if request.headers.get("Content-Type") != _JSON and request.content_type != _JSON:
        raise ProblemError(415, f"Content-Type must be {_JSON}", field="Content-Type")


async def read_body(request: web.Request, limit: int) -> bytes:
    """Return the body, unpacked; raises a 413 over ``limit`` bytes, 408 when it is slow, 415 for unknown encodings."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        if request.content.is_eof():
            body = await request.read()
        else:
            async with asyncio.timeout(READ_SECONDS):
                body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limit) from None
    except TimeoutError:
        raise ProblemError(408, f"the body did not arrive within {READ_SECONDS:g} s") from None
    encoding = request.headers.get("Content-Encoding")
    return body if encoding is None else _unpacked(body, encoding, limit)


def parse_json(body: bytes, model: type[M]) -> M:
    """Return the body as ``model``; no body is an empty object. Raises a 400 naming the first wrong field."""
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as e:
        raise _invalid(e) from None


def parse_query(request: web.Request, model: type[M]) -> M:
    """Return the query as ``model``; lists come repeated or with commas. Raises a 400 naming the first wrong field."""
    values: dict[str, Any] = {}
    for name in request.query:
        texts = request.query.getall(name)
        field = model.model_fields.get(name)
        several = field is not None and isinstance(field.default, tuple)
        if several:
            values[name] = [part for text in texts for part in text.split(",") if part]
        elif len(texts) > 1:
            raise ProblemError(400, "may be given once only", field=name)
        else:
            values[name] = texts[0]
    try:
        return model.model_validate(values)
    except ValidationError as e:
        raise _invalid(e) from None


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    if encoding.strip().lower() == "identity":
        return body
    if encoding.strip().lower() != "gzip":
        raise ProblemError(415, "Content-Encoding must be gzip or absent", field="Content-Encoding")
    unpacker = zlib.decompressobj(_GZIP)
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise ProblemError(400, "the body is not gzip", field="Content-Encoding") from None
    if len(unpacked) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise ProblemError(400, "the gzip body is incomplete", field="Content-Encoding")
    return unpacked


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, f"the body is larger than {limit} bytes")


def _invalid(error: ValidationError) -> ProblemError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    known = {"missing": "is required", "extra_forbidden": "is not known here"}
    message = known.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    return ProblemError(400, message, field=".".join(str(part) for part in first["loc"]))
