"""One small client for services that speak JSON over HTTP, so that all of them fail in the same words.

An address may carry credentials (``https://user:secret@host/prefix``): they are sent and never shown; errors name the
service by what it is and its host. Redirects are not followed, because they would carry the credentials elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

import aiohttp
from yarl import URL

from hdr_responder.errors import (
    AdapterError,
    ConfigError,
    ForbiddenError,
    NotFoundError,
    PermanentError,
    UnavailableError,
)

MAX_ANSWER_BYTES = 16 * 1024 * 1024
_MESSAGE_LIMIT = 200

Query = Sequence[tuple[str, str]]


class JsonHttp:
    """A service at a base address; ``timeout`` in seconds bounds each request as a whole.

    Constructing connects to nothing; raises ConfigError for an address that is not http(s) with a host.
    """

    def __init__(self, what: str, url: str, timeout: float) -> None:
        self._url = _parse(what, url)
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self.where = f"{what} at {self._url.origin()}"

    def __repr__(self) -> str:
        return f"JsonHttp({self.where!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, query: Query = ()) -> Any:
        """Return the decoded JSON that a GET of ``path`` below the base address answers.

        Raises UnavailableError for transport errors, time-outs, 429 and 5xx; ForbiddenError for 401 and 403;
        NotFoundError for 404; PermanentError for every other refusal, with the start of what the service said;
        AdapterError for an answer that is no JSON or too long.
        """
        body = await self._request("GET", path, query, None)
        try:
            return json.loads(body)
        except ValueError as e:
            raise AdapterError(f"{self.where} answered {path} with something that is no JSON") from e

    async def post(self, path: str, body: object) -> Any:
        """Send ``body`` as JSON and return the decoded answer, None for an empty one; raises as `get` does."""
        answer = await self._request("POST", path, (), body)
        try:
            return json.loads(answer) if answer else None
        except ValueError as e:
            raise AdapterError(f"{self.where} answered {path} with something that is no JSON") from e

    async def delete(self, path: str) -> None:
        """DELETE ``path``; raises as `get` does."""
        await self._request("DELETE", path, (), None)

    async def reach(self, path: str) -> None:
        """GET ``path`` for its status alone; raises as `get` does."""
        await self._request("GET", path, (), None)

    async def _request(self, method: str, path: str, query: Query, body: object) -> bytes:
        url = (self._url / path.lstrip("/")).with_query(list(query))
        try:
            async with self._opened().request(method, url, json=body, allow_redirects=False) as response:
                answer = await _read(response)
        except TimeoutError as e:
            raise UnavailableError(f"{self.where}: no answer in time") from e
        except (aiohttp.ClientError, OSError) as e:
            raise UnavailableError(f"{self.where}: {_kind(e)}") from e
        if len(answer) > MAX_ANSWER_BYTES:
            raise AdapterError(f"{self.where}: the answer to {path} is larger than {MAX_ANSWER_BYTES} bytes")
        if not 200 <= response.status < 300:
            self._refuse(response.status, answer)
        return answer

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session

    def _refuse(self, status: int, answer: bytes) -> NoReturn:
        said = " ".join(answer[: _MESSAGE_LIMIT * 4].decode(errors="replace").split())[:_MESSAGE_LIMIT]
        message = f"{self.where} answered {status}: {said}"
        if status in {401, 403}:
            raise ForbiddenError(message)
        if status == 404:
            raise NotFoundError(message)
        if status in {408, 429} or status >= 500:
            raise UnavailableError(message)
        raise PermanentError(message)


def _parse(what: str, url: str) -> URL:
    try:
        parsed = URL(url)
        usable = parsed.scheme in {"http", "https"} and bool(parsed.host)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"the address of {what} is not of the form http(s)://host[:port][/prefix]")
    return parsed.with_query(None).with_fragment(None)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read up to one byte more than is allowed, so that the caller can tell."""
    chunks: list[bytes] = []
    left = MAX_ANSWER_BYTES + 1
    async for chunk in response.content.iter_chunked(64 * 1024):
        chunks.append(chunk[:left])
        left -= len(chunks[-1])
        if left <= 0:
            break
    return b"".join(chunks)


def _kind(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the host name cannot be resolved"
        case aiohttp.ClientConnectorCertificateError():
            return "the certificate is not trusted"
        case aiohttp.ClientConnectorError():
            return (error.os_error.strerror or "cannot connect").lower()
        case _:
            return f"the connection failed ({type(error).__name__})"
