"""Deliveries as they came, and those that are given to intake again."""

from __future__ import annotations

import json

import pytest

from hdr_responder.domain.ports.store import Job
from hdr_responder.records.views import DeliverySummary, DeliveryView, ListView
from tests.integration.cli.conftest import Desk
from tests.integration.engine.workshop import DELIVERIES

pytestmark = pytest.mark.service

BODY = next(DELIVERIES.glob("01*.json")).read_bytes()


async def stored(desk: Desk, body: bytes, status: str) -> str:
    (row,) = await desk.workshop.rows(
        "insert into deliveries (source, received_at, body, status, error, processed_at)"
        " values ('default', $1, $2, $3, 'it failed', $1) returning id",
        desk.workshop.clock.now(),
        body,
        status,
    )
    return str(row["id"])


async def test_list_and_show(desk: Desk) -> None:
    await desk.workshop.receive("01", "08")
    page = ListView[DeliverySummary].model_validate(desk.asked("deliveries", "list", "--status", "received"))
    assert [item.id for item in page.items] == [2, 1]
    assert desk.told("deliveries", "list").splitlines()[1].startswith("2 ")
    view = DeliveryView.model_validate(desk.asked("deliveries", "show", "1"))
    assert view.body is not None
    assert view.body.encode() == BODY
    assert "HdrServiceDown" in desk.told("deliveries", "show", "1")
    assert desk.run("deliveries", "show", "3").code == 1


async def test_bytes_that_steer_terminals_are_shown_escaped(desk: Desk) -> None:
    number = await stored(desk, b"\x1b[2Jgone \xe2\x80\xae", "rejected")
    assert "\\x1b[2Jgone \\u202e" in desk.told("deliveries", "show", number)
    number = await stored(desk, b"\xff\x00", "rejected")
    assert desk.asked("deliveries", "show", number)["body_base64"] == "/wA="


@pytest.mark.parametrize("status", ["parked", "rejected"])
async def test_replayed_ones_are_taken_in(desk: Desk, status: str) -> None:
    number = await stored(desk, BODY, status)
    assert "waits for intake again" in desk.told("deliveries", "replay", number)
    (row,) = await desk.workshop.rows("select * from deliveries")
    assert (row["status"], row["error"], row["processed_at"]) == ("received", None, None)
    again = desk.run("deliveries", "replay", number)
    assert again.code == 1
    assert "received" in again.err
    assert Job.INTAKE in await desk.workshop.settle()
    assert [i["ref"] for i in desk.asked("incidents", "list")["items"]] == ["INC-1"]


async def test_what_still_breaks_the_contract_stays_and_names_the_field(desk: Desk) -> None:
    number = await stored(desk, json.dumps({**json.loads(BODY), "version": "3"}).encode(), "rejected")
    ended = desk.run("deliveries", "replay", number)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("version: ")
    (row,) = await desk.workshop.rows("select status, error from deliveries")
    assert (row["status"], row["error"]) == ("rejected", "it failed")
    assert await desk.workshop.settle() == []


async def test_processed_and_unknown_ones_are_not_replayed(desk: Desk) -> None:
    number = await stored(desk, BODY, "processed")
    assert desk.run("deliveries", "replay", number).code == 1
    assert desk.run("deliveries", "replay", "99").code == 1
    assert await desk.workshop.settle() == []


async def test_json_of_a_replay(desk: Desk) -> None:
    number = await stored(desk, BODY, "parked")
    assert desk.asked("deliveries", "replay", number)["status"] == "received"
