"""A breached service: cut off, recorded and stopped once a person approves in Slack, and let back on as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.acceptance.conftest import NAMESPACE, StartResponder
from tests.acceptance.responder import ALERTMANAGER_TOKEN
from tests.conftest import AlertmanagerFactory
from tests.fakes import FakePagerDuty, FakeSlack, Message
from tests.integration.kubernetes.networks import (
    SELECTOR,
    create_service,
    endpoints,
    policies,
    service,
    services_path,
    wait_endpoints,
)
from tests.services.alertmanager import alert, webhook_config
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.kubernetes_api import ApiError
from tests.services.waiting import eventually

BREACH = {"cluster": "prod-eu", "namespace": NAMESPACE, "service": "neural-hdr", "severity": "critical"}


@pytest.fixture
def served(fleet: ControlPlane) -> Iterator[ControlPlane]:
    """The fleet with the Service ``neural-hdr`` before its pods."""
    create_service(fleet, NAMESPACE, "neural-hdr")
    wait_endpoints(fleet, NAMESPACE, "neural-hdr", 3)
    yield fleet
    with contextlib.suppress(ApiError):
        fleet.api.request("DELETE", services_path(NAMESPACE, "neural-hdr"))


def specs(control_plane: ControlPlane) -> list[dict[str, Any]]:
    """What people wrote of the workload and of its Service."""
    workload = control_plane.api.deployment(NAMESPACE, "neural-hdr")
    return [workload["spec"], service(control_plane, NAMESPACE, "neural-hdr")["spec"]]


async def card_that_asks(fake_slack: FakeSlack, run_id: str) -> Message:
    """Wait until the incident's card asks for approval of the run."""

    async def asked() -> bool:
        return bool(fake_slack.top_level()) and run_id in str(fake_slack.top_level()[0].blocks)

    await eventually(asked)
    (card,) = fake_slack.top_level()
    return card


async def test_isolated_after_approval_in_slack_with_its_logs_kept_and_released_again(
    served: ControlPlane,
    new_responder: StartResponder,
    alertmanager_factory: AlertmanagerFactory,
    people: dict[str, str],
    fake_slack: FakeSlack,
    fake_pagerduty: FakePagerDuty,
) -> None:
    responder = new_responder(KUBERNETES__KUBECONFIG=str(served.responder_kubeconfig), **people)
    alertmanager = alertmanager_factory(webhook_config(responder.webhook, token=ALERTMANAGER_TOKEN))
    written = specs(served)
    before = len(served.audit_events(user=RESPONDER, namespace=NAMESPACE))
    responder.start()
    await alertmanager.post_alerts(alert("HdrSecurityBreach", starts_at=datetime.now(UTC), **BREACH))
    run = await responder.wait_for_run(status="awaiting_approval")

    card = await card_that_asks(fake_slack, run["id"])
    assert len(fake_pagerduty.open_alerts()) == 1, "P1 pages at once"
    assert len(served.audit_events(user=RESPONDER, namespace=NAMESPACE)) == before, "nothing was changed unasked"

    for _ in range(2):
        await fake_slack.click(
            responder.url, action_id="hdr_approve", value=run["id"], message=card, user=fake_slack.alice
        )
    ended = await responder.wait_for_run(status="completed")
    assert ended["verification"] == "verified"

    assert served.api.deployment(NAMESPACE, "neural-hdr")["spec"]["replicas"] == 0
    (policy,) = policies(served, NAMESPACE)
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert service(served, NAMESPACE, "neural-hdr")["spec"]["selector"] != SELECTOR
    assert endpoints(served, NAMESPACE, "neural-hdr") == 0
    incident = await responder.incident()
    kept = [await responder.raw(f"/api/v1/incidents/INC-1/artifacts/{a['id']}") for a in incident["artifacts"]]
    assert any(b"lost the connection to the lattice" in content for content in kept), "the logs outlive the pods"
    timeline = (await responder.get("/api/v1/incidents/INC-1/timeline?limit=500"))["items"]
    approvals = [e for e in timeline if e["kind"] == "approved"]
    assert {e["actor"].partition(" ")[0] for e in approvals} == {"alice"}
    changed = [e["summary"] for e in timeline if e["kind"] == "step_started"]
    assert len(changed) == 2, changed

    asked_for = await responder.post("/api/v1/incidents/INC-1/run", {"playbook": "release-service"})
    await responder.wait_for_run(id=asked_for["id"], status="awaiting_approval")
    assert len(policies(served, NAMESPACE)) == 1, "who asks does not agree alone at P1"
    card = await card_that_asks(fake_slack, asked_for["id"])
    await fake_slack.click(
        responder.url, action_id="hdr_approve", value=asked_for["id"], message=card, user=fake_slack.alice
    )
    ended = await responder.wait_for_run(id=asked_for["id"], status="completed")
    assert ended["verification"] == "verified"
    assert policies(served, NAMESPACE) == []
    assert specs(served) == written
    wait_endpoints(served, NAMESPACE, "neural-hdr", 3)
