"""`simulate --from incidents`: what the service has stored, replayed."""

from __future__ import annotations

from hdr_responder.engine.simulation import Simulated
from tests.integration.cli.conftest import Desk

EVER = ("--since", "3650d")


async def test_stored_deliveries_are_replayed_oldest_first(desk: Desk) -> None:
    await desk.receive("01", "02", "06")
    found = Simulated.model_validate(desk.asked("simulate", "--from", "incidents", *EVER))
    assert (found.deliveries, found.skipped) == (3, ())
    down, slow = found.incidents
    assert (down.title, down.status) == ("HdrServiceDown on neural-hdr", "resolved")
    assert slow.problem == "HdrHighErrorRate"
    assert found.since == desk.workshop.clock.now(), "when the service received it"


async def test_the_records_stay_as_they_are(desk: Desk) -> None:
    await desk.receive("01")
    before = desk.asked("incidents", "list")
    desk.told("simulate", "--from", "incidents", *EVER)
    assert desk.asked("incidents", "list") == before


async def test_nothing_stored_is_said(desk: Desk) -> None:
    ended = desk.run("simulate", "--from", "incidents", *EVER)
    assert (ended.code, ended.out) == (1, "")
    assert "incidents holds no delivery that could be replayed" in ended.err
