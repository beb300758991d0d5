"""The one place where kubernetes_asyncio is called: credentials, transport and timeouts, plain JSON out.

The generic call of its `ApiClient` is used rather than the generated methods: those deserialise into classes without
types that lag behind the server, while the generic call leaves address, patch type and error handling with us. The
import costs some 40 MB, so it happens when a cluster is first asked, never in a service without clusters.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from pydantic import JsonValue

from hdr_responder import __version__
from hdr_responder.adapters.kubernetes.failures import failure
from hdr_responder.adapters.kubernetes.reach import require_reachable
from hdr_responder.adapters.kubernetes.requests import METHODS, ApiRequest
from hdr_responder.errors import AdapterError, AmbiguousError, ConfigError, HdrError, PermanentError, UnavailableError

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient, Configuration

ERROR_BODY_LIMIT = 64 * 1024
READ_CHUNK = 64 * 1024
UPGRADE_HINT = b'{"message": "from Kubernetes 1.35 on a WebSocket takes the verb create, too"}'
"""Stands for what the server says to a WebSocket that it forbids, which could tell the verb that is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How a cluster is reached; without ``kubeconfig``: in-cluster where there is one, else the default kubeconfig.

    ``namespaces`` are those that requests may go to; no others leave.
    """

    cluster: str
    kubeconfig: Path | None
    context: str | None
    timeout_seconds: float
    namespaces: Container[str]


class Connection:
    """A lazily opened client of one cluster; safe to share between tasks."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client: ApiClient | None = None
        self._refused = False
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close the sockets; a later request opens them anew."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def json(self, request: ApiRequest) -> dict[str, JsonValue]:
        """Send a request and return the answer's object."""
        async with self._answer(request) as response:
            body = await response.read()
        try:
            answer = json.loads(body)
        except ValueError as e:
            raise AdapterError(f"cluster {self._endpoint.cluster}: {request}: the answer is not JSON") from e
        if not isinstance(answer, dict):
            raise AdapterError(f"cluster {self._endpoint.cluster}: {request}: the answer is no object")
        return answer

    async def tail(self, request: ApiRequest, max_bytes: int) -> tuple[bytes, int]:
        """Send a request and return the last ``max_bytes`` of the answer, and how many it had in all.

        Little more than those last ones is held in memory.
        """
        kept, size = bytearray(), 0
        async with self._answer(request) as response:
            async for chunk in response.content.iter_chunked(READ_CHUNK):
                kept += chunk
                size += len(chunk)
                if len(kept) > max_bytes + READ_CHUNK:
                    del kept[:-max_bytes]
        return bytes(kept[-max_bytes:]), size

    @contextlib.asynccontextmanager
    async def _answer(self, request: ApiRequest) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            response = await self._send(request)
            async with response:
                if response.status >= 300:
                    body = await response.content.read(ERROR_BODY_LIMIT)
                    self._refused = response.status == 401
                    raise failure(self._endpoint.cluster, request, response.status, response.headers, body)
                yield response
        except (aiohttp.ClientError, OSError) as e:
            raise self._unreachable(request, e) from e

    async def _send(self, request: ApiRequest) -> aiohttp.ClientResponse:
        client = await self._open(request)
        response: aiohttp.ClientResponse = await client.call_api(
            request.path,
            METHODS[request.verb],
            query_params=[*request.query, *([("dryRun", "All")] if request.dry_run else [])],
            header_params={"Accept": "application/json, */*", "Content-Type": request.content_type},
            body=request.sent_body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=aiohttp.ClientTimeout(
                total=self._endpoint.timeout_seconds, sock_connect=self._endpoint.timeout_seconds / 2
            ),
        )
        return response

    @contextlib.asynccontextmanager
    async def socket(
        self, request: ApiRequest, protocol: str, seconds: float
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Send a request that becomes a WebSocket, which is closed with the block and after ``seconds`` at the latest.

        What the server says to a refused handshake is lost: the client library does not hand it out.
        """
        try:
            async with asyncio.timeout(seconds), self._upgraded(request, protocol) as opened:
                yield opened
        except aiohttp.WSServerHandshakeError as e:
            self._refused = e.status == 401
            said = UPGRADE_HINT if e.status == 403 else b""
            # Not chained: it carries the headers of the request, our token among them.
            raise failure(self._endpoint.cluster, request, e.status, e.headers or {}, said) from None
        except TimeoutError as e:
            raise UnavailableError(
                f"cluster {self._endpoint.cluster}: not over within {seconds:g} s ({request})"
            ) from e
        except (aiohttp.ClientError, OSError) as e:
            raise self._unreachable(request, e) from e

    @contextlib.asynccontextmanager
    async def _upgraded(self, request: ApiRequest, protocol: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket as the client library sends its requests: same credentials, proxy and TLS name.

        It has a client of its own, whose end breaks the connection off: nobody waits for what a command still writes,
        and a polite end of TLS would outlive the block.
        """
        from kubernetes_asyncio.client import ApiClient

        configuration = (await self._open(request)).configuration
        headers = {"User-Agent": f"hdr-responder/{__version__}"}
        async with ApiClient(configuration) as client:
            await client.update_params_for_auth(headers, [], ["BearerToken"])
            rest = client.rest_client
            opened: aiohttp.ClientWebSocketResponse = await rest.pool_manager.ws_connect(
                f"{configuration.host}{request.path}",
                params=list(request.query),
                headers=headers,
                protocols=(protocol,),
                proxy=rest.proxy,
                proxy_headers=rest.proxy_headers,
                server_hostname=rest.server_hostname,
            )
            try:
                yield opened
            finally:
                await client.close()
                await opened.close()

    def _unreachable(self, request: ApiRequest, error: Exception) -> HdrError:
        """Tell what a broken or missing answer means; a timeout is an OSError."""
        cluster = self._endpoint.cluster
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return PermanentError(f"cluster {cluster}: its certificate is not trusted ({request})")
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return UnavailableError(f"cluster {cluster} cannot be reached ({request}): {type(error).__name__}")
        timed_out = isinstance(error, TimeoutError)
        how = f"no answer within {self._endpoint.timeout_seconds:g} s" if timed_out else "the connection broke"
        if request.changes:
            return AmbiguousError(f"cluster {cluster}: {how}, the change may have happened ({request})")
        return UnavailableError(f"cluster {cluster}: {how} ({request})")

    async def _open(self, request: ApiRequest) -> ApiClient:
        """Return the client for a request, the one way to it: what would leave the listed namespaces gets none.

        Refused credentials are read again first, since they may have been rotated meanwhile.
        """
        require_reachable(self._endpoint.cluster, request, self._endpoint.namespaces)
        from kubernetes_asyncio.client import ApiClient, Configuration

        async with self._opening:
            if self._client is None:
                configuration = Configuration()
                await self._load(configuration)
                self._client = ApiClient(configuration)
                self._client.user_agent = f"hdr-responder/{__version__}"
            elif self._refused:
                await self._load(self._client.configuration)
            self._refused = False
            return self._client

    async def _load(self, configuration: Configuration) -> None:
        """Fill in address and credentials.

        The library's own messages may quote the kubeconfig, tokens included: they are neither shown nor chained.
        """
        from kubernetes_asyncio.config import ConfigException
        from yaml import YAMLError

        endpoint = self._endpoint
        source = _source(endpoint)
        shown = f"{source or 'the in-cluster service account'}" + (
            f", context {endpoint.context}" if endpoint.context else ""
        )
        try:
            async with asyncio.timeout(endpoint.timeout_seconds):
                await _fill_in(configuration, source, endpoint)
        except TimeoutError:
            raise UnavailableError(f"cluster {endpoint.cluster}: the credentials of {shown} took too long") from None
        except (ConfigException, YAMLError, OSError, ValueError, LookupError, AttributeError, TypeError) as e:
            message = f"cluster {endpoint.cluster}: no usable credentials in {shown} ({type(e).__name__})"
            raise ConfigError(message) from None


async def _fill_in(configuration: Configuration, source: Path | None, endpoint: Endpoint) -> None:
    from kubernetes_asyncio.config import load_incluster_config, load_kube_config

    if source is None:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return
    _require_one(source)
    loader = await load_kube_config(
        config_file=str(source), context=endpoint.context, client_configuration=configuration, persist_config=False
    )
    configuration.refresh_api_key_hook = _refresher(loader, endpoint)


def _source(endpoint: Endpoint) -> Path | None:
    """Return the kubeconfig to read, or None for the in-cluster service account."""
    if endpoint.kubeconfig is not None:
        return endpoint.kubeconfig
    if endpoint.context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return None
    named = os.environ.get("KUBECONFIG")
    return Path(named) if named else Path.home() / ".kube" / "config"


def _require_one(source: Path) -> None:
    """Raise FileNotFoundError when none of the files (``$KUBECONFIG`` may list several) is there."""
    if not any(Path(each).is_file() for each in str(source).split(os.pathsep)):
        raise FileNotFoundError(source)


def _refresher(loader: Any, endpoint: Endpoint) -> Callable[[Configuration], Awaitable[None]] | None:
    """Return the hook that renews short-lived tokens; only exec plugins (the cloud providers' way) have any.

    The loader keeps a token's expiry, so that the plugin runs again only shortly before it.
    """
    if not hasattr(loader, "exec_plugin_expiry"):
        return None

    async def refresh(configuration: Configuration) -> None:
        from kubernetes_asyncio.config import ConfigException

        try:
            async with asyncio.timeout(endpoint.timeout_seconds):
                await loader.load_from_exec_plugin()
        except (ConfigException, OSError, ValueError, LookupError) as e:
            message = f"cluster {endpoint.cluster}: the token could not be renewed ({type(e).__name__})"
            raise UnavailableError(message) from None
        configuration.api_key["BearerToken"] = loader.token

    return refresh
