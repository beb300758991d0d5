"""The main job: two Alertmanagers report one service down; it is restarted exactly once, whatever happens to us."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import NAMESPACE, StartResponder
from tests.acceptance.responder import ALERTMANAGER_TOKEN, Responder
from tests.acceptance.slow_link import slow_link
from tests.conftest import AlertmanagerPairFactory
from tests.fakes import FakePagerDuty, FakeSlack
from tests.services.alertmanager import Alertmanager, alert, webhook_config
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.waiting import eventually

DOWN = {"cluster": "prod-eu", "namespace": NAMESPACE, "service": "neural-hdr", "severity": "critical"}


async def report(pair: tuple[Alertmanager, ...], starts_at: datetime, ends_at: datetime | None = None) -> None:
    """Prometheus tells every Alertmanager."""
    for one in pair:
        await one.post_alerts(alert("HdrServiceDown", starts_at=starts_at, ends_at=ends_at, **DOWN))


def restarts(fleet: ControlPlane) -> list[Any]:
    """The accepted changes of the pod template, as the API server's audit log has them."""
    events = fleet.audit_events(user=RESPONDER, resource="deployments", namespace=NAMESPACE, name="neural-hdr")
    return [e for e in events if e.code < 300 and "/spec/template" in str(e.body)]


def revision(fleet: ControlPlane) -> str:
    annotations = fleet.api.deployment(NAMESPACE, "neural-hdr")["metadata"]["annotations"]
    return str(annotations["deployment.kubernetes.io/revision"])


async def test_both_peers_deliver_and_the_service_is_restarted_once(
    fleet: ControlPlane,
    new_responder: StartResponder,
    alertmanager_pair_factory: AlertmanagerPairFactory,
    people: dict[str, str],
    fake_slack: FakeSlack,
    fake_pagerduty: FakePagerDuty,
) -> None:
    before = len(restarts(fleet))
    responder = new_responder(KUBERNETES__KUBECONFIG=str(fleet.responder_kubeconfig), **people)
    pair = alertmanager_pair_factory(webhook_config(responder.webhook, token=ALERTMANAGER_TOKEN))
    responder.start()
    began = datetime.now(UTC)
    await report(pair, began)
    run = await responder.wait_for_run(status="completed", verification="verified")
    assert run["playbook"] == "restart-service"

    async def both_delivered() -> bool:
        async with responder.database() as connection:
            return bool(await connection.fetchval("select count(*) >= 2 from deliveries"))

    await eventually(both_delivered)
    assert len(restarts(fleet)) - before == 1
    assert revision(fleet) == "2"
    (incident,) = await responder.incidents()
    assert (incident["service"], incident["priority"], incident["status"]) == ("neural-hdr", "P1", "mitigated")

    await report(pair, began, ends_at=datetime.now(UTC))
    await responder.wait_for_status("resolved")

    async def told() -> bool:
        (paged,) = fake_pagerduty.alerts
        return paged.state == "resolved" and "Resolved" in str(fake_slack.top_level()[0].blocks)

    await eventually(told)
    assert len(fake_slack.top_level()) == 1, "one message per incident, edited in place"
    replies = [m.text for m in fake_slack.thread(fake_slack.top_level()[0])]
    assert any("restart" in text for text in replies)
    assert not fake_slack.pings


@pytest.mark.parametrize("effect", [False, True], ids=["before-the-effect", "after-the-effect"])
async def test_killed_between_started_and_outcome_it_observes_and_does_not_repeat(
    fleet: ControlPlane,
    new_responder: StartResponder,
    alertmanager_pair_factory: AlertmanagerPairFactory,
    folder: Path,
    *,
    effect: bool,
) -> None:
    """SIGKILL, with "started" committed and the answer of the API server still on its way."""
    before = len(restarts(fleet))
    async with slow_link(int(fleet.server.rpartition(":")[2])) as link:
        kubeconfig = folder / "through-the-link.kubeconfig"
        kubeconfig.write_text(
            fleet.responder_kubeconfig.read_text().replace(fleet.server, f"https://127.0.0.1:{link.port}")
        )
        responder = new_responder(KUBERNETES__KUBECONFIG=str(kubeconfig))
        pair = alertmanager_pair_factory(webhook_config(responder.webhook, token=ALERTMANAGER_TOKEN))
        responder.start()
        link.delay = 1.0
        await report(pair, datetime.now(UTC))
        await (restarted(fleet) if effect else step_started(responder))
        responder.process.kill()
        assert len(restarts(fleet)) - before == (1 if effect else 0)
        assert await step_status(responder) == "started"
        link.delay = 0.0
        responder.start()
        await responder.wait_for_run(status="completed", verification="verified")
    assert len(restarts(fleet)) - before == 1
    assert revision(fleet) == "2"
    timeline = await responder.get("/api/v1/incidents/INC-1/timeline?limit=500")
    assert [e["kind"] for e in timeline["items"]].count("taken_over") == 1


async def restarted(fleet: ControlPlane) -> None:
    async def seen() -> bool:
        return revision(fleet) == "2"

    await eventually(seen, seconds=60)


async def step_started(responder: Responder) -> None:
    async def started() -> bool:
        return await step_status(responder) == "started"

    await eventually(started, seconds=60)


async def step_status(responder: Responder) -> str | None:
    async with responder.database() as connection:
        status: str | None = await connection.fetchval("select status from steps where step_id = 'restart'")
        return status
