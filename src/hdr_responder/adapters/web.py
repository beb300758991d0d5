"""The `WebService` port over aiohttp: one origin, a bounded answer, and credentials that go nowhere else.

Some services show a caller what it sent; so whatever came back is freed of our credentials before anybody sees it.
"""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from yarl import URL

from hdr_responder.adapters.trust import trusting
from hdr_responder.domain.ports.web import WebAnswer
from hdr_responder.errors import PermanentError, UnavailableError

MAX_BODY_BYTES = 1024 * 1024
MAX_REDIRECTS = 3
HIDDEN = b"***"
SHORTEST_HIDDEN = 4
"""Shorter secrets protect nothing, and taking them out would tear any text."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ConfiguredWebService:
    """One service; ``url`` may carry a path prefix and credentials, ``headers`` are secrets, ``timeout`` is in seconds.

    ``ca`` is a file of authorities to trust instead of the system's; raises ConfigError when it cannot be read.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        ca: Path | None = None,
        timeout: float = 15.0,
    ) -> None:
        self._name = name
        self._url = URL(url).with_query(None).with_fragment(None)
        self._headers = dict(headers or {})
        self._hidden = _hidden(self._url, self._headers)
        self._trust: ssl.SSLContext | bool = trusting(f"targets.http.{name}.ca", ca) if ca else True
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    def __repr__(self) -> str:
        return f"ConfiguredWebService({self._name!r})"

    async def request(self, method: str, path: tuple[str, ...], query: Mapping[str, str]) -> WebAnswer:
        """Ask; a connection of its own each time, since calls are rare."""
        url = self._url.joinpath(*path) if path else self._url
        started = time.monotonic()
        try:
            async with aiohttp.ClientSession(timeout=self._timeout, headers=self._headers) as session:
                return await self._follow(session, method, url.with_query(dict(query)), started)
        except TimeoutError as e:
            raise UnavailableError(f"web service {self._name}: no answer in time") from e
        except aiohttp.ClientConnectorCertificateError as e:
            raise PermanentError(f"web service {self._name}: its certificate is not trusted") from e
        except (aiohttp.ClientError, OSError) as e:
            raise UnavailableError(f"web service {self._name}: {type(e).__name__}") from e

    async def _follow(self, session: aiohttp.ClientSession, method: str, url: URL, started: float) -> WebAnswer:
        for _ in range(MAX_REDIRECTS + 1):
            async with session.request(method, url, allow_redirects=False, ssl=self._trust) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or not location:
                    body, cut = await self._bounded(response)
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
            origin = target.origin()
        except ValueError as e:
            raise PermanentError(f"web service {self._name}: it redirects to something that is no address") from e
        if origin != self._url.origin():
            raise PermanentError(
                f"web service {self._name}: it redirects to {str(target.host)[:80]!r}, which is not followed"
            )
        return target.with_user(self._url.user).with_password(self._url.password)

    async def _bounded(self, response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """Read so far beyond the limit that no credential lies across it."""
        enough = MAX_BODY_BYTES + max(map(len, self._hidden), default=0) + 1
        kept = bytearray()
        async for chunk in response.content.iter_chunked(64 * 1024):
            kept += chunk
            if len(kept) >= enough:
                break
        body, cut = bytes(kept), len(kept) > MAX_BODY_BYTES
        for secret in self._hidden:
            body = body.replace(secret, HIDDEN)
        return body[:MAX_BODY_BYTES], cut


def _hidden(url: URL, headers: Mapping[str, str]) -> tuple[bytes, ...]:
    """Return what must not be shown, the longest first: of a header with a scheme what follows it alone as well."""
    found = {part for value in headers.values() for part in (value, value.rpartition(" ")[2])}
    if url.password:
        basic = base64.b64encode(f"{url.user or ''}:{url.password}".encode()).decode()
        found |= {url.password, url.raw_password or "", basic}
    return tuple(sorted((s.encode() for s in found if len(s) >= SHORTEST_HIDDEN), key=len, reverse=True))
