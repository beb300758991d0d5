"""Recurring times on the wall clock: summer time, leap years, and texts that are no cron."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.domain.calendars import (
    CronError,
    Recurring,
    ZoneError,
    at_wall_clock,
    next_after,
    parse_cron,
    zone,
    zone_names,
)

BERLIN, LONDON, UTC_ZONE = zone("Europe/Berlin"), zone("Europe/London"), zone("UTC")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wall(text: str) -> datetime:
    """What a clock shows."""
    return datetime.fromisoformat(text)


def times(cron: str, where: str, since: str, count: int) -> list[str]:
    found, instant = [], at(since)
    for _ in range(count):
        instant = next_after(parse_cron(cron), zone(where), instant)
        found.append(f"{instant:%Y-%m-%dT%H:%M}")
    return found


@pytest.mark.parametrize(
    ("cron", "since", "expected"),
    [
        ("0 9 * * *", "2026-11-24T09:00", ["2026-11-25T09:00", "2026-11-26T09:00"]),
        ("0 9 * * *", "2026-11-24T08:59:59", ["2026-11-24T09:00"]),
        ("*/20 8-9 * * *", "2026-11-24T08:20", ["2026-11-24T08:40", "2026-11-24T09:00", "2026-11-24T09:20"]),
        ("0 9 * * MON-FRI", "2026-11-27T12:00", ["2026-11-30T09:00", "2026-12-01T09:00"]),
        ("0 9 * * fri-sun", "2026-11-24T12:00", ["2026-11-27T09:00", "2026-11-28T09:00", "2026-11-29T09:00"]),
        ("0 2 * * 0", "2026-11-24T12:00", ["2026-11-29T02:00", "2026-12-06T02:00"]),
        ("0 2 * * 7", "2026-11-24T12:00", ["2026-11-29T02:00", "2026-12-06T02:00"]),
        ("0 0 1 JAN,jul *", "2026-11-24T12:00", ["2027-01-01T00:00", "2027-07-01T00:00"]),
        (
            "0 0 13 * FRI",
            "2026-11-24T12:00",
            ["2026-11-27T00:00", "2026-12-04T00:00", "2026-12-11T00:00", "2026-12-13T00:00"],
        ),
        ("0 0 31 * *", "2026-11-24T12:00", ["2026-12-31T00:00", "2027-01-31T00:00", "2027-03-31T00:00"]),
        ("0 0 29 2 *", "2026-11-24T12:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 29 2 *", "2096-03-01T00:00", ["2104-02-29T00:00"]),
        ("0 0 30 2 MON", "2026-11-24T12:00", ["2027-02-01T00:00", "2027-02-08T00:00"]),
        ("5/20 1 * * *", "2026-11-24T12:00", ["2026-11-25T01:05", "2026-11-25T01:25", "2026-11-25T01:45"]),
    ],
)
def test_next_times(cron: str, since: str, expected: list[str]) -> None:
    assert times(cron, "UTC", since, len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "where", "since", "expected"),
    [
        # The clocks go from 02:00 to 03:00 at 01:00 UTC on 2026-03-29, and from 03:00 to 02:00 at 01:00 UTC on 10-25.
        ("0 9 * * *", "Europe/Berlin", "2026-03-28T00:00", ["2026-03-28T08:00", "2026-03-29T07:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("*/15 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00",
            ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"],
        ),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", ["2026-10-26T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00", ["2026-10-26T01:30"]),
        ("0 3 * * *", "Europe/Berlin", "2026-10-25T00:30", ["2026-10-25T02:00", "2026-10-26T02:00"]),
        ("0 * * * *", "Europe/Berlin", "2026-10-24T23:30", ["2026-10-25T00:00", "2026-10-25T02:00"]),
        ("30 1 * * *", "Europe/London", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        # Half an hour on Lord Howe, southern summer; a whole day that Samoa left out.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T00:00",
            ["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"],
        ),
    ],
)
def test_summer_time(cron: str, where: str, since: str, expected: list[str]) -> None:
    """What is skipped comes when the gap is over, once; what is repeated comes the first time only."""
    assert times(cron, where, since, len(expected)) == expected


@given(
    cron=st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0 * * SUN", "15 1,2,3 * * *", "0 9 1 * *"]),
    where=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    since=st.datetimes(wall("2020-01-01"), wall("2035-01-01"), timezones=st.just(UTC)),
)
def test_times_only_go_forward_and_lose_no_day(cron: str, where: str, since: datetime) -> None:
    parsed, place = parse_cron(cron), zone(where)
    found = [since]
    for _ in range(5):
        found.append(next_after(parsed, place, found[-1]))
    assert all(earlier < later for earlier, later in pairwise(found))
    longest = {"0 0 * * SUN": timedelta(days=7, hours=2), "0 9 1 * *": timedelta(days=31, hours=2)}
    assert all(b - a <= longest.get(cron, timedelta(hours=26)) for a, b in pairwise(found))
    assert next_after(parsed, place, found[1] - timedelta(microseconds=1)) == found[1]


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("", 0, "cron has five fields, here are 0"),
        ("0 9 * *", 0, "here are 4"),
        ("0 9 * * * *", 0, "here are 6"),
        ("@daily", 0, "here are 1"),
        ("60 * * * *", 0, "'60' is no minute"),
        ("0  24 * * *", 3, "'24' is no hour"),
        ("0 9 0 * *", 4, "'0' is no day of month"),
        ("0 9 1,40 * *", 6, "'40' is no day of month"),
        ("0 9 * 13 *", 6, "'13' is no month"),
        ("0 9 * Foo *", 6, "'Foo' is no month"),
        ("0 9 * * 8", 8, "'8' is no day of week"),
        ("0 9 * * MON-", 8, "'MON-' is no day of week"),
        ("0 9 * * 1#2", 8, "'1#2' is no day of week"),
        ("0 9 L * *", 4, "'L' is no day of month"),
        ("0 9 ? * *", 4, "'?' is no day of month"),
        ("H 9 * * *", 0, "'H' is no minute"),
        ("1,,2 * * * *", 2, "'' is no minute"),
        ("5-2 * * * *", 0, "ends before it begins"),
        ("*/0 * * * *", 0, "impossible step"),
        ("*/60 * * * *", 0, "impossible step"),
        ("\u0663 9 * * *", 0, "is no minute"),
        ("0 0 30 2 *", 4, "never comes"),
        ("0 0 31 4,6,9,11 *", 4, "never comes"),
    ],
)
def test_what_is_no_cron_is_told_with_its_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(CronError) as caught:
        parse_cron(text)
    assert message in str(caught.value)
    assert caught.value.offset == offset


def test_unknown_zones() -> None:
    assert "Europe/Berlin" in zone_names()
    for name in ("Europe/berlin", "CEST", "", "../UTC", "Europe"):
        with pytest.raises(ZoneError):
            zone(name)


def test_a_window_is_open_from_its_opening_until_its_end() -> None:
    sunday = Recurring(cron=parse_cron("0 2 * * SUN"), zone=UTC_ZONE, lasts=timedelta(hours=2))
    end = at("2026-11-29T04:00")
    assert sunday.open_until(at("2026-11-29T01:59:59")) is None
    assert sunday.open_until(at("2026-11-29T02:00")) == end
    assert sunday.open_until(at("2026-11-29T03:59:59")) == end
    assert sunday.open_until(end) is None
    assert sunday.next_opening(at("2026-11-29T02:00")) == at("2026-12-06T02:00")


def test_a_window_lasts_its_time_although_the_clocks_change_in_it() -> None:
    night = Recurring(cron=parse_cron("0 1 * * SUN"), zone=BERLIN, lasts=timedelta(hours=3))
    assert night.open_until(at("2026-03-29T00:30")) == at("2026-03-29T03:00")
    assert night.open_until(at("2026-10-24T23:30")) == at("2026-10-25T02:00")


@pytest.mark.parametrize(
    ("cron", "lasts", "again"),
    [
        ("0 * * * *", timedelta(hours=1), None),
        ("0 * * * *", timedelta(minutes=61), timedelta(hours=1)),
        ("0 2 * * SUN", timedelta(hours=2), None),
        ("0 0 1,2 * *", timedelta(hours=25), timedelta(days=1)),
        ("0 0 29 2 *", timedelta(days=7), None),
        ("0 0 * * *", timedelta(hours=24), timedelta(hours=23)),
    ],
)
def test_a_window_that_overlaps_itself(cron: str, lasts: timedelta, again: timedelta | None) -> None:
    assert Recurring(cron=parse_cron(cron), zone=BERLIN, lasts=lasts).overlap() == again


def test_wall_clock_to_instant() -> None:
    assert at_wall_clock(wall("2026-03-29T02:30"), BERLIN) == at("2026-03-29T01:00")
    assert at_wall_clock(wall("2026-10-25T02:30"), BERLIN) == at("2026-10-25T00:30")
    assert at_wall_clock(wall("2026-07-01T12:00"), LONDON) == at("2026-07-01T11:00")
