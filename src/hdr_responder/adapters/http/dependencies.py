"""What the HTTP server needs from the rest, so that it can be built and tested by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from aiohttp.web import AbstractRouteDef

from hdr_responder.domain.clock import Clock
from hdr_responder.domain.ports.artifacts import ArtifactBytes
from hdr_responder.domain.ports.operations import Operations
from hdr_responder.domain.ports.records import IncidentRecord, Records
from hdr_responder.domain.timeline import TimelineEntry
from hdr_responder.settings import AlertmanagerSettings, ApiToken
from hdr_responder.telemetry import Metrics

MAX_BODY_BYTES = 16 * 1024 * 1024


class DeliveryWriter(Protocol):
    """Takes deliveries in."""

    async def commit(self, source: str, body: bytes, received_at: datetime) -> None:
        """Store a delivery and the job that processes it; returns once both are committed.

        Raises UnavailableError, with ``retry_after`` where it is known, when that cannot be done now.
        """
        ...

    async def reject(self, source: str, body: bytes, received_at: datetime, *, error: str, field: str) -> None:
        """Keep a body that breaks the contract, once per source and body; raises as `commit`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether requests should be sent here; ``checks`` says of each condition ``ok`` or what is wrong."""

    ready: bool
    checks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpDependencies:
    """Everything that the server is built from."""

    deliveries: DeliveryWriter
    records: Records
    operations: Operations
    artifacts: ArtifactBytes
    clock: Clock
    metrics: Metrics
    alertmanager: AlertmanagerSettings
    """Credentials, sources and the backlog limit of webhooks."""
    tokens: Sequence[ApiToken]
    """API tokens."""
    readiness: Callable[[], Awaitable[Readiness]]
    backlog_age: Callable[[], timedelta]
    """Age of the oldest unprocessed delivery; asked for every webhook, so it must answer from memory."""
    draining: Callable[[], bool]
    """Whether the service is shutting down and takes nothing new."""
    postmortem: Callable[[IncidentRecord, Sequence[TimelineEntry]], str]
    """Renders an incident's post-mortem as Markdown."""
    max_body_bytes: int = MAX_BODY_BYTES
    extra_routes: Sequence[AbstractRouteDef] = ()
    """Routes of other adapters (Slack), which authenticate their requests themselves."""
