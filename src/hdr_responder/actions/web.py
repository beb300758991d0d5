"""Asks web services, each by its name in the settings.

A host that a playbook or a label could name would let whoever can raise an alert send the responder, and its
credentials, anywhere; so hosts stand in the settings alone. A path is written by the playbook's author, and values
enter it as whole quoted segments. Only questions are asked: a change over HTTP could carry no fence, could not be
observed after a crash, and could not be rehearsed or taken back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator
from pydantic_core import from_json

from hdr_responder.actions.contract import (
    AnyAction,
    AnyCheck,
    Check,
    Parameters,
    Permission,
    Read,
    Result,
    StepContext,
    Verdict,
)
from hdr_responder.domain.ports.web import WebAnswer
from hdr_responder.errors import (
    ForbiddenError,
    HdrError,
    InvalidInputError,
    PermanentError,
    TemporaryError,
    UnavailableError,
)

SHOWN_TEXT = 2_000
"""Most characters of a body in the result; all that was read is kept as an artifact."""
MAX_JSON_BYTES = 64 * 1024
MAX_SEGMENT = 200

Status = Annotated[int, Field(ge=100, le=599)]
QueryValue = Annotated[str, StringConstraints(max_length=2_000)]

_PLACEHOLDER = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_ELSEWHERE = frozenset({".", ".."})


class PathError(InvalidInputError, ValueError):
    """A path or one of its values is wrong; the message says which and why."""


def bind(path: str, args: Mapping[str, str]) -> tuple[str, ...]:
    """Return the segments of ``path``, each ``$name`` replaced by ``args[name]``; the last is empty after a slash.

    Raises PathError for what would leave the base address or be read differently on the way, for an unknown name and
    for an unused argument.
    """
    used: set[str] = set()
    segments = tuple(_segment(written, args, used) for written in path.removeprefix("/").split("/")) if path else ()
    if "" in segments[:-1]:
        raise PathError("must have no empty segments", field="path")
    unused = sorted(set(args) - used)
    if unused:
        raise PathError(f"the path does not use ${unused[0]}", field=f"args.{unused[0]}")
    return segments


def _segment(written: str, args: Mapping[str, str], used: set[str]) -> str:
    placeholder = _PLACEHOLDER.fullmatch(written)
    if placeholder is None:
        if not _names_below(written) or set("$?#%") & set(written):
            raise PathError("must be segments without . and .., ?, # and %; a $name is a whole segment", field="path")
        return written
    name = placeholder[1]
    if name not in args:
        raise PathError(f"${name} has no value in args", field="path")
    value = args[name]
    if not value or len(value) > MAX_SEGMENT or "/" in value or not _names_below(value):
        raise PathError("must be one segment of a path: not empty, not . or .., without / and \\", field=f"args.{name}")
    used.add(name)
    return value


def _names_below(segment: str) -> bool:
    return segment not in _ELSEWHERE and "\\" not in segment and (segment.isprintable() or not segment)


class AskParameters(Parameters):
    """What to ask of which service."""

    target: str = Field(min_length=1, description="A name under `targets.http`.")
    path: str = Field(
        default="",
        max_length=1_000,
        json_schema_extra={"literal": True},
        description="Below the service's base address; a segment `$name` is the argument of that name, quoted.",
    )
    args: dict[str, str] = Field(default_factory=dict, max_length=20, description="Segments of the path by name.")
    query: dict[str, QueryValue] = Field(default_factory=dict, max_length=50, description="Query parameters, quoted.")
    expect_status: tuple[Status, ...] = Field(
        default=(), max_length=20, description="Statuses that are as they should be; any 2xx without."
    )

    @model_validator(mode="after")
    def _bound(self) -> Self:
        bind(self.path, self.args)
        return self

    def expects(self, status: int) -> bool:
        """Tell whether a status is as it should be."""
        return status in self.expect_status if self.expect_status else 200 <= status < 300


class RequestParameters(AskParameters):
    """What to ask of which service, and how."""

    method: Literal["GET", "HEAD"] = "GET"


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
  path: api/v2/components/$component
  args: {component: "${params.workload.name}"}
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
        """Ask.

        For a status that was not expected raises UnavailableError where it may pass, ForbiddenError where we may not
        ask, else PermanentError.
        """
        answer = await _asked(ctx, params, params.method)
        if not params.expects(answer.status):
            raise _unexpected(answer.status)(f"web service {params.target} answered {answer.status}")
        artifact = ""
        if answer.body:
            is_json = answer.content_type.endswith("json")
            name, kind = ("json", "application/json") if is_json else ("txt", "text/plain")
            # Whatever the service calls it: a page of its own must not be opened as one of ours.
            artifact = await ctx.evidence.keep(f"{ctx.step_id}.{name}", kind, answer.body)
        cut = ", cut" if answer.cut else ""
        return RequestResult(
            status=answer.status,
            seconds=round(answer.seconds, 3),
            text=answer.body[: SHOWN_TEXT * 4].decode(errors="replace")[:SHOWN_TEXT],
            body=_json(answer.body, answer.content_type) if not answer.cut else None,
            artifact=artifact,
            summary=f"{params.target} answered {answer.status} with {len(answer.body)} bytes{cut}",
        )


class Healthy(Check[AskParameters]):
    """Holds when the service answers as it should; any other status, and no answer at all, is contrary evidence."""

    name = "http.healthy"
    summary = "A web service answers a GET with an expected status, any 2xx unless `expect_status` says another."
    example = """
http.healthy:
  target: status-page
  path: healthz
"""
    parameters = AskParameters

    def permissions(self, params: AskParameters) -> tuple[Permission, ...]:
        """Return none: the service's token says what we may."""
        del params
        return ()

    async def evaluate(self, ctx: StepContext, params: AskParameters) -> Verdict:
        """Ask once; what cannot be reached from here counts as down, and a refused token says nothing of its health."""
        try:
            answer = await _asked(ctx, params, "GET")
        except UnavailableError as e:
            return Verdict(holds=False, detail=str(e))
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))
        if params.expects(answer.status):
            return Verdict(holds=True, detail=f"web service {params.target} answered {answer.status}")
        unknown = answer.status in {401, 403, 429}
        return Verdict(holds=None if unknown else False, detail=f"web service {params.target} answered {answer.status}")


async def _asked(ctx: StepContext, params: AskParameters, method: str) -> WebAnswer:
    service = ctx.systems.web_service(params.target)
    return await service.request(method, bind(params.path, params.args), params.query)


def _unexpected(status: int) -> type[HdrError]:
    if status in {408, 429} or status >= 500:
        return UnavailableError
    return ForbiddenError if status in {401, 403} else PermanentError


def _json(body: bytes, content_type: str) -> JsonValue:
    """Return the body where it is JSON that our records can hold, else None."""
    if not content_type.endswith("json") or len(body) > MAX_JSON_BYTES:
        return None
    try:
        parsed: JsonValue = from_json(body, allow_inf_nan=False)
        json.dumps(parsed, allow_nan=False)  # A number beyond all bounds is read as infinite.
    except ValueError:
        return None
    return parsed


WEB_ACTIONS: tuple[AnyAction, ...] = (Request(),)
WEB_CHECKS: tuple[AnyCheck, ...] = (Healthy(),)
