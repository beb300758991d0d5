from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from hdr_responder.domain.durations import Duration, DurationError, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0", timedelta(0)),
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("1h30m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(days=7)),
        ("1y2w3d4h5m6s7ms", timedelta(days=382, hours=4, minutes=5, seconds=6, milliseconds=7)),
        (" 5m ", timedelta(minutes=5)),
    ],
)
def test_reads_what_prometheus_reads(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text", ["", "5", "m", "1.5h", "30m1h", "1h1h", "-5m", "5 minutes", "1h 30m", "٣m", "999999999y"]
)
def test_refuses_what_prometheus_refuses(text: str) -> None:
    with pytest.raises(DurationError, match="duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**13).map(lambda ms: timedelta(milliseconds=ms)))
def test_what_is_written_reads_back(length: timedelta) -> None:
    assert parse_duration(format_duration(length)) == length


def test_writes_the_shortest_form() -> None:
    assert format_duration(timedelta(0)) == "0s"
    assert format_duration(timedelta(days=9, minutes=5)) == "9d5m"
    assert format_duration(timedelta(microseconds=1_400)) == "1ms"
    assert format_duration(-timedelta(minutes=90)) == "-1h30m"


class _Rule(BaseModel):
    after: Duration


def test_a_field_reads_and_writes_text() -> None:
    rule = _Rule.model_validate({"after": "1h30m"})
    assert rule.after == timedelta(minutes=90)
    assert rule.model_dump(mode="json") == {"after": "1h30m"}
    assert rule.model_dump() == {"after": timedelta(minutes=90)}


@pytest.mark.parametrize("value", [30, 1.5, True, None, "soon"])
def test_a_field_needs_a_unit(value: object) -> None:
    with pytest.raises(ValidationError, match="expected for example 30s, 5m or 1h30m"):
        _Rule.model_validate({"after": value})
