"""The `WebService` port over aiohttp: one origin, a bounded answer, and credentials that go nowhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping

import aiohttp
from yarl import URL

from hdr_responder.domain.ports.web import WebAnswer
from hdr_responder.errors import PermanentError, UnavailableError

MAX_BODY_BYTES = 1024 * 1024
MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ConfiguredWebService:
    """One service; ``url`` may carry a path prefix, ``token`` is sent as a bearer token, ``timeout`` is in seconds."""

    def __init__(self, name: str, url: str, token: str | None = None, timeout: float = 15.0) -> None:
        self._name = name
        self._url = URL(url).with_query(None).with_fragment(None)
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    def __repr__(self) -> str:
        return f"ConfiguredWebService({self._name!r})"

    async def request(self, method: str, path: tuple[str, ...], query: Mapping[str, str]) -> WebAnswer:
        """Ask; a connection of its own each time, since calls are rare."""
        url = self._url.joinpath(*path) if path else self._url
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        started = time.monotonic()
        try:
            async with aiohttp.ClientSession(timeout=self._timeout, headers=headers) as session:
                return await self._follow(session, method, url.with_query(dict(query)), started)
        except TimeoutError as e:
            raise UnavailableError(f"web service {self._name}: no answer in time") from e
        except aiohttp.ClientConnectorCertificateError as e:
            raise PermanentError(f"web service {self._name}: its certificate is not trusted") from e
        except (aiohttp.ClientError, OSError) as e:
            raise UnavailableError(f"web service {self._name}: {type(e).__name__}") from e

    async def _follow(self, session: aiohttp.ClientSession, method: str, url: URL, started: float) -> WebAnswer:
        for _ in range(MAX_REDIRECTS + 1):
            async with session.request(method, url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or not location:
                    body, cut = await _bounded(response)
                    return WebAnswer(
                        status=response.status,
                        content_type=response.content_type,
                        body=body,
                        cut=cut,
                        seconds=time.monotonic() - started,
                    )
                url = self._redirected(url, location)
        raise PermanentError(f"web service {self._name}: more than {MAX_REDIRECTS} redirects")

    def _redirected(self, url: URL, location: str) -> URL:
        try:
            target = url.join(URL(location))
        except ValueError as e:
            raise PermanentError(f"web service {self._name}: it redirects to something that is no address") from e
        if target.origin() != self._url.origin():
            raise PermanentError(f"web service {self._name}: it redirects to {target.host}, which is not followed")
        return target


async def _bounded(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    kept = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        kept += chunk
        if len(kept) > MAX_BODY_BYTES:
            return bytes(kept[:MAX_BODY_BYTES]), True
    return bytes(kept), False
