"""The server on the real store and engine, and a real Alertmanager as its sender."""

from __future__ import annotations

import asyncio
import hashlib
import uuid

import pytest

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.domain.ports.store import Artifact
from tests.conftest import AlertmanagerFactory
from tests.integration.engine.workshop import DELIVERIES, NOW
from tests.integration.http.conftest import PERSON, WEBHOOK_TOKEN, Service
from tests.services.alertmanager import alert, webhook_config
from tests.services.postgres import PostgresServer
from tests.services.waiting import eventually

pytestmark = pytest.mark.service

BODIES = [path.read_bytes() for path in sorted(DELIVERIES.glob("*.json"))]


async def deliver_all(service: Service) -> None:
    """All recorded deliveries, received and processed."""
    for body in BODIES:
        assert (await service.deliver(body)).status == 200
    await service.workshop.settle()


async def test_200_means_committed_with_its_wake_up(service: Service) -> None:
    assert (await service.deliver(BODIES[0], "/prod-eu")).status == 200
    (row,) = await service.workshop.rows("select source, body, status from deliveries")
    assert row == {"source": "prod-eu", "body": BODIES[0], "status": "received"}
    assert await service.workshop.rows("select 1 from pgqueuer where entrypoint = 'intake'")


async def test_many_at_once_are_all_kept(service: Service) -> None:
    answers = await asyncio.gather(*(service.deliver(BODIES[n % len(BODIES)]) for n in range(200)))
    assert {a.status for a in answers} == {200}
    assert await service.pool.fetchval("select count(*) from deliveries") == 200


async def test_a_rejected_body_is_kept_once_however_often_it_comes(service: Service) -> None:
    """Alertmanager contract rule 2: an answer of 400 brings the same group again and again."""
    for _ in range(3):
        response = await service.deliver(b'{"version": "3"}')
        assert response.status == 400
        assert (await response.json(content_type=None))["field"] == "version"
    (row,) = await service.workshop.rows("select status, error_field from deliveries")
    assert row == {"status": "rejected", "error_field": "version"}


async def test_a_lost_database_is_503_until_it_is_back(service: Service, postgres_server: PostgresServer) -> None:
    """Alertmanager contract rule 1."""
    await asyncio.to_thread(postgres_server.stop)
    response = await service.deliver(BODIES[0])
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    await service.api("GET", "/incidents", status=503)
    assert (await service.session.get(f"{service.address}/metrics")).status == 200
    await asyncio.to_thread(postgres_server.start)

    async def accepted() -> bool:
        return (await service.deliver(BODIES[0])).status == 200

    assert await eventually(accepted)


async def test_the_recorded_storm_through_the_api(service: Service) -> None:
    await deliver_all(service)
    listing = await service.api("GET", "/incidents?limit=2")
    assert len(listing["items"]) == 2
    refs = [i["ref"] for i in listing["items"]]
    while listing["next_cursor"]:
        listing = await service.api("GET", f"/incidents?limit=2&cursor={listing['next_cursor']}")
        refs += [i["ref"] for i in listing["items"]]
    assert refs == sorted(refs, key=lambda r: -int(r.removeprefix("INC-")))
    for ref in refs:
        incident = await service.api("GET", f"/incidents/{ref}")
        assert incident["priority_reason"]
        assert len(incident["alerts"]) == incident["alerts_total"]
        assert (await service.api("GET", f"/incidents/{ref}/alerts"))["items"] == incident["alerts"]
        timeline = await service.api("GET", f"/incidents/{ref}/timeline?limit=500")
        assert timeline["items"][0]["kind"] == "opened"
        for run in incident["runs"]:
            assert await service.api("GET", f"/runs/{run['id']}") == run
    runs = await service.api("GET", "/runs?limit=500")
    report = await service.api("GET", f"/report?since={NOW.date()}T00:00:00Z&until={NOW.date()}T23:00:00Z")
    assert report["runs"] == len(runs["items"])
    deliveries = (await service.api("GET", "/deliveries?status=processed"))["items"]
    assert len(deliveries) == len(BODIES)
    body = (await service.api("GET", f"/deliveries/{deliveries[-1]['id']}"))["body"]
    assert body.encode() == BODIES[0]


async def test_what_people_do_carries_their_name(service: Service) -> None:
    await deliver_all(service)
    ref = (await service.api("GET", "/incidents?status=triggered"))["items"][0]["ref"]
    acknowledged = await service.api("POST", f"/incidents/{ref}/ack")
    assert (acknowledged["status"], acknowledged["acknowledged_by"]) == ("acknowledged", PERSON)
    assert await service.api("POST", f"/incidents/{ref}/ack") == acknowledged
    await service.api("POST", f"/incidents/{ref}/note", {"text": "looking at it"})
    resolved = await service.api("POST", f"/incidents/{ref}/resolve", {"note": "fixed by hand"})
    assert (resolved["status"], resolved["resolved_by"]) == ("resolved", PERSON)
    timeline = (await service.api("GET", f"/incidents/{ref}/timeline?limit=500"))["items"]
    mine = [e["kind"] for e in timeline if e["actor"] == PERSON]
    assert mine == ["acknowledged", "note", "resolved"]
    other = (await service.api("GET", "/incidents?status=triggered"))["items"][0]["ref"]
    await service.api("POST", f"/incidents/{other}/resolve")
    refused = await service.api("POST", f"/incidents/{other}/ack", status=409)
    assert other in refused["detail"]


async def test_pause_resume_and_hold(service: Service) -> None:
    assert (await service.api("POST", "/pause", {"reason": "storm"}))["paused"] is True
    metrics = await (await service.session.get(f"{service.address}/metrics")).text()
    assert "hdr_responder_paused 1.0" in metrics
    assert (await service.api("POST", "/resume"))["paused"] is False
    held = await service.api("POST", "/hold", {"service": "neural-hdr", "duration": "30m"})
    assert (held["service"], held["by"]) == ("neural-hdr", PERSON)
    refused = await service.api("POST", "/hold", {"service": "neural-hdr", "duration": "99999d"}, status=400)
    assert refused["field"] == "duration"


@pytest.mark.parametrize("cursor", ["x", "AAAA", "1", "%00"])
async def test_cursors_from_elsewhere_are_refused(service: Service, cursor: str) -> None:
    for path in ("/incidents", "/runs", "/deliveries"):
        refused = await service.api("GET", f"{path}?cursor={cursor}", status=400)
        assert refused["field"] == "cursor"


async def test_what_is_not_there(service: Service) -> None:
    for path in ("/incidents/INC-999", "/incidents/INC-999/timeline", "/incidents/INC-999/alerts"):
        await service.api("GET", path, status=404)
    await service.api("GET", f"/runs/{uuid.uuid4()}", status=404)
    await service.api("GET", "/deliveries/999", status=404)
    await service.api("POST", "/incidents/INC-999/ack", status=404)
    await service.api("GET", "/incidents/INC-999999999999999999", status=404)


async def test_post_mortem_and_artifacts(service: Service) -> None:
    await deliver_all(service)
    (incident, *_) = (await service.api("GET", "/incidents"))["items"]
    content = b"2026-11-24 ERROR out of memory\n"
    number = int(incident["ref"].removeprefix("INC-"))
    kept = Artifact(
        id=uuid.uuid4(),
        incident_id=number,
        run_id=None,
        step_id="logs",
        name="pod.log",
        media_type="text/plain",
        size=len(content),
        sha256=hashlib.sha256(content).digest(),
        path=f"{incident['ref']}/pod.log",
        created_at=NOW,
    )
    await service.artifacts.put(kept.path, content)
    async with PostgresStore(service.pool).transaction() as tx:
        await tx.artifacts.add(kept)
    headers = {"Authorization": "Bearer api-token"}
    base = f"{service.address}/api/v1/incidents/{incident['ref']}"
    async with service.session.get(f"{base}/artifacts/{kept.id}", headers=headers) as response:
        assert await response.read() == content
    shown = (await service.api("GET", f"/incidents/{incident['ref']}"))["artifacts"]
    assert [a["id"] for a in shown] == [str(kept.id)]
    async with service.session.get(f"{base}/postmortem", headers=headers) as response:
        assert incident["ref"] in await response.text()


async def test_a_real_alertmanager_is_heard(service: Service, alertmanager_factory: AlertmanagerFactory) -> None:
    """Alertmanager contract rules 1 and 13, with the real sender."""
    config = webhook_config(f"{service.address}/webhooks/alertmanager", token=WEBHOOK_TOKEN)
    sender = await asyncio.to_thread(alertmanager_factory, config)
    await sender.post_alerts(alert("HdrServiceDown", service="neural-hdr", severity="critical"))

    async def stored() -> int:
        return int(await service.pool.fetchval("select count(*) from deliveries where status = 'received'"))

    assert await eventually(stored)
    await service.workshop.settle()
    (incident,) = (await service.api("GET", "/incidents"))["items"]
    assert incident["alerts_firing"] == 1


async def test_a_real_alertmanager_with_a_wrong_token_is_refused(
    service: Service, alertmanager_factory: AlertmanagerFactory
) -> None:
    """Alertmanager contract rule 2."""
    config = webhook_config(f"{service.address}/webhooks/alertmanager", token="wrong-token")
    sender = await asyncio.to_thread(alertmanager_factory, config)
    await sender.post_alerts(alert("HdrServiceDown"))

    async def refused() -> bool:
        return bool(
            service.metrics.registry.get_sample_value(
                "hdr_responder_deliveries_total", {"source": "default", "result": "unauthorized"}
            )
        )

    assert await eventually(refused)
    assert await service.pool.fetchval("select count(*) from deliveries") == 0
