"""The API: shapes that others depend on, scopes, and errors that name the field."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from hdr_responder.domain.incidents import IncidentStatus
from hdr_responder.domain.ports.records import IncidentFilter, PageRequest
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import RunStatus
from hdr_responder.errors import AdapterError, InvalidInputError, UnavailableError
from hdr_responder.settings import ApiToken, Scope

from .conftest import Client, Serve
from .stand_ins import ARTIFACT_ID, NOW, RUN_ID, World
from .test_webhooks import problem

API = "/api/v1"
TOKENS = [
    ApiToken(token=SecretStr("reader"), name="dashboard", scopes=frozenset({Scope.READ})),
    ApiToken(token=SecretStr("operator"), name="ann@example.com", scopes=frozenset({Scope.OPERATE})),
    ApiToken(token=SecretStr("admin"), name="root@example.com", scopes=frozenset({Scope.ADMIN})),
]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def client(serve: Serve, world: World) -> Client:
    return await serve(world.dependencies(tokens=TOKENS, max_body_bytes=4096))


async def read(client: Client, path: str, token: str = "reader") -> Any:
    response = await client.get(API + path, headers=bearer(token))
    assert response.status == 200, await response.text()
    return await response.json()


async def change(client: Client, path: str, body: Mapping[str, Any] | None = None, token: str = "operator") -> Any:
    response = await client.post(API + path, json=body, headers=bearer(token))
    assert response.status == 200, await response.text()
    return await response.json()


async def test_a_listing_has_items_and_a_cursor(client: Client) -> None:
    listing = await read(client, "/incidents")
    assert set(listing) == {"items", "next_cursor"}
    assert listing["next_cursor"] == "next"
    (incident,) = listing["items"]
    assert incident["ref"] == "INC-142"
    assert incident["started_at"] == "2026-03-01T12:00:00Z"
    assert incident["alerts_lower_bound"] is True
    assert {"title", "service", "priority", "priority_reason", "status", "acknowledged_at", "resolved_at"} <= set(
        incident
    )


async def test_an_incident_has_its_alerts_runs_and_artifacts(client: Client) -> None:
    incident = await read(client, "/incidents/inc-142")
    (alert,), (run,), (artifact,) = incident["alerts"], incident["runs"], incident["artifacts"]
    assert alert["fingerprint"] == "abc"
    assert alert["labels"] == {"alertname": "ServiceDown"}
    assert (alert["status"], alert["starts_at"], alert["ends_at"]) == ("firing", "2026-03-01T12:00:00Z", None)
    assert (run["id"], run["playbook"], run["mode"]) == (str(RUN_ID), "restart", "approve")
    assert (run["status"], run["verification"]) == ("verifying", "pending")
    assert run["steps"][0]["result"] == {"n": 1}
    assert run["plan"]["steps"][0]["id"] == "restart"
    assert "not for others" not in json.dumps(run)
    assert artifact["sha256"] == "0102"


async def test_the_other_reads(client: Client) -> None:
    assert (await read(client, "/incidents/142/alerts"))["items"][0]["source"] == "default"
    timeline = await read(client, "/incidents/142/timeline")
    assert [e["summary"] for e in timeline["items"]] == ["note 1", "note 2"]
    assert timeline["next_cursor"] == "more"
    assert (await read(client, "/incidents/142/timeline?cursor=more"))["next_cursor"] is None
    assert (await read(client, "/runs"))["items"][0]["incident"] == "INC-142"
    assert (await read(client, f"/runs/{RUN_ID}"))["approvals"][0]["person"] == "ann"
    deliveries = (await read(client, "/deliveries"))["items"]
    assert [d["id"] for d in deliveries] == [1, 2]
    assert "body" not in deliveries[0]


async def test_bodies_of_deliveries_are_for_administrators(client: Client) -> None:
    assert (await read(client, "/deliveries/1", "admin"))["body"] == '{"a": 1}'
    assert (await read(client, "/deliveries/2", "admin"))["body_base64"] == "/w=="
    await problem(await client.get(f"{API}/deliveries/1", headers=bearer("operator")), 403)


async def test_a_postmortem_tells_the_whole_timeline(client: Client) -> None:
    response = await client.get(f"{API}/incidents/INC-142/postmortem", headers=bearer("reader"))
    assert response.content_type == "text/markdown"
    assert await response.text() == "# INC-142, 3 entries"


async def test_a_report_covers_a_period(client: Client, world: World) -> None:
    report = await read(client, "/report")
    assert (report["runs"], report["by_playbook"]) == (1, {"restart": 1})
    assert world.records.asked == [(NOW - timedelta(days=7), NOW)]
    await read(client, "/report?since=2026-02-01T00:00:00%2B01:00&until=2026-02-02T00:00:00Z")
    assert [t.isoformat() for t in world.records.asked[-1]] == [
        "2026-02-01T00:00:00+01:00",
        "2026-02-02T00:00:00+00:00",
    ]
    world.records.many_runs = True
    response = await client.get(f"{API}/report", headers=bearer("reader"))
    assert (await problem(response, 400))["field"] == "since"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=2026-02-01T00:00:00", "since"),
        ("since=yesterday", "since"),
        ("since=2027-01-01T00:00:00Z", "since"),
        ("until=0001-01-01T00:00:00Z", "until"),
    ],
)
async def test_a_wrong_period_is_told_by_field(client: Client, query: str, field: str) -> None:
    response = await client.get(f"{API}/report?{query}", headers=bearer("reader"))
    assert (await problem(response, 400))["field"] == field


async def test_an_artifact_is_downloaded_and_never_shown_as_a_page(client: Client) -> None:
    response = await client.get(f"{API}/incidents/142/artifacts/{ARTIFACT_ID}", headers=bearer("reader"))
    assert await response.read() == b"<b>!"
    assert response.headers["Content-Disposition"].startswith("attachment; filename=")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert "X" not in response.headers


async def test_an_artifact_of_another_incident_is_not_found(client: Client) -> None:
    response = await client.get(f"{API}/incidents/143/artifacts/{ARTIFACT_ID}", headers=bearer("reader"))
    await problem(response, 404)


async def test_filters_and_pages_reach_the_records(client: Client, world: World) -> None:
    await read(client, "/incidents?status=triggered,mitigated&status=closed&priority=P1&service=a&limit=500&cursor=c")
    which = IncidentFilter(
        statuses=(IncidentStatus.TRIGGERED, IncidentStatus.MITIGATED, IncidentStatus.CLOSED),
        priorities=(Priority.P1,),
        service="a",
    )
    assert world.records.asked == [(which, PageRequest(limit=500, cursor="c"))]
    await read(client, "/runs?status=held")
    assert world.records.asked[-1] == (RunStatus.HELD,)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=" + "x" * 501, "cursor"),
        ("status=open", "status.0"),
        ("priority=P5", "priority.0"),
        ("stauts=open", "stauts"),
    ],
)
async def test_a_wrong_query_is_told_by_field(client: Client, query: str, field: str) -> None:
    response = await client.get(f"{API}/incidents?{query}", headers=bearer("reader"))
    assert (await problem(response, 400))["field"] == field


async def test_a_cursor_from_elsewhere_is_told_by_field(client: Client, world: World) -> None:
    world.records.failure = InvalidInputError("was not made here", field="cursor")
    response = await client.get(f"{API}/incidents?cursor=zzz", headers=bearer("reader"))
    document = await problem(response, 400)
    assert (document["field"], document["detail"]) == ("cursor", "was not made here")


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/incidents/INC-1", 404, None),
        ("/incidents/INC-1/timeline", 404, None),
        ("/incidents/INC-1/alerts", 404, None),
        ("/incidents/INC-1/postmortem", 404, None),
        ("/incidents/nonsense", 400, "ref"),
        (f"/runs/{uuid.UUID(int=1)}", 404, None),
        ("/runs/nonsense", 400, "id"),
        ("/deliveries/nonsense", 400, "id"),
        ("/nothing", 404, None),
    ],
)
async def test_what_is_not_there(client: Client, path: str, status: int, field: str | None) -> None:
    response = await client.get(API + path, headers=bearer("admin"))
    assert (await problem(response, status)).get("field") == field


async def test_every_change_carries_the_person(client: Client, world: World) -> None:
    who = "ann@example.com"
    assert (await change(client, "/incidents/INC-142/ack"))["ref"] == "INC-142"
    await change(client, "/incidents/142/ack", {})
    await change(client, "/incidents/142/lead")
    await change(client, "/incidents/142/lead", {"person": "bob@example.com"})
    await change(client, "/incidents/142/resolve")
    await change(client, "/incidents/142/resolve", {"note": "fixed"})
    await change(client, "/incidents/142/note", {"text": "hm"})
    assert (await change(client, "/incidents/142/run", {"playbook": "restart"}))["id"] == str(RUN_ID)
    await change(client, "/incidents/142/run", {"playbook": "scale-out", "params": {"add": 3, "fresh": "30m"}})
    await change(client, f"/runs/{RUN_ID}/approve")
    await change(client, f"/runs/{RUN_ID}/cancel")
    await change(client, f"/runs/{RUN_ID}/undo")
    paused = await change(client, "/pause", {"reason": "storm"})
    assert paused["paused"] is True
    assert [r["id"] for r in paused["runs_in_flight"]] == [str(RUN_ID)]
    assert (await change(client, "/resume"))["paused"] is False
    held = await change(client, "/hold", {"service": "neural-hdr", "duration": "30m"}, token="admin")
    assert held["until"] == "2026-03-01T12:30:00Z"
    assert world.operations.asked == [
        ("ack", 142, who),
        ("ack", 142, who),
        ("lead", 142, who, None),
        ("lead", 142, who, "bob@example.com"),
        ("resolve", 142, who, None),
        ("resolve", 142, who, "fixed"),
        ("note", 142, who, "hm"),
        ("run", 142, who, "restart"),
        ("run", 142, who, "scale-out", "add=3", "fresh='30m'"),
        ("approve", RUN_ID, who),
        ("cancel", RUN_ID, who),
        ("undo", RUN_ID, who),
        ("pause", who, "storm"),
        ("resume", who),
        ("hold", "neural-hdr", timedelta(minutes=30), "root@example.com", None),
    ]


async def test_a_change_that_the_state_does_not_allow_is_a_conflict(client: Client) -> None:
    response = await client.post(f"{API}/runs/{RUN_ID}/deny", headers=bearer("operator"))
    assert "has ended" in (await problem(response, 409))["detail"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/incidents/142/note", {}, "text"),
        ("/incidents/142/note", {"text": ""}, "text"),
        ("/incidents/142/note", {"text": "a", "by": "someone else"}, "by"),
        ("/incidents/142/ack", {"by": "someone else"}, "by"),
        ("/incidents/142/run", {"playbook": 1}, "playbook"),
        ("/incidents/142/lead", {"person": ""}, "person"),
        ("/hold", {"service": "a", "duration": "soon"}, "duration"),
        ("/hold", {"service": "a", "duration": "-5m"}, "duration"),
        ("/pause", [], ""),
    ],
)
async def test_a_wrong_body_is_told_by_field(client: Client, world: World, path: str, body: Any, field: str) -> None:
    response = await client.post(API + path, json=body, headers=bearer("operator"))
    assert (await problem(response, 400)).get("field", "") == field
    assert world.operations.asked == []


async def test_bodies_are_bounded_json(client: Client) -> None:
    path = f"{API}/incidents/142/note"
    json_type = {"Content-Type": "application/json", **bearer("operator")}
    await problem(await client.post(path, data=b"text=a", headers=bearer("operator")), 415)
    await problem(await client.post(path, data=b"{", headers=json_type), 400)
    await problem(await client.post(path, data=b" " * 5000, headers=json_type), 413)


@pytest.mark.parametrize("headers", [{}, bearer("nobody"), {"Authorization": "Basic cmVhZGVyOg=="}])
async def test_strangers_get_401(client: Client, headers: dict[str, str]) -> None:
    for path in ("/incidents", "/incidents/142", "/runs", "/deliveries"):
        response = await client.get(API + path, headers=headers)
        await problem(response, 401)
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="hdr-responder"'


async def test_readers_change_nothing(client: Client, world: World) -> None:
    for path in ("/incidents/142/ack", f"/runs/{RUN_ID}/approve", f"/runs/{RUN_ID}/undo", "/pause", "/hold"):
        document = await problem(await client.post(API + path, headers=bearer("reader")), 403)
        assert "operate" in document["detail"]
    assert world.operations.asked == []


async def test_every_endpoint_needs_a_token(client: Client) -> None:
    document = await (await client.get("/api/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method in operations:
            response = await client.request(method, path.replace("{ref}", "142").replace("{id}", "1"))
            assert response.status == 401, (method, path)


async def test_the_description_matches_the_answers(client: Client) -> None:
    document = await (await client.get("/api/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    operations = [o for path in document["paths"].values() for o in path.values()]
    assert len({o["operationId"] for o in operations}) == len(operations) == 23
    assert all(o["summary"] for o in operations)
    schemas = document["components"]["schemas"]
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas, reference
    listing = document["paths"][f"{API}/incidents"]["get"]
    assert {p["name"] for p in listing["parameters"]} == {"limit", "cursor", "status", "priority", "service"}
    answer = await read(client, "/incidents/142")
    assert set(schemas["IncidentView"]["properties"]) == set(answer)
    assert set(schemas["RunView"]["properties"]) == set(answer["runs"][0])
    note = document["paths"][f"{API}/incidents/{{ref}}/note"]["post"]
    assert note["requestBody"]["required"] is True
    assert "not on" not in json.dumps(note)


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [r for value in part.values() for r in _references(value)]
    return [r for item in part for r in _references(item)] if isinstance(part, list) else []


async def test_a_lost_database_is_503_and_a_defect_500(client: Client, world: World) -> None:
    world.records.failure = UnavailableError("the database cannot be reached")
    response = await client.get(f"{API}/incidents", headers=bearer("reader"))
    await problem(response, 503)
    assert response.headers["Retry-After"] == "5"
    world.records.failure = AdapterError("row without id")
    document = await problem(await client.get(f"{API}/incidents", headers=bearer("reader")), 500)
    assert "row" not in document["detail"]


async def test_times_are_utc(client: Client) -> None:
    assert NOW.isoformat().replace("+00:00", "Z") in json.dumps(await read(client, "/incidents/142"))
