"""People at work in Slack: commands and buttons on the real service end in the records, each with the person's name."""

from __future__ import annotations

from tests.acceptance.conftest import StartResponder
from tests.fakes import FakePagerDuty, FakeSlack
from tests.integration.engine.workshop import DELIVERIES
from tests.services.waiting import eventually


async def test_list_show_acknowledge_and_resolve(
    new_responder: StartResponder, people: dict[str, str], fake_slack: FakeSlack, fake_pagerduty: FakePagerDuty
) -> None:
    responder = new_responder(**people, AUTOMATION__MODES__DEVELOPMENT="observe")
    responder.start()
    assert await responder.deliver(next(DELIVERIES.glob("01*.json")).read_bytes()) == 200

    async def shown() -> bool:
        return bool(fake_slack.top_level()) and bool(fake_pagerduty.open_alerts())

    await eventually(shown)
    user, where = fake_slack.alice, fake_slack.channel

    async def command(text: str) -> str:
        answer = await fake_slack.command(responder.url, "/incident", text, user=user, channel=where)
        assert answer.status == 200
        return answer.body.decode() if isinstance(answer.body, bytes) else str(answer.body)

    assert "INC-1" in await command("list")
    assert "neural-hdr" in await command("show INC-1")
    assert "ack" in await command("help")
    assert "INC-99" in await command("ack INC-99"), "an error names what was asked for"
    await command("ack INC-1")
    acknowledged = await responder.incident()
    assert (acknowledged["status"], acknowledged["acknowledged_by"].partition(" ")[0]) == ("acknowledged", "alice")

    async def card_follows() -> bool:
        return "Acknowledged" in str(fake_slack.top_level()[0].blocks)

    await eventually(card_follows)
    (card,) = fake_slack.top_level()
    for _ in range(2):
        await fake_slack.click(responder.url, action_id="hdr_resolve", value="INC-1", message=card, user=user)
    resolved = await responder.wait_for_status("resolved")
    assert resolved["resolved_at"] is not None

    async def pager_follows() -> bool:
        return not fake_pagerduty.open_alerts()

    await eventually(pager_follows)
    timeline = (await responder.get("/api/v1/incidents/INC-1/timeline?limit=500"))["items"]
    assert [e["kind"] for e in timeline].count("resolved") == 1, "a double click acts once"
    assert len(fake_slack.top_level()) == 1
