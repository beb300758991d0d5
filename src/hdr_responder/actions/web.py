"""Asks web services and reads certificates, each by its name in the settings.

A host that a playbook or a label could name would let whoever can raise an alert send the responder, and its
credentials, anywhere; so hosts stand in the settings alone. Only questions are asked: a change over HTTP could carry no
fence and could not be observed.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.errors import PermanentError

SHOWN_TEXT = 2_000
"""Most characters of a body in the result; all that was read is kept as an artifact."""
MAX_JSON_BYTES = 64 * 1024
DAY = timedelta(days=1)


def _path(text: str) -> str:
    """Refuse what would leave the base address."""
    segments = text.split("/")
    if any(segment in {".", ".."} for segment in segments) or "\\" in text or "://" in text:
        raise ValueError("must stay below the base address")
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError("must hold no control characters")
    return text.strip("/")


class RequestParameters(Parameters):
    """What to ask of which service."""

    target: str = Field(min_length=1, description="A name under `targets.http`.")
    path: Annotated[str, Field(max_length=1_000), AfterValidator(_path)] = Field(
        default="", description="Below the service's base address; every segment is quoted."
    )
    query: dict[str, str] = Field(default_factory=dict, max_length=50, description="Query parameters, quoted.")
    method: Literal["GET", "HEAD"] = "GET"
    expect_status: tuple[int, ...] = Field(default=(), description="Any other status fails the step; any 2xx without.")

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's segments."""
        return tuple(segment for segment in self.path.split("/") if segment)


class RequestResult(Result):
    """What was answered."""

    status: int
    seconds: float = Field(description="How long it took.")
    text: str = Field(description="The start of the body.")
    body: JsonValue = Field(default=None, description="The body where it is JSON and short, else null.")
    artifact: str = Field(description="Artifact id of the body; empty when there is none.")
    summary: str


class Request(Read[RequestParameters, RequestResult]):
    """Asks a web service."""

    name = "http.request"
    summary = "Ask a web service that the settings name, and keep what it answered."
    example = """
id: status
action: http.request
with:
  target: status-page
  path: api/v2/components.json
  query: {page: "1"}
"""
    parameters = RequestParameters
    result = RequestResult
    default_timeout_seconds = 30.0

    def permissions(self, params: RequestParameters) -> tuple[Permission, ...]:
        """Return none: the service's token says what we may."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: RequestParameters) -> RequestResult:
        """Ask; raises PermanentError for a status that was not expected."""
        service = ctx.systems.web_service(params.target)
        answer = await service.request(params.method, params.segments, params.query)
        expected = params.expect_status or range(200, 300)
        if answer.status not in expected:
            raise PermanentError(f"web service {params.target} answered {answer.status}")
        artifact = ""
        if answer.body:
            name = f"{params.target}.{'json' if answer.content_type.endswith('json') else 'txt'}"
            artifact = await ctx.evidence.keep(name, answer.content_type or "text/plain", answer.body)
        cut = ", cut" if answer.cut else ""
        return RequestResult(
            status=answer.status,
            seconds=round(answer.seconds, 3),
            text=answer.body[: SHOWN_TEXT * 4].decode(errors="replace")[:SHOWN_TEXT],
            body=_json(answer.body, answer.content_type) if not answer.cut else None,
            artifact=artifact,
            summary=f"{params.target} answered {answer.status} with {len(answer.body)} bytes{cut}",
        )


class CertificateExpiryParameters(Parameters):
    """Whose certificate."""

    shorthand = "target"
    target: str = Field(min_length=1, description="A name under `targets.tls`.")


class CertificateExpiryResult(Result):
    """The certificate that the server shows."""

    days_left: int = Field(description="Whole days until it expires; negative when it has expired.")
    not_after: datetime
    subject: str
    issuer: str
    names: list[str] = Field(description="Host names that it is for.")
    trusted: bool = Field(description="Whether a client would accept it now.")
    problem: str = Field(description="Why a client would not; empty when it would.")
    summary: str


class CertificateExpiry(Read[CertificateExpiryParameters, CertificateExpiryResult]):
    """Reads a server's certificate (manual C12, A14)."""

    name = "tls.certificate_expiry"
    summary = "Read the certificate that a server shows: days left, names, and whether a client would trust it."
    example = """
id: certificate
action: tls.certificate_expiry
with: {target: hdr-empire}
"""
    parameters = CertificateExpiryParameters
    result = CertificateExpiryResult
    default_timeout_seconds = 30.0

    def permissions(self, params: CertificateExpiryParameters) -> tuple[Permission, ...]:
        """Return none: certificates are public."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: CertificateExpiryParameters) -> CertificateExpiryResult:
        """Connect and read."""
        server = ctx.systems.tls_server(params.target)
        found = await server.certificate()
        days = (found.not_after - ctx.clock.now()) // DAY
        told = f"{days} days left" if days >= 0 else f"expired {-days} days ago"
        return CertificateExpiryResult(
            days_left=days,
            not_after=found.not_after,
            subject=found.subject,
            issuer=found.issuer,
            names=list(found.names),
            trusted=not found.problem,
            problem=found.problem,
            summary=f"{server.address}: {told}" + (f"; {found.problem}" if found.problem else ""),
        )


def _json(body: bytes, content_type: str) -> JsonValue:
    if not content_type.endswith("json") or len(body) > MAX_JSON_BYTES:
        return None
    try:
        parsed: JsonValue = json.loads(body)
    except ValueError:
        return None
    return parsed


WEB_ACTIONS = (Request(), CertificateExpiry())
