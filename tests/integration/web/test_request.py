"""Asking a web service: one origin, a bounded answer, and credentials that go nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from pydantic import ValidationError

from hdr_responder.actions.contract import Fence, StepContext
from hdr_responder.actions.web import Request, RequestParameters
from hdr_responder.adapters.web import MAX_BODY_BYTES, ConfiguredWebService
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import NotFoundError, PermanentError, UnavailableError
from tests.integration.kubernetes.steps import KeptEvidence
from tests.services.ports import free_port

TOKEN = "a-secret-token"


@dataclass
class Service:
    """A real HTTP server that remembers what it was asked."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        self.tokens.append(request.headers.get("Authorization"))
        match request.match_info["path"].rpartition("/")[2]:
            case "moved":
                raise web.HTTPFound("/base/status")
            case "away":
                raise web.HTTPFound("http://elsewhere.example/status")
            case "around":
                raise web.HTTPFound("/base/around")
            case "large":
                return web.Response(body=b"x" * (MAX_BODY_BYTES + 10))
            case "missing":
                raise web.HTTPNotFound
            case "broken":
                return web.Response(text="{", content_type="application/json")
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
        systems=Systems(web={"status": ConfiguredWebService("status", url, TOKEN, timeout)}),
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
    assert ctx.evidence.artifacts[result.artifact] == ("status.json", b'{"ok": true}')
    assert TOKEN not in result.model_dump_json()


async def test_a_redirect_within_the_origin_is_followed(service: Service) -> None:
    result = await Request().execute(context(service.url), asking("moved"))
    assert result.body == {"ok": True}
    assert service.asked == ["/base/moved", "/base/status"]


@pytest.mark.parametrize(("path", "reason"), [("away", "elsewhere.example, which is not"), ("around", "more than 3")])
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


async def test_what_says_json_and_is_none_is_text(service: Service) -> None:
    result = await Request().execute(context(service.url), asking("broken"))
    assert (result.body, result.text) == (None, "{")


async def test_nobody_there(service: Service) -> None:
    with pytest.raises(UnavailableError, match="web service status"):
        await Request().execute(context(f"http://127.0.0.1:{free_port()}"), asking())


async def test_an_unknown_service_is_named(service: Service) -> None:
    with pytest.raises(NotFoundError, match=r"targets\.http\.other .*configured: status"):
        await Request().execute(context(service.url), asking().model_copy(update={"target": "other"}))


@pytest.mark.parametrize("path", ["../admin", "a/../../b", "//elsewhere/x", "..", "a\\..\\b", "a\nb", "http://x/y"])
async def test_no_path_leaves_the_base_address(service: Service, path: str) -> None:
    try:
        params = asking(path)
    except ValidationError:
        return
    await Request().execute(context(service.url), params)
    assert [asked.startswith("/base/") for asked in service.asked] == [True]


@pytest.mark.parametrize("path", ["a b", "x;y", "$(reboot)", "`id`", "*", "é", "?q=1", "#f", "%2e%2e"])
async def test_a_path_is_taken_literally(service: Service, path: str) -> None:
    await Request().execute(context(service.url), asking(path))
    (asked,) = service.asked
    assert asked.startswith("/base/")
    assert not {"?", "#", " "} & set(asked)
    assert "/.." not in asked
