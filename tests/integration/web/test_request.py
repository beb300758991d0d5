"""Asking a web service: one origin, a bounded answer, and credentials that go nowhere else."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest
from aiohttp import web
from pydantic import ValidationError
from pydantic_core import to_json

from hdr_responder.actions.contract import Fence, StepContext
from hdr_responder.actions.web import AskParameters, Healthy, Request, RequestParameters
from hdr_responder.adapters.web import MAX_BODY_BYTES, ConfiguredWebService
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import ConfigError, ForbiddenError, NotFoundError, PermanentError, UnavailableError
from tests.integration.kubernetes.steps import KeptEvidence
from tests.integration.web.authority import Authority
from tests.services.ports import free_port

TOKEN = "a-secret-token"
KEY = "k3y-of-ours"
MOVED = {
    "moved": "/base/status",
    "away": "http://elsewhere.example/status",
    "around": "/base/around",
    "nowhere": "mailto:ann@example.com",
}
ODD_JSON = {
    "broken": "{",
    "deep": "[" * 60_000,
    "infinite": '{"a": 1e999}',
    "nan": "NaN",
    "half": '"\\ud800"',
}


BOMB = gzip.compress(bytes(64 * 1024 * 1024), 1)
HEADERS = {"authorization": f"Bearer {TOKEN}", "x-api-key": KEY}


@dataclass
class Service:
    """A real HTTP server that remembers what it was asked."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        self.tokens.append(request.headers.get("Authorization"))
        wish = request.match_info["path"].rpartition("/")[2]
        if wish in MOVED:
            raise web.HTTPFound(MOVED[wish])
        if wish in ODD_JSON:
            return web.Response(text=ODD_JSON[wish], content_type="application/json")
        return self._plain(wish, request)

    def _plain(self, wish: str, request: web.Request) -> web.Response:
        match wish:
            case "large":
                return web.Response(body=b"x" * (MAX_BODY_BYTES + 10))
            case "large-echo":
                return web.Response(text="x" * (MAX_BODY_BYTES - 5) + TOKEN + "y" * 10)
            case "bomb":
                return web.Response(body=BOMB, headers={"Content-Encoding": "gzip"})
            case "echo":
                return web.json_response(dict(request.headers))
            case "forbidden" | "busy" | "missing":
                return web.Response(status={"forbidden": 403, "busy": 503, "missing": 404}[wish])
            case "zero":
                return web.Response(body=b"a\x00b\xff", content_type="text/plain")
            case _:
                return web.json_response({"ok": True})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = Service()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", running.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    running.url = f"http://{host}:{port}/base"
    yield running
    await runner.cleanup()


def context(url: str, timeout: float = 5.0) -> StepContext:
    return StepContext(
        fence=Fence(run_id=uuid.uuid4(), token=1),
        step_id="ask",
        incident_ref="INC-1",
        cluster=None,
        systems=Systems(web={"status": ConfiguredWebService("status", url, HEADERS, timeout=timeout)}),
        evidence=KeptEvidence(),
        clock=SystemClock(),
    )


def asking(path: str = "status", **more: object) -> RequestParameters:
    return RequestParameters.model_validate({"target": "status", "path": path, **more})


async def test_an_answer_is_read_and_kept(service: Service) -> None:
    ctx = context(service.url)
    result = await Request().execute(ctx, asking(query={"page": "1&x=2"}))
    assert (result.status, result.body) == (200, {"ok": True})
    assert service.asked == ["/base/status?page=1%26x%3D2"]
    assert service.tokens == [f"Bearer {TOKEN}"]
    assert isinstance(ctx.evidence, KeptEvidence)
    assert ctx.evidence.artifacts[result.artifact] == ("ask.json", b'{"ok": true}')
    assert TOKEN not in result.model_dump_json()


async def test_a_redirect_within_the_origin_is_followed(service: Service) -> None:
    result = await Request().execute(context(service.url), asking("moved"))
    assert result.body == {"ok": True}
    assert service.asked == ["/base/moved", "/base/status"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("away", "elsewhere.example', which is not"),
        ("around", "more than 3"),
        ("nowhere", "something that is no address"),
    ],
)
async def test_other_redirects_are_refused(service: Service, path: str, reason: str) -> None:
    with pytest.raises(PermanentError, match=reason) as caught:
        await Request().execute(context(service.url), asking(path))
    assert TOKEN not in str(caught.value)


async def test_a_large_answer_is_cut_and_says_so(service: Service) -> None:
    result = await Request().execute(context(service.url), asking("large"))
    assert result.summary.endswith("bytes, cut")
    assert result.body is None
    assert len(result.text) == 2000


async def test_a_status_that_was_not_expected_fails_the_step(service: Service) -> None:
    with pytest.raises(PermanentError, match="status answered 404"):
        await Request().execute(context(service.url), asking("missing"))
    result = await Request().execute(context(service.url), asking("missing", expect_status=[404]))
    assert result.status == 404


async def test_nobody_there(service: Service) -> None:
    with pytest.raises(UnavailableError, match="web service status"):
        await Request().execute(context(f"http://127.0.0.1:{free_port()}"), asking())


async def test_an_unknown_service_is_named(service: Service) -> None:
    with pytest.raises(NotFoundError, match=r"targets\.http\.other .*configured: status"):
        await Request().execute(context(service.url), asking().model_copy(update={"target": "other"}))


@pytest.mark.parametrize(("path", "error"), [("forbidden", ForbiddenError), ("busy", UnavailableError)])
async def test_what_may_pass_is_told_from_what_may_not(service: Service, path: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"status answered \d{3}$"):
        await Request().execute(context(service.url), asking(path))


async def test_credentials_that_come_back_are_taken_out(service: Service) -> None:
    ctx = context(service.url)
    result = await Request().execute(ctx, asking("echo"))
    assert isinstance(ctx.evidence, KeptEvidence)
    _, kept = ctx.evidence.artifacts[result.artifact]
    seen = kept.decode() + result.model_dump_json()
    assert TOKEN not in seen
    assert KEY not in seen
    assert isinstance(result.body, dict)
    assert result.body["x-api-key"] == "***"


async def test_a_credential_across_the_end_of_what_is_kept_is_taken_out(service: Service) -> None:
    ctx = context(service.url)
    result = await Request().execute(ctx, asking("large-echo"))
    assert isinstance(ctx.evidence, KeptEvidence)
    _, kept = ctx.evidence.artifacts[result.artifact]
    assert TOKEN[:4].encode() not in kept
    assert len(kept) <= MAX_BODY_BYTES


async def test_credentials_of_the_address_are_sent_and_never_shown(service: Service) -> None:
    url = service.url.replace("http://", "http://ann:pass%2Fword@")
    asked = ConfiguredWebService("status", url)
    answer = await asked.request("GET", ("echo",), {})
    assert service.tokens == ["Basic YW5uOnBhc3Mvd29yZA=="]
    assert b"YW5uOnBhc3Mvd29yZA" not in answer.body
    assert "word" not in repr(asked)
    await asked.request("GET", ("moved",), {})
    assert service.tokens[1:] == ["Basic YW5uOnBhc3Mvd29yZA=="] * 2


async def test_a_compressed_answer_is_bounded_by_what_comes_out_of_it(service: Service) -> None:
    tracemalloc.start()
    try:
        result = await Request().execute(context(service.url), asking("bomb"))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.summary.endswith("1048576 bytes, cut")
    assert most < 8 * 1024 * 1024


@pytest.mark.parametrize("path", ODD_JSON)
async def test_json_that_records_cannot_hold_is_text(service: Service, path: str) -> None:
    result = await Request().execute(context(service.url), asking(path))
    assert result.body is None
    assert result.text.startswith(ODD_JSON[path][:100])
    json.loads(to_json(result))


async def test_bytes_that_are_no_text(service: Service) -> None:
    result = await Request().execute(context(service.url), asking("zero"))
    assert result.text == "a\x00b\N{REPLACEMENT CHARACTER}"


async def test_a_service_that_says_nothing_is_waited_for_no_longer_than_it_may_take() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = "http://{}:{}".format(*silent.getsockname())
        async with asyncio.timeout(10):
            with pytest.raises(UnavailableError, match="no answer in time"):
                await Request().execute(context(url, timeout=0.2), asking())


async def test_an_authority_of_ones_own(tmp_path: Path, authority: Authority) -> None:
    async with authority.serving_http(tmp_path, name="localhost") as url:
        trusted = ConfiguredWebService("inside", url, ca=authority.file(tmp_path))
        assert (await trusted.request("GET", (), {})).status == 200
        with pytest.raises(PermanentError, match="certificate is not trusted"):
            await ConfiguredWebService("inside", url).request("GET", (), {})


def test_an_authority_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name, why in (("absent.pem", "cannot be read"), ("empty.pem", "holds no certificates")):
        with pytest.raises(ConfigError, match=rf"targets\.http\.inside\.ca: .*{why}"):
            ConfiguredWebService("inside", "https://inside.example", ca=tmp_path / name)


@pytest.mark.parametrize(
    "path",
    [
        "../admin",
        "a/../../b",
        "//elsewhere/x",
        "..",
        ".",
        "a\\..\\b",
        "a\nb",
        "http://x/y",
        "a?q=1",
        "a#f",
        "%2e%2e",
        "a$b",
    ],
)
def test_no_path_leaves_the_base_address(path: str) -> None:
    with pytest.raises(ValidationError, match="path: "):
        asking(path)


@pytest.mark.parametrize("value", ["", ".", "..", "../../x", "a/b", "a\\b", "a\nb", "\x00", "\u202e", "x" * 300])
def test_a_value_that_is_no_segment_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match=r"args\.name: must be one segment"):
        asking("things/$name", args={"name": value})


@pytest.mark.parametrize(
    "value", ["a b", "x;y", "$(reboot)", "`id`", "*", "é", "?q=1", "#f", "%2e%2e", "a=b,c!=d", "{{.}}", "$name", "..;"]
)
async def test_a_value_is_taken_literally_as_one_segment(service: Service, value: str) -> None:
    await Request().execute(context(service.url), asking("things/$name/state", args={"name": value}))
    (asked,) = service.asked
    assert [unquote(part) for part in asked.split("/")] == ["", "base", "things", value, "state"]
    assert not {"?", "#", " "} & set(asked)


@pytest.mark.parametrize(
    ("path", "args", "why"),
    [
        ("a/$name", {}, r"\$name has no value"),
        ("a", {"name": "b"}, r"does not use \$name"),
        ("a/x$name", {"name": "b"}, "is a whole segment"),
    ],
)
def test_placeholders_and_values_belong_together(path: str, args: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        asking(path, args=args)


@pytest.mark.parametrize(
    ("path", "asked"), [("", "/base"), ("/", "/base/"), ("/a/b", "/base/a/b"), ("a/b/", "/base/a/b/")]
)
async def test_a_slash_at_the_end_is_kept(service: Service, path: str, asked: str) -> None:
    await Request().execute(context(service.url), asking(path))
    assert service.asked == [asked]


@pytest.mark.parametrize(
    ("path", "expected", "holds"),
    [
        ("status", [], True),
        ("busy", [], False),
        ("missing", [404], True),
        ("status", [404], False),
        ("forbidden", [], None),
        ("moved", [], True),
    ],
)
async def test_healthy(service: Service, path: str, expected: list[int], holds: bool | None) -> None:
    params = AskParameters.model_validate({"target": "status", "path": path, "expect_status": expected})
    verdict = await Healthy().evaluate(context(service.url), params)
    assert verdict.holds is holds
    assert "status answered" in verdict.detail


async def test_a_service_that_cannot_be_reached_is_not_healthy() -> None:
    verdict = await Healthy().evaluate(context(f"http://127.0.0.1:{free_port()}"), AskParameters(target="status"))
    assert verdict.holds is False
