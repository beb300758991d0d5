"""The calendar document: which freezes and maintenance windows count when, for what, and where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hdr_responder.documents.calendar import EMPTY, Calendar


def calendar(**parts: Any) -> Calendar:
    found = Calendar.model_validate({"apiVersion": "hdr-responder/v1", "kind": "Calendar"} | parts)
    assert found.findings() == []
    return found


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def freeze(**parts: Any) -> dict[str, Any]:
    return {"name": "f", "reason": "r", "from": "2026-12-20T18:00", "until": "2027-01-02T08:00"} | parts


def frozen(of: Calendar, moment: str, *, service: str = "neural-hdr", environment: str = "production") -> list[str]:
    return [
        f"{f.name} {until:%Y-%m-%dT%H:%M}"
        for f, until in of.freezes_at(at(moment), service=service, environment=environment)
    ]


def test_a_freeze_lasts_from_its_beginning_until_its_end() -> None:
    of = calendar(freezes=[freeze()])
    assert frozen(of, "2026-12-20T17:59:59") == []
    assert frozen(of, "2026-12-20T18:00") == ["f 2027-01-02T08:00"]
    assert frozen(of, "2027-01-02T07:59:59") == ["f 2027-01-02T08:00"]
    assert frozen(of, "2027-01-02T08:00") == []


@pytest.mark.parametrize(
    ("document", "begins"),
    [
        ({"freezes": [freeze()]}, "2026-12-20T18:00"),
        ({"freezes": [freeze()], "time_zone": "Europe/Berlin"}, "2026-12-20T17:00"),
        ({"freezes": [freeze(time_zone="America/New_York")], "time_zone": "Europe/Berlin"}, "2026-12-20T23:00"),
        ({"freezes": [freeze(**{"from": "2026-12-20T18:00+03:00"})], "time_zone": "Europe/Berlin"}, "2026-12-20T15:00"),
        ({"freezes": [freeze(**{"from": "2026-12-20 18:00:30Z"})]}, "2026-12-20T18:00:30"),
    ],
)
def test_times_without_an_offset_are_on_the_nearest_named_clock(document: dict[str, Any], begins: str) -> None:
    of = calendar(**document)
    assert frozen(of, begins)
    assert not of.freezes_at(at(begins).replace(year=2026, day=19), service="", environment="production")
    (row,) = of._frozen
    assert row[1] == at(begins)


def test_services_and_environments_of_a_freeze() -> None:
    of = calendar(freezes=[freeze(services=["neural-hdr"], environments=["production"]), freeze(name="g")])
    during = "2026-12-24T00:00"
    assert frozen(of, during) == ["f 2027-01-02T08:00", "g 2027-01-02T08:00"]
    for other in ({"service": "redis"}, {"environment": "staging"}, {"service": ""}):
        assert frozen(of, during, **other) == ["g 2027-01-02T08:00"]


def test_maintenance_is_of_its_services_and_the_longest_counts() -> None:
    def window(name: str, lasts: str, **parts: Any) -> dict[str, Any]:
        return {"name": name, "schedule": "0 2 * * SUN", "lasts": lasts} | parts

    of = calendar(
        windows=[
            window("office", "5h"),
            window("all", "2h", maintenance=True),
            window("stores", "3h", maintenance=True, services=["redis"]),
        ]
    )
    during = at("2026-11-29T02:30")

    def met(service: str) -> tuple[str, datetime] | None:
        found = of.maintenance_at(during, service=service)
        return (found[0].name, found[1]) if found else None

    assert met("redis") == ("stores", at("2026-11-29T05:00"))
    assert met("neural-hdr") == ("all", at("2026-11-29T04:00"))
    assert of.maintenance_at(at("2026-11-29T06:00"), service="redis") is None
    assert of.maintenance_at(at("2026-11-30T02:30"), service="redis") is None


def test_windows_are_found_by_name() -> None:
    of = calendar(time_zone="Europe/Berlin", windows=[{"name": "w", "schedule": "0 9 * * *", "lasts": "8h"}])
    found = of.window("w")
    assert found is not None
    assert found.next_opening(at("2026-11-24T00:00")) == at("2026-11-24T08:00")
    assert of.window("x") is None


def test_without_a_document_nothing_is_frozen() -> None:
    assert EMPTY.findings() == []
    assert frozen(EMPTY, "2026-12-24T00:00") == []
    assert EMPTY.maintenance_at(at("2026-12-24T00:00"), service="redis") is None
