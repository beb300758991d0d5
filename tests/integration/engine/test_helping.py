"""What playbooks tell people: noted, posted, paged and raised, and each of it once."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.actions.contract import StepContext
from hdr_responder.errors import PermanentError
from hdr_responder.settings import Settings
from hdr_responder.settings.models import SlackSettings
from tests.integration.engine.cells import WorkerDied, playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

LOOK = {"id": "look", "action": "cell.look", "with": {"cell": "a"}}


def telling(*steps: dict[str, Any]) -> dict[str, Any]:
    """A playbook that tells people, and then looks at a cell."""
    written = playbook(steps=[*steps, LOOK], params={})
    del written["verify"]
    return written


def told(action: str, **parameters: Any) -> dict[str, Any]:
    return {"id": "tell", "action": action, "with": parameters}


async def fired(workshop: Workshop, **labels: Any) -> dict[str, Any]:
    await workshop.fire("a", **labels)
    await workshop.intake()
    await workshop.settle()
    return await workshop.incident()


async def ended(workshop: Workshop) -> list[str]:
    return [text for text in await workshop.told("step_ended") if "tell" in text]


async def test_a_note_stands_on_the_timeline_and_in_the_thread(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(telling(told("incident.note", text="the vendor looks at ${incident.problem}")))
    await fired(workshop)
    assert await workshop.told("note") == ["the vendor looks at HdrCell"]
    said = await workshop.rows("select payload from notifications where kind = 'thread'")
    assert any("the vendor looks at HdrCell" in str(row["payload"]) for row in said)


async def test_a_post_is_said_and_not_written_down(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(telling(told("slack.post", text="all is well")))
    await fired(workshop)
    assert await workshop.told("note") == []
    said = await workshop.rows("select payload from notifications where kind = 'thread'")
    assert sum('"all is well"' in str(row["payload"]) for row in said) == 1


async def test_a_post_in_a_channel_that_the_settings_list(open_cells: OpenWorkshop) -> None:
    step = told("slack.post", text="the ${incident.problem} again", channel="ops")
    settings = Settings(slack=SlackSettings(channels=("ops",)))
    workshop = await open_cells(telling(step), settings=settings)
    await fired(workshop)
    said = await workshop.rows("select payload::jsonb ->> 'text' as text from notifications where payload ? 'channel'")
    assert [row["text"] for row in said] == ["the HdrCell again"]
    assert any("INC-1 to ops: the HdrCell again" in line for line in workshop.console)


async def test_no_label_chooses_a_channel(open_cells: OpenWorkshop) -> None:
    step = told("slack.post", text="hello", channel="${alert.labels.instance}")
    settings = Settings(slack=SlackSettings(channels=("ops",)))
    workshop = await open_cells(telling(step), settings=settings)
    await fired(workshop, instance="general")
    (text,) = await ended(workshop)
    assert "slack.channels does not list 'general' (listed: ops)" in text
    assert await workshop.rows("select 1 from notifications where payload ? 'channel'") == []


async def test_a_page_wakes_somebody_whatever_the_priority(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(telling(told("incident.page", reason="the backup failed twice")))
    incident = await fired(workshop)
    assert incident["priority"] == "P2"
    assert await workshop.pages() == 1
    assert "Paged: the backup failed twice" in await workshop.told("paged")


async def test_a_raised_priority_pages_and_says_why(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(telling(told("incident.set_priority", priority="P1", reason="data is lost")))
    incident = await fired(workshop)
    assert (incident["priority"], incident["priority_reason"]) == ("P1", "data is lost")
    assert incident["priority_rule"] == "playbook"
    assert "Priority raised from P2 to P1 (data is lost)" in await workshop.told("priority")
    assert await workshop.pages() == 1


async def test_a_lowered_priority_wakes_nobody(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(telling(told("incident.set_priority", priority="P4", reason="it is a test system")))
    incident = await fired(workshop)
    assert incident["priority"] == "P4"
    assert await workshop.pages() == 0


async def test_a_lowered_priority_stops_the_page_that_was_to_come(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(telling(told("incident.set_priority", priority="P4", reason="it is a test system")))
    await fired(workshop)
    incident = await workshop.incident()
    assert (incident["page_at"], incident["escalate_at"]) == (None, None)
    await workshop.pass_time(3 * 3600, step=600)
    assert await workshop.pages() == 0
    assert await workshop.told("escalated") == []


async def test_a_priority_that_is_lowered_a_little_still_escalates_in_its_time(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(telling(told("incident.set_priority", priority="P3", reason="a workaround exists")))
    await fired(workshop)
    await workshop.pass_time(3.5 * 3600, step=600)
    assert await workshop.told("escalated") == []
    await workshop.pass_time(3600, step=600)
    assert await workshop.told("escalated") == ["Escalated: nobody has acknowledged it in time"]


async def test_a_repeat_does_not_take_a_lowered_priority_back_and_a_new_alert_does(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(telling(told("incident.set_priority", priority="P4", reason="it is a test system")))
    begun = workshop.clock.now()
    await fired(workshop)
    workshop.clock.advance(60)
    await workshop.fire("a", starts_at=begun)
    await workshop.intake()
    assert (await workshop.incident())["priority"] == "P4"
    await workshop.fire("a", instance="another")
    await workshop.intake()
    assert (await workshop.incident())["priority"] == "P2"
    assert await workshop.rows("select 1 from incidents offset 1") == []


async def test_reactions_with_the_same_words_all_happen(open_cells: OpenWorkshop) -> None:
    words = {"reason": "restarting did not help"}
    reactions = [{"action": name, "with": words} for name in ("incident.page", "incident.escalate")]
    notes = [{"action": name, "with": {"text": "in vain"}} for name in ("incident.note", "slack.post")]
    workshop = await open_cells(playbook(undo="never", on_failure=[*reactions, *notes]))
    workshop.cells.at["before_effect"] = refuses
    await fired(workshop)
    assert (await workshop.run())["status"] == "failed"
    assert "Paged: restarting did not help" in await workshop.told("paged")
    assert await workshop.told("escalated") == ["Escalated: restarting did not help"]
    assert await workshop.told("note") == ["in vain"]
    said = await workshop.rows("select 1 from notifications where payload::jsonb ->> 'text' = 'in vain'")
    assert len(said) == 2


def refuses(_: StepContext) -> None:
    raise PermanentError("it is refused")


async def test_what_a_person_has_set_stays(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells(telling(told("incident.set_priority", priority="P1", reason="data is lost")))
    await workshop.fire("a")
    await workshop.intake()
    await workshop.rows("update incidents set priority_set_by = 'ann'")
    await workshop.settle()
    incident = await workshop.incident()
    assert incident["priority"] == "P2"
    (text,) = await ended(workshop)
    assert "its priority was set by ann" in text


@pytest.mark.parametrize(
    ("action", "parameters", "counted"),
    [
        ("incident.note", {"text": "once"}, "select 1 from timeline where kind = 'note'"),
        ("incident.page", {"reason": "once"}, "select 1 from notifications where kind = 'page'"),
        ("incident.escalate", {"reason": "once"}, "select 1 from timeline where kind = 'escalated'"),
        ("slack.post", {"text": "once"}, "select 1 from notifications where payload::jsonb ->> 'text' = 'once'"),
        (
            "incident.set_priority",
            {"priority": "P1", "reason": "once"},
            "select 1 from timeline where kind = 'priority'",
        ),
    ],
)
async def test_a_step_that_is_repeated_after_a_crash_tells_once(
    open_cells: OpenWorkshop, action: str, parameters: dict[str, Any], counted: str
) -> None:
    workshop = await open_cells(telling(told(action, **parameters)))
    people = workshop.helping
    method = {"incident.escalate": "escalate", "slack.post": "post"}.get(action, action.removeprefix("incident."))
    tell = getattr(people, method)

    async def tells_and_dies(*args: Any, **more: Any) -> None:
        await tell(*args, **more)
        raise WorkerDied

    setattr(people, method, tells_and_dies)
    with pytest.raises(WorkerDied):
        await fired(workshop)
    delattr(people, method)
    await workshop.lose_leases()
    other = workshop.peer()
    await other.sweep()
    await other.settle()
    assert (await workshop.run())["status"] == "completed"
    assert len(await workshop.rows(counted)) == 1
