"""A breached service: nothing happens before a person approves in Slack; then it is cut off, recorded and stopped."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.acceptance.conftest import NAMESPACE, StartResponder
from tests.acceptance.responder import ALERTMANAGER_TOKEN
from tests.conftest import AlertmanagerFactory
from tests.fakes import FakePagerDuty, FakeSlack
from tests.services.alertmanager import alert, webhook_config
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.waiting import eventually

BREACH = {"cluster": "prod-eu", "namespace": NAMESPACE, "service": "neural-hdr", "severity": "critical"}


async def test_isolated_after_approval_in_slack_with_its_logs_kept(
    fleet: ControlPlane,
    new_responder: StartResponder,
    alertmanager_factory: AlertmanagerFactory,
    people: dict[str, str],
    fake_slack: FakeSlack,
    fake_pagerduty: FakePagerDuty,
) -> None:
    responder = new_responder(KUBERNETES__KUBECONFIG=str(fleet.responder_kubeconfig), **people)
    alertmanager = alertmanager_factory(webhook_config(responder.webhook, token=ALERTMANAGER_TOKEN))
    before = len(fleet.audit_events(user=RESPONDER, namespace=NAMESPACE))
    responder.start()
    await alertmanager.post_alerts(alert("HdrSecurityBreach", starts_at=datetime.now(UTC), **BREACH))
    run = await responder.wait_for_run(status="awaiting_approval")

    async def asked() -> bool:
        return bool(fake_slack.top_level()) and run["id"] in str(fake_slack.top_level()[0].blocks)

    await eventually(asked)
    assert len(fake_pagerduty.open_alerts()) == 1, "P1 pages at once"
    assert len(fleet.audit_events(user=RESPONDER, namespace=NAMESPACE)) == before, "nothing was changed unasked"

    (card,) = fake_slack.top_level()
    for _ in range(2):
        await fake_slack.click(
            responder.url, action_id="hdr_approve", value=run["id"], message=card, user=fake_slack.alice
        )
    ended = await responder.wait_for_run(status="completed")
    assert ended["verification"] == "verified"

    assert fleet.api.deployment(NAMESPACE, "neural-hdr")["spec"]["replicas"] == 0
    policies = fleet.api.request("GET", f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies")["items"]
    (policy,) = policies
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    incident = await responder.incident()
    kept = [await responder.raw(f"/api/v1/incidents/INC-1/artifacts/{a['id']}") for a in incident["artifacts"]]
    assert any(b"lost the connection to the lattice" in content for content in kept), "the logs outlive the pods"
    timeline = (await responder.get("/api/v1/incidents/INC-1/timeline?limit=500"))["items"]
    approvals = [e for e in timeline if e["kind"] == "approved"]
    assert {e["actor"].partition(" ")[0] for e in approvals} == {"alice"}
    changed = [e["summary"] for e in timeline if e["kind"] == "step_started"]
    assert len(changed) == 2, changed
