"""The Alertmanager webhook: what is taken, what is refused, and what each answer makes Alertmanager do."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from hdr_responder.errors import UnavailableError
from hdr_responder.settings import AlertmanagerSettings
from hdr_responder.settings.models import AlertmanagerSource

from .conftest import Client, Serve
from .stand_ins import NOW, World

RECORDED = [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "deliveries").glob("*.json"))]
BODY = RECORDED[0]
PATH = "/webhooks/alertmanager"
JSON = {"Content-Type": "application/json"}
GOOD = {"Authorization": "Bearer new-token", **JSON}
LIMIT = 64 * 1024


def secrets(*texts: str) -> tuple[SecretStr, ...]:
    return tuple(SecretStr(text) for text in texts)


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


SETTINGS = AlertmanagerSettings(
    tokens=secrets("old-token", "new-token"),
    basic=secrets("am:pässword"),
    sources={"prod-us": AlertmanagerSource(tokens=secrets("us-token")), "plain": AlertmanagerSource()},
)


@pytest.fixture
async def client(serve: Serve, world: World) -> Client:
    return await serve(world.dependencies(alertmanager=SETTINGS, max_body_bytes=LIMIT))


def counted(world: World, source: str, result: str) -> float:
    found = world.metrics.registry.get_sample_value(
        "hdr_responder_deliveries_total", {"source": source, "result": result}
    )
    return found or 0


async def problem(response: aiohttp.ClientResponse, status: int) -> dict[str, Any]:
    """The problem document of an answer."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    document = await response.json(content_type=None)
    assert document["status"] == status
    assert {"type", "title", "detail"} <= set(document)
    return document  # type: ignore[no-any-return]


@pytest.mark.parametrize("body", RECORDED, ids=range(len(RECORDED)))
async def test_recorded_deliveries_are_stored_as_they_came(client: Client, world: World, body: bytes) -> None:
    response = await client.post(PATH, data=body, headers=GOOD)
    assert response.status == 200
    assert world.writer.committed == [("default", body, NOW)]
    assert counted(world, "default", "accepted") == 1


async def test_200_comes_only_after_the_commit(client: Client, world: World) -> None:
    world.writer.gate = asyncio.Event()
    answer = asyncio.create_task(client.post(PATH, data=BODY, headers=GOOD))
    await asyncio.wait_for(world.writer.entered.wait(), 5)
    done, _ = await asyncio.wait({answer}, timeout=0.05)
    assert not done
    world.writer.gate.set()
    assert (await answer).status == 200


@pytest.mark.parametrize(
    ("credential", "path", "source"),
    [
        ("Bearer old-token", PATH, "default"),
        ("bearer new-token", PATH, "default"),
        (basic("am:pässword"), PATH, "default"),
        ("Bearer new-token", f"{PATH}/staging-eu", "staging-eu"),
        ("Bearer new-token", f"{PATH}/plain", "plain"),
        ("Bearer us-token", PATH, "prod-us"),
        ("Bearer us-token", f"{PATH}/prod-us", "prod-us"),
    ],
)
async def test_the_source_comes_from_credential_or_path(
    client: Client, world: World, credential: str, path: str, source: str
) -> None:
    """Alertmanager contract rules 11 and 13."""
    response = await client.post(path, data=BODY, headers={**JSON, "Authorization": credential})
    assert response.status == 200
    assert [s for s, _, _ in world.writer.committed] == [source]


@pytest.mark.parametrize(
    "credential",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer new-toke",
        "Bearer new-token2",
        "Bearer am:pässword",
        "Basic new-token",
        "Basic !!!",
        basic("am:wrong"),
        basic("am"),
        "Digest new-token",
        "new-token",
        "Bearer \udcff",
    ],
)
async def test_wrong_credentials_get_401_with_a_challenge(client: Client, world: World, credential: str | None) -> None:
    """Alertmanager contract rule 2."""
    headers = JSON if credential is None else {**JSON, "Authorization": credential}
    response = await client.post(PATH, data=BODY, headers=headers)
    document = await problem(response, 401)
    assert "token" not in document["detail"]
    assert response.headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert world.writer.committed == []
    assert counted(world, "default", "unauthorized") == 1


@pytest.mark.parametrize(
    ("credential", "source"),
    [("Bearer us-token", "staging-eu"), ("Bearer new-token", "prod-us"), (basic("am:pässword"), "prod-us")],
)
async def test_a_source_with_its_own_tokens_takes_only_those(
    client: Client, world: World, credential: str, source: str
) -> None:
    response = await client.post(f"{PATH}/{source}", data=BODY, headers={**JSON, "Authorization": credential})
    assert (await problem(response, 403))["field"] == "source"
    assert world.writer.committed == []


async def test_nobody_gets_in_without_configured_credentials(serve: Serve, world: World) -> None:
    client = await serve(world.dependencies())
    assert (await client.post(PATH, data=BODY, headers=GOOD)).status == 401


async def test_401_comes_before_the_body(client: Client) -> None:
    """A stranger cannot make us read, unpack or wait for a body."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    assert b" 401 " in answer
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("name", ["UPPER", "a_b", "a.b", "a%2Fb", "x" * 65, "%00"])
async def test_invalid_source_names_are_not_found(client: Client, name: str) -> None:
    response = await client.post(f"{PATH}/{name}", data=BODY, headers=GOOD)
    assert (await problem(response, 404))["field"] == "source"


async def test_unknown_sources_do_not_explode_the_metrics(client: Client, world: World) -> None:
    for number in range(110):
        assert (await client.post(f"{PATH}/source-{number}", data=BODY, headers=GOOD)).status == 200
    assert counted(world, "source-0", "accepted") == 1
    assert counted(world, "other", "accepted") == 10


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
async def test_other_content_types_get_415(client: Client, content_type: str) -> None:
    headers = {**GOOD, "Content-Type": content_type}
    response = await client.post(PATH, data=BODY, headers=headers)
    assert (await problem(response, 415))["field"] == "Content-Type"


async def test_a_charset_is_no_other_content_type(client: Client) -> None:
    headers = {**GOOD, "Content-Type": "application/json; charset=utf-8"}
    assert (await client.post(PATH, data=BODY, headers=headers)).status == 200


def padded(size: int) -> bytes:
    document = json.loads(BODY)
    document["padding"] = ""
    document["padding"] = "x" * (size - len(json.dumps(document)))
    return json.dumps(document).encode()


async def chunked(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


async def test_bodies_up_to_the_limit_are_taken(client: Client, world: World) -> None:
    """Alertmanager contract rule 14."""
    body = padded(LIMIT)
    packed = {**GOOD, "Content-Encoding": "gzip"}
    assert (await client.post(PATH, data=body, headers=GOOD)).status == 200
    assert (await client.post(PATH, data=chunked(body), headers=GOOD)).status == 200
    assert (await client.post(PATH, data=gzip.compress(body), headers=packed)).status == 200
    assert [b for _, b, _ in world.writer.committed] == [body] * 3


@pytest.mark.parametrize("form", ["plain", "chunked", "gzip", "bomb"])
async def test_bodies_over_the_limit_get_413(client: Client, world: World, form: str) -> None:
    """Alertmanager contract rule 14."""
    body = padded(LIMIT + 1) if form != "bomb" else b" " * 50_000_000
    data: Any = chunked(body) if form == "chunked" else body if form == "plain" else gzip.compress(body)
    headers = GOOD if form in ("plain", "chunked") else {**GOOD, "Content-Encoding": "gzip"}
    response = await client.post(PATH, data=data, headers=headers)
    assert str(LIMIT) in (await problem(response, 413))["detail"]
    assert world.writer.committed == []
    assert counted(world, "default", "too_large") == 1


@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [(b"not gzip", "gzip", 400), (gzip.compress(BODY)[:-9], "gzip", 400), (BODY, "br", 415), (BODY, "identity", 200)],
)
async def test_encodings(client: Client, data: bytes, encoding: str, status: int) -> None:
    response = await client.post(PATH, data=data, headers={**GOOD, "Content-Encoding": encoding})
    assert response.status == status


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": "3"}, "version"),
        ({"alerts": "none"}, "alerts"),
        ({"alerts": [{"status": "firing", "labels": {"a": "b"}}]}, "alerts.0.startsAt"),
        ({"groupKey": None}, "groupKey"),
    ],
)
async def test_a_body_that_breaks_the_contract_is_kept_and_told_by_field(
    client: Client, world: World, change: dict[str, Any], field: str
) -> None:
    """Alertmanager contract rule 2."""
    body = json.dumps({**json.loads(BODY), **change}).encode()
    response = await client.post(PATH, data=body, headers=GOOD)
    assert (await problem(response, 400))["field"] == field
    ((source, kept, _, told),) = world.writer.rejected
    assert (source, kept, told) == ("default", body, field)
    assert world.writer.committed == []
    assert counted(world, "default", "rejected") == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'"x"', b"[" * 5000])
async def test_what_is_no_delivery_at_all_is_kept_too(client: Client, world: World, body: bytes) -> None:
    response = await client.post(PATH, data=body, headers=GOOD)
    await problem(response, 400)
    assert [b for _, b, _, _ in world.writer.rejected] == [body]


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, "5"), (0.2, "1"), (7.5, "8")])
async def test_an_unavailable_store_gets_503_with_retry_after(
    client: Client, world: World, retry_after: float | None, seconds: str
) -> None:
    """Alertmanager contract rule 1: 503 is retried, 429 would be final. The reason stays inside."""
    world.writer.failure = UnavailableError("db.internal refused", retry_after=retry_after)
    for body in (BODY, b"{}"):
        response = await client.post(PATH, data=body, headers=GOOD)
        assert "db.internal" not in (await problem(response, 503))["detail"]
        assert response.headers["Retry-After"] == seconds
    assert counted(world, "default", "unavailable") == 2


async def test_an_old_backlog_gets_503_before_anything_is_taken(client: Client, world: World) -> None:
    world.backlog_age = SETTINGS.backlog_limit
    assert (await client.post(PATH, data=BODY, headers=GOOD)).status == 200
    world.backlog_age += timedelta(seconds=1)
    response = await client.post(PATH, data=BODY, headers=GOOD)
    assert "61 s" in (await problem(response, 503))["detail"]
    assert int(response.headers["Retry-After"]) == 30
    assert len(world.writer.committed) == 1


async def test_a_draining_service_gets_503(client: Client, world: World) -> None:
    world.draining = True
    response = await client.post(PATH, data=BODY, headers=GOOD)
    await problem(response, 503)
    assert "Retry-After" in response.headers
    assert world.writer.committed == []


async def test_a_defect_gets_500_without_its_text(client: Client, world: World) -> None:
    world.writer.failure = RuntimeError("postgresql://u:word@h/ broke")
    document = await problem(await client.post(PATH, data=BODY, headers=GOOD), 500)
    assert "word" not in json.dumps(document)
    assert counted(world, "default", "failed") == 1


async def test_only_post(client: Client) -> None:
    response = await client.get(PATH, headers=GOOD)
    await problem(response, 405)
    assert response.headers["Allow"] == "POST"
