"""``/incident`` from the words to the answer, without Slack."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.adapters.slack.commands import Answer, Commands, Request
from hdr_responder.domain.runs import RunStatus
from hdr_responder.errors import InvalidInputError, NotFoundError
from tests.unit.people.builders import hostile_record, make_run
from tests.unit.slack.workspace import INC, Desk, many_incidents

ALICE = "alice (slack:U1)"


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def ask(desk: Desk, text: str, incident_id: int | None = None) -> Answer:
    commands = Commands(desk, desk)  # type: ignore[arg-type]
    return await commands.run(Request(text=text, by=ALICE, incident_id=incident_id))


async def test_changes_are_public_and_named(desk: Desk) -> None:
    answer = await ask(desk, "ack INC-142")
    assert (answer.public, answer.content.text) == (True, "INC-142 acknowledged by alice")
    assert desk.changes == [("acknowledge", INC, ALICE)]


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("ack inc-142", ("acknowledge", INC, ALICE)),
        ("ACK 142", ("acknowledge", INC, ALICE)),
        ("lead INC-142", ("lead", INC, ALICE, None)),
        ("resolve INC-142 scaled  up", ("resolve", INC, ALICE, "scaled  up")),
        ("resolve INC-142", ("resolve", INC, ALICE, None)),
        ("note INC-142 3 pods gone", ("note", INC, ALICE, "3 pods gone")),
        ("run INC-142 restart-workers", ("run", INC, "restart-workers", ALICE)),
        ("run INC-142 scale-out add=3 for=a=b", ("run", INC, "scale-out", ALICE, "add=3", "for=a=b")),
        ("pause deploy & more", ("pause", ALICE, "deploy & more")),
        ("pause", ("pause", ALICE, None)),
        ("resume", ("resume", ALICE)),
        ("hold neural-hdr 1h30m migration", ("hold", "neural-hdr", timedelta(minutes=90), ALICE, "migration")),
    ],
)
async def test_operations_get_what_was_typed(desk: Desk, text: str, change: tuple[Any, ...]) -> None:
    answer = await ask(desk, text)
    assert desk.changes == [change]
    assert answer.public


async def test_incident_is_taken_from_the_thread(desk: Desk) -> None:
    await ask(desk, "ack", INC)
    await ask(desk, "note 3 pods gone", INC)
    assert desk.changes == [("acknowledge", INC, ALICE), ("note", INC, ALICE, "3 pods gone")]


@pytest.mark.parametrize("text", ["ack", "resolve", "note something", "show", "why", "approve", "run restart-workers"])
async def test_incident_is_asked_for_when_nothing_tells_it(desk: Desk, text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"which incident\? .*Open: INC-142"):
        await ask(desk, text)
    assert desk.changes == []


@pytest.mark.parametrize(
    "text",
    [
        "note INC-142",
        "run INC-142",
        "run INC-142 a b",
        "lead INC-142 bob",
        "undo INC-142",
        "hold",
        "hold x",
        "hold x soon",
    ],
)
async def test_incomplete_commands_change_nothing(desk: Desk, text: str) -> None:
    with pytest.raises(InvalidInputError):
        await ask(desk, text)
    assert desk.changes == []


async def test_unknown_incident(desk: Desk) -> None:
    with pytest.raises(NotFoundError):
        await ask(desk, "ack INC-9")


@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_waiting_run_is_found_by_its_incident_or_id(desk: Desk, decision: str) -> None:
    run = desk.add_run(make_run(RunStatus.AWAITING_APPROVAL))
    answer = await ask(desk, f"{decision} INC-142")
    assert answer.public
    assert desk.changes == [(decision, run.id, ALICE)]
    await ask(desk, f"{decision} {run.id}")
    assert len(desk.changes) == 1


async def test_several_waiting_runs_are_listed(desk: Desk) -> None:
    runs = [desk.add_run(make_run(RunStatus.AWAITING_APPROVAL, id=uuid.UUID(int=n))) for n in (1, 2)]
    with pytest.raises(InvalidInputError) as caught:
        await ask(desk, "approve INC-142")
    assert all(str(run.id) in str(caught.value) for run in runs)
    assert desk.changes == []


async def test_cancel_takes_a_runs_id(desk: Desk) -> None:
    run = desk.add_run(make_run())
    assert (await ask(desk, f"cancel {run.id}")).public
    with pytest.raises(InvalidInputError, match="is not a run's id"):
        await ask(desk, "cancel INC-142")


async def test_undo_takes_a_runs_id(desk: Desk) -> None:
    run = desk.add_run(make_run(RunStatus.COMPLETED))
    answer = await ask(desk, f"undo {run.id}")
    assert answer.public
    assert "alice has the changes of restart-workers taken back" in answer.content.text
    assert desk.changes == [("undo", run.id, ALICE)]


async def test_pause_lists_what_is_in_flight(desk: Desk) -> None:
    assert "still in flight: INC-142 restart-workers (auto) running" in (await ask(desk, "pause")).content.text


async def test_list_is_private_and_says_when_it_is_cut(desk: Desk) -> None:
    assert "INC-142" in (await ask(desk, "list")).content.text
    desk.records = many_incidents(25)
    answer = await ask(desk, "list")
    assert not answer.public
    assert answer.content.text.count("INC-") == 20
    assert "older ones" in answer.content.text
    desk.records = {}
    assert (await ask(desk, "list")).content.text == "No open incidents."


async def test_show_has_alerts_and_no_buttons(desk: Desk) -> None:
    run = desk.add_run(make_run(RunStatus.AWAITING_APPROVAL))
    answer = await ask(desk, "show INC-142")
    text = json.dumps(answer.content.blocks)
    assert not answer.public
    assert "alertname=HighErrorRate, pod=pod-0" in text
    assert str(run.id) in text
    assert '"actions"' not in text


async def test_why_tells_rule_mode_and_refusals(desk: Desk) -> None:
    desk.add_run(make_run(RunStatus.HELD))
    text = (await ask(desk, "why INC-142")).content.text
    assert "tier 1 service" in text
    assert "Mode auto: as the playbook says" in text
    assert "Refused by cooldown: it ran 3 min ago" in text


@pytest.mark.parametrize(("typed", "near"), [("akc", "ack"), ("resolv", "resolve"), ("shwo", "show")])
async def test_unknown_command_names_the_nearest(desk: Desk, typed: str, near: str) -> None:
    answer = await ask(desk, typed)
    assert f"Did you mean `{near}`?" in answer.content.text
    assert "`/incident list`" in answer.content.text
    assert not answer.public


@pytest.mark.parametrize("text", ["", "help", "HELP"])
async def test_help_lists_the_commands(desk: Desk, text: str) -> None:
    answer = await ask(desk, text)
    assert "`/incident hold service 30m [reason]`" in answer.content.text


@pytest.mark.parametrize(
    "text", ["list", "show INC-142", "why INC-142", "note INC-142 <!channel>", "<!here>", "pause <!channel>"]
)
async def test_nothing_said_can_ping(desk: Desk, text: str) -> None:
    desk.records[INC] = hostile_record()
    answer = await ask(desk, text)
    shown = answer.content.text + json.dumps(answer.content.blocks)
    assert "<!channel" not in shown
    assert "<!here" not in shown
    assert "<@" not in shown
    assert len(answer.content.text) <= 4000
