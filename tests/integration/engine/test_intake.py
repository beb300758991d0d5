"""From deliveries to incidents: what Alertmanager's contract makes possible, and what must never happen for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.errors import TemporaryError
from tests.integration.engine.alerts import alert, delivery
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import DELIVERIES, NOW, Workshop

INCIDENTS = "select service, problem, priority, status, episode, alerts_total, alerts_firing from incidents order by id"


async def send(workshop: Workshop, *alerts: Any, truncated: int = 0, source: str = "default") -> None:
    """One delivery, processed with all that follows from it."""
    await workshop.receive_body(delivery(alerts, truncated=truncated), source=source)
    await workshop.intake()
    await workshop.settle()


def resolve(fired: dict[str, Any], workshop: Workshop) -> dict[str, Any]:
    return fired | {"status": "resolved", "endsAt": workshop.clock.now().isoformat()}


async def test_rule_4_an_unseen_resolve_pages_nobody(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    now = workshop.clock.now()
    await send(workshop, alert("HdrServiceDown", starts_at=now, ends_at=now))
    assert (await workshop.incident())["status"] == "resolved"
    assert await workshop.pages() == 0
    assert await workshop.rows("select 1 from runs") == []


async def fire_again(workshop: Workshop, *, pause: float) -> dict[str, Any]:
    """A P3 that fired and resolved, then fires with its old start while Alertmanager cannot be asked."""
    fired = alert(starts_at=workshop.clock.now(), cell="a", severity="warning")
    await send(workshop, fired)
    workshop.clock.advance(60)
    await send(workshop, resolve(fired, workshop))
    workshop.clock.advance(pause)
    await send(workshop, fired)
    return fired


async def test_flow_2_an_uncertain_firing_pages_and_mutates_nothing(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire_again(workshop, pause=600)
    assert await workshop.cells.effects() == ["a"], "the first episode's"
    assert await workshop.pages() == 1
    assert len(await workshop.told("uncertain")) == 1
    (run,) = await workshop.rows("select status, reason from runs where episode = 2")
    assert run["status"] == "awaiting_approval"
    assert "may be old news" in run["reason"]


async def test_a_late_copy_that_nobody_can_judge_pages_once_and_reopens_nothing(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    fired = await fire_again(workshop, pause=30)
    for _ in range(5):
        workshop.clock.advance(10)
        await send(workshop, fired)
    assert await workshop.pages() == 1
    assert len(await workshop.told("uncertain")) == 1
    assert (await workshop.incident())["status"] == "resolved"
    assert await workshop.cells.effects() == ["a"]


@pytest.mark.parametrize(
    ("presence", "status", "effects"),
    [(Presence.FIRING, "mitigated", ["a", "a"]), (Presence.ABSENT, "resolved", ["a"])],
)
async def test_alertmanager_decides_between_old_and_new(
    open_cells: OpenWorkshop, presence: Presence, status: str, effects: list[str]
) -> None:
    workshop = await open_cells()
    workshop.answers.presence = Presence.FIRING
    fired = alert(starts_at=workshop.clock.now(), cell="a")
    await send(workshop, fired)
    workshop.clock.advance(60)
    await send(workshop, resolve(fired, workshop))
    workshop.answers.presence = presence
    workshop.clock.advance(30)
    await send(workshop, fired)
    assert (await workshop.incident())["status"] == status
    assert await workshop.cells.effects() == effects
    assert await workshop.told("uncertain") == []


async def test_a_source_that_gives_no_answer_is_asked_once_in_a_storm(open_cells: OpenWorkshop) -> None:
    """After an outage every peer sends everything again; Alertmanager's silence must not cost a timeout an alert."""
    workshop = await open_cells()
    fired = [alert(starts_at=workshop.clock.now(), cell="a", pod=f"p{n}") for n in range(500)]
    await send(workshop, *fired)
    workshop.clock.advance(60)
    await send(workshop, *(resolve(f, workshop) for f in fired))
    workshop.answers.asked.clear()
    await workshop.receive_body(delivery(fired))
    await workshop.intake()
    assert 0 < len(workshop.answers.asked) <= 2 * 8
    assert await workshop.rows("select 1 from deliveries where status <> 'processed'") == []


async def test_rule_9_a_severity_that_rises_stays_one_incident_and_raises_its_priority(
    open_cells: OpenWorkshop,
) -> None:
    workshop = await open_cells()
    now = workshop.clock.now()
    await send(workshop, alert("HdrHighErrorRate", starts_at=now, severity="warning"))
    await send(workshop, alert("HdrHighErrorRate", starts_at=now, severity="critical"))
    (incident,) = await workshop.rows(INCIDENTS)
    assert (incident["priority"], incident["alerts_total"]) == ("P2", 2)
    (raised,) = await workshop.told("priority")
    assert "raised to P2" in raised
    assert (await workshop.incident())["page_at"] is not None


async def test_rule_10_a_truncated_group_is_a_lower_bound(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await send(workshop, alert(starts_at=workshop.clock.now(), cell="a"), truncated=3)
    assert (await workshop.incident())["lower_bound"]
    lost = workshop.metrics.registry.get_sample_value("hdr_responder_lost_alerts_total", {"source": "default"})
    assert lost == 3


async def test_unknown_services_never_merge_and_get_an_incident_each(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    now = workshop.clock.now()
    unknown = [alert("HdrX", starts_at=now, service="nobody", pod=pod) for pod in ("1", "2")]
    unknown.append(alert("HdrX", starts_at=now, service=None))
    await send(workshop, *unknown)
    assert len(await workshop.rows(INCIDENTS)) == 3


async def test_rule_11_two_sources_with_one_fingerprint_stay_apart(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    fired = alert("HdrX", starts_at=workshop.clock.now(), service="nobody")
    await send(workshop, fired, source="eu")
    await send(workshop, fired, source="us")
    workshop.clock.advance(60)
    await send(workshop, resolve(fired, workshop), source="us")
    rows = await workshop.rows("select source, status from alerts order by source")
    assert rows == [{"source": "eu", "status": "firing"}, {"source": "us", "status": "resolved"}]
    assert [i["status"] for i in await workshop.rows(INCIDENTS)] == ["triggered", "resolved"]


async def test_the_watchdog_is_no_incident_and_its_absence_pages(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    watchdog = alert("Watchdog", starts_at=workshop.clock.now(), service=None)
    await send(workshop, watchdog, source="eu")
    assert await workshop.rows(INCIDENTS) == []
    workshop.clock.advance(599)
    await workshop.engine.housekeeping.tick()
    assert await workshop.rows(INCIDENTS) == []
    workshop.clock.advance(2)
    for _ in range(3):
        await workshop.engine.housekeeping.tick()
    (incident,) = await workshop.rows(INCIDENTS)
    assert (incident["service"], incident["priority"]) == ("hdr-responder", "P1")
    assert await workshop.pages() == 1


async def test_a_source_that_sends_alerts_but_never_its_watchdog_pages_too(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await send(workshop, alert(starts_at=workshop.clock.now(), cell="a"), source="eu")
    workshop.clock.advance(601)
    await workshop.engine.housekeeping.tick()
    found = [(i["service"], i["problem"]) for i in await workshop.rows(INCIDENTS)]
    assert ("hdr-responder", "watchdog silent") in found


async def test_a_bad_alert_never_rejects_the_good_ones_beside_it(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    good = alert(starts_at=workshop.clock.now(), cell="a")
    bad = [alert("HdrBad", starts_at=workshop.clock.now()) | {"startsAt": "yesterday"}, 7, {"labels": {"x": ["y"]}}]
    await send(workshop, bad[0], good, *bad[1:])
    incidents = await workshop.rows(INCIDENTS)
    assert [i["problem"] for i in incidents] == ["HdrCell", "unreadable alert"] or [
        i["problem"] for i in incidents
    ] == ["unreadable alert", "HdrCell"]
    assert await workshop.cells.effects() == ["a"]
    (text,) = [t for t in await workshop.told("opened") if "could not be read" in t]
    assert "alerts.0.startsAt" in text
    assert "HdrBad" in text


async def test_a_poison_delivery_is_parked_and_its_neighbours_are_processed(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    bodies = [delivery([alert(starts_at=workshop.clock.now(), cell=c)]) for c in ("a", "b")]
    await workshop.receive_body(bodies[0])
    await workshop.receive_body(b'{"version": "5"}')
    await workshop.receive_body(b"\xff\xfe not json")
    await workshop.receive_body(bodies[1])
    await workshop.intake()
    rows = await workshop.rows("select status from deliveries order by id")
    assert [r["status"] for r in rows] == ["processed", "parked", "parked", "processed"]
    parked = [i for i in await workshop.rows(INCIDENTS) if i["problem"] == "parked delivery"]
    assert len(parked) == 1, "one incident for both"
    assert await workshop.pages() == 1


async def test_parking_never_hits_an_innocent_delivery(
    open_cells: OpenWorkshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica has parked the poison in between: the one behind it stays."""
    workshop = await open_cells()
    await workshop.receive_body(b"poison")
    await workshop.fire("a")
    park = workshop.engine.intake._park

    async def late(delivery_: Delivery, error: Exception) -> None:
        await workshop.peer().engine.intake.process()
        await park(delivery_, error)

    monkeypatch.setattr(workshop.engine.intake, "_park", late)
    await workshop.intake()
    rows = await workshop.rows("select status from deliveries order by id")
    assert [r["status"] for r in rows] == ["parked", "processed"]
    assert await workshop.told("problem") == [], "told once, when its incident was opened"


async def test_a_passing_error_parks_nothing(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await workshop.fire("a")
    await workshop.pool.execute("alter table alerts add constraint refused check (false) not valid")
    await workshop.pool.execute(
        "create function refuse() returns trigger language plpgsql as "
        "$$ begin raise exception 'busy' using errcode = '55P03'; end $$; "
        "create trigger refuse before insert on alerts for each row execute function refuse()"
    )
    with pytest.raises(TemporaryError):
        await workshop.intake()
    assert [r["status"] for r in await workshop.rows("select status from deliveries")] == ["received"]
    await workshop.pool.execute("drop trigger refuse on alerts; alter table alerts drop constraint refused")
    await workshop.intake()
    assert len(await workshop.rows(INCIDENTS)) == 1


async def test_a_rejected_delivery_is_reported_once(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await workshop.pool.execute(
        "insert into deliveries (source, received_at, body, status, error) values ('eu', now(), 'x', 'rejected', 'no')"
    )
    for _ in range(3):
        await workshop.intake()
    (incident,) = await workshop.rows(INCIDENTS)
    assert incident["problem"] == "rejected delivery"
    assert await workshop.pages() == 1


async def test_resolved_by_hand_repeats_do_not_reopen_a_new_occurrence_does(open_cells: OpenWorkshop) -> None:
    """People first."""
    workshop = await open_cells()
    fired = alert("HdrX", starts_at=workshop.clock.now())
    await send(workshop, fired)
    await workshop.engine.operations.resolve(1, by="ann")
    for _ in range(3):
        workshop.clock.advance(60)
        await send(workshop, fired)
    assert [i["status"] for i in await workshop.rows(INCIDENTS)] == ["resolved"]
    await send(workshop, resolve(fired, workshop))
    workshop.clock.advance(60)
    await send(workshop, alert("HdrX", starts_at=workshop.clock.now()))
    (incident,) = await workshop.rows(INCIDENTS)
    assert (incident["status"], incident["episode"]) == ("triggered", 2)


async def test_the_reopen_window(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    for gap in (0, 3599, 3601):
        workshop.clock.advance(gap)
        fired = alert("HdrX", starts_at=workshop.clock.now())
        await send(workshop, fired)
        workshop.clock.advance(10)
        await send(workshop, resolve(fired, workshop))
    assert [i["episode"] for i in await workshop.rows(INCIDENTS)] == [2, 1]


async def test_an_end_and_a_new_beginning_in_one_batch_are_two_episodes(open_cells: OpenWorkshop) -> None:
    """Intake may lag: what it makes of a backlog is what it would have made at the time."""
    workshop = await open_cells()
    fired = alert("HdrX", starts_at=workshop.clock.now())
    await workshop.receive_body(delivery([fired]))
    await workshop.intake()
    workshop.clock.advance(60)
    await workshop.receive_body(delivery([resolve(fired, workshop)]))
    workshop.clock.advance(60)
    await workshop.receive_body(delivery([alert("HdrX", starts_at=workshop.clock.now())]))
    await workshop.intake()
    (incident,) = await workshop.rows(INCIDENTS)
    assert (incident["status"], incident["episode"]) == ("triggered", 2)


HOSTILE = {
    "NUL": {"note": "a\x00b", "bad\x00key": "x"},
    "a label of 1 MB": {"note": "x" * 1_000_000},
    "500 labels": {f"label_{n}": "v" * 50 for n in range(500)},
    "deep Unicode": {"note": "\u202e\u0301" * 200 + "\U0001f4a5<!channel>" + "\ufdfd" * 500},
    "lone surrogate": {"note": "\ud800"},
    "markup": {"service": "<!channel> ${alert.labels.x} {{ 7*7 }} ' or 1=1 --"},
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_text_makes_an_incident_or_is_told_and_stops_nothing(open_cells: OpenWorkshop, name: str) -> None:
    workshop = await open_cells()
    labels: dict[str, Any] = {"service": "neural-hdr", "cell": "a"} | HOSTILE[name]
    await send(workshop, alert(starts_at=workshop.clock.now(), **labels))
    await send(workshop, alert(starts_at=workshop.clock.now(), cell="b", service="redis"))
    assert len(await workshop.rows(INCIDENTS)) == 2
    assert "b" in await workshop.cells.effects()
    assert await workshop.rows("select 1 from notifications where status = 'failed'") == []


async def test_a_storm_of_ten_thousand_alerts_is_bounded(open_cells: OpenWorkshop) -> None:
    """One incident, one page, a handful of messages; statements by the batch, never by the alert."""
    workshop = await open_cells()
    now = workshop.clock.now()
    for part in range(20):
        alerts = [alert("HdrStorm", starts_at=now, pod=f"p{part}-{n}") for n in range(500)]
        await workshop.receive_body(delivery(alerts))
    sent: list[str] = []
    for connection in [await workshop.pool.acquire() for _ in range(8)]:
        connection.add_query_logger(lambda record: sent.append(record.query))
        await workshop.pool.release(connection)
    await workshop.intake()
    (incident,) = await workshop.rows(INCIDENTS)
    assert (incident["alerts_total"], incident["alerts_firing"]) == (10_000, 10_000)
    assert 5 < len(sent) < 100
    await workshop.settle()
    assert len(await workshop.rows("select 1 from notifications")) < 10
    assert len(await workshop.told()) < 10


async def test_rules_7_and_12_quiet_alerts_end_after_two_answers_that_they_are_absent(
    open_cells: OpenWorkshop,
) -> None:
    workshop = await open_cells()
    await send(workshop, alert("HdrX", starts_at=workshop.clock.now()))
    tick = workshop.engine.housekeeping.tick
    workshop.answers.presence = Presence.ABSENT
    workshop.clock.advance(599)
    await tick()
    assert workshop.answers.asked == []
    workshop.clock.advance(2)
    await tick()
    assert (await workshop.incident())["status"] == "triggered", "one answer is not enough"
    workshop.answers.presence = Presence.UNKNOWN
    workshop.clock.advance(301)
    await tick()
    assert (await workshop.incident())["status"] == "triggered", "no answer is none"
    workshop.answers.presence = Presence.ABSENT
    await tick()
    workshop.clock.advance(301)
    await tick()
    assert (await workshop.incident())["status"] == "resolved"


@pytest.mark.parametrize("presence", [Presence.FIRING, Presence.SUPPRESSED])
async def test_rule_7_what_alertmanager_knows_does_not_end_however_quiet(
    open_cells: OpenWorkshop, presence: Presence
) -> None:
    workshop = await open_cells()
    await send(workshop, alert("HdrX", starts_at=workshop.clock.now()))
    workshop.answers.presence = presence
    for _ in range(20):
        workshop.clock.advance(6 * 3600)
        await workshop.engine.housekeeping.tick()
    assert (await workshop.incident())["status"] == "triggered"


async def test_rule_12_without_anybody_to_ask_it_ends_after_the_quiet_period(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await send(workshop, alert("HdrX", starts_at=workshop.clock.now()))
    workshop.clock.advance(24 * 3600 - 60)
    await workshop.engine.housekeeping.tick()
    assert (await workshop.incident())["status"] == "triggered"
    workshop.clock.advance(120)
    await workshop.engine.housekeeping.tick()
    assert (await workshop.incident())["status"] == "resolved"


async def test_an_alert_that_comes_back_after_it_was_ended_for_absence_reopens(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    fired = alert("HdrX", starts_at=workshop.clock.now())
    await send(workshop, fired)
    workshop.answers.presence = Presence.ABSENT
    for _ in range(2):
        workshop.clock.advance(601)
        await workshop.engine.housekeeping.tick()
    assert (await workshop.incident())["status"] == "resolved"
    workshop.answers.presence = Presence.FIRING
    workshop.clock.advance(60)
    await send(workshop, fired)
    (incident,) = [i for i in await workshop.rows(INCIDENTS) if i["problem"] != "watchdog silent"]
    assert (incident["status"], incident["episode"]) == ("triggered", 2)


def test_the_bodies_are_what_alertmanager_sends() -> None:
    """The helper's shape is the recorded deliveries' shape."""
    (path,) = DELIVERIES.glob("01*.json")
    recorded = json.loads(path.read_bytes())
    made = json.loads(delivery([alert(starts_at=NOW)]))
    assert made.keys() == recorded.keys()
    assert made["alerts"][0].keys() == recorded["alerts"][0].keys()
