"""Incidents and their post-mortem, read and changed by commands on a real database."""

from __future__ import annotations

from pathlib import Path

import pytest

from hdr_responder.records.views import IncidentSummary, IncidentView, ListView
from tests.integration.cli.conftest import PERSON, Desk

pytestmark = pytest.mark.service


async def test_listings_page_filter_and_have_the_apis_shape(desk: Desk) -> None:
    assert desk.run("incidents", "list").err == "There are no such incidents.\n"
    await desk.receive("01", "02", "08")
    first = desk.asked("incidents", "list", "--limit", "2")
    ListView[IncidentSummary].model_validate(first)
    rest = desk.asked("incidents", "list", "--limit", "2", "--cursor", first["next_cursor"])
    refs = [item["ref"] for item in (*first["items"], *rest["items"])]
    assert (refs, rest["next_cursor"]) == (["INC-3", "INC-2", "INC-1"], None)
    only = desk.asked("incidents", "list", "--priority", "p1", "--status", "triggered", "--service", "neural-hdr")
    assert [item["ref"] for item in only["items"]] == ["INC-1"]
    plain = desk.run("incidents", "list", "--limit", "1")
    assert plain.out.splitlines()[0].split()[:2] == ["INCIDENT", "PRIORITY"]
    assert plain.out.splitlines()[1].startswith("INC-3")
    assert "\x1b" not in plain.out
    assert plain.err.startswith("There are more: --cursor ")


async def test_show_tells_alerts_runs_and_timeline(desk: Desk) -> None:
    await desk.receive("01")
    text = desk.told("incidents", "show", "inc-1")
    assert text.startswith("P1 INC-1 neural-hdr: ")
    assert "alertname=HdrServiceDown" in text
    assert "To approve: hdr-responder runs approve " in text
    assert "Opened: HdrServiceDown on neural-hdr" in text
    view = IncidentView.model_validate(desk.asked("incidents", "show", "INC-1"))
    assert (view.ref, len(view.alerts), view.runs[0].playbook) == ("INC-1", 1, "restart-service")


async def test_changes_are_kept_with_the_person(desk: Desk) -> None:
    await desk.receive("01")
    assert desk.told("incidents", "note", "INC-1", "looking at it").startswith("Written on the timeline of INC-1")
    assert "Acknowledged by anna@example.com" in desk.told("incidents", "ack", "INC-1")
    assert desk.asked("incidents", "ack", "INC-1")["acknowledged_by"] == PERSON
    resolved = desk.asked("incidents", "resolve", "INC-1", "--by", "bo@example.com", "--note", "it was the cable")
    assert (resolved["status"], resolved["resolved_by"]) == ("resolved", "bo@example.com")
    rows = await desk.workshop.rows(
        "select actor, summary from timeline where kind in ('note', 'acknowledged', 'resolved')"
    )
    assert [(r["actor"], r["summary"]) for r in rows] == [
        (PERSON, "looking at it"),
        (PERSON, f"Acknowledged by {PERSON}"),
        ("bo@example.com", "Resolved by bo@example.com: it was the cable"),
    ]


async def test_command_is_taken_given_and_shown(desk: Desk) -> None:
    await desk.receive("01")
    assert f"{PERSON} has command of INC-1" in desk.told("incidents", "lead", "INC-1")
    assert f"{PERSON} has command" in desk.told("incidents", "show", "INC-1")
    assert desk.asked("incidents", "lead", "INC-1", "--person", "bo@example.com")["commander"] == "bo@example.com"
    rows = await desk.workshop.rows("select actor, summary from timeline where kind = 'command' order by id")
    asks = "automation of this incident asks before it acts"
    assert [(r["actor"], r["summary"]) for r in rows] == [
        (PERSON, f"{PERSON} has command; {asks}"),
        (PERSON, f"{PERSON} gave command to bo@example.com; {asks}"),
    ]


async def test_what_does_not_exist_is_one_line(desk: Desk) -> None:
    for arguments in (("incidents", "show", "INC-9"), ("incidents", "ack", "INC-9"), ("postmortem", "INC-9")):
        ended = desk.run(*arguments)
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert "INC-9" in ended.err


async def test_a_postmortem_is_never_overwritten_unasked(desk: Desk, tmp_path: Path) -> None:
    await desk.receive("01")
    printed = desk.told("postmortem", "INC-1")
    assert printed.startswith("# Post-mortem INC-1: ")
    path = tmp_path / "postmortem.md"
    ended = desk.run("postmortem", "INC-1", "--output", str(path))
    assert (ended.code, ended.out) == (0, "")
    assert path.read_text() == printed
    path.write_text("what people wrote")
    refused = desk.run("postmortem", "INC-1", "--output", str(path))
    assert (refused.code, refused.out) == (1, "")
    assert "--force" in refused.err
    assert path.read_text() == "what people wrote"
    assert desk.run("postmortem", "INC-1", "--output", str(path), "--force").code == 0
    assert path.read_text() == printed


async def test_a_file_that_cannot_be_written_is_told(desk: Desk, tmp_path: Path) -> None:
    await desk.receive("01")
    ended = desk.run("postmortem", "INC-1", "--output", str(tmp_path / "missing" / "postmortem.md"))
    assert ended.code == 1
    assert "cannot be written" in ended.err
