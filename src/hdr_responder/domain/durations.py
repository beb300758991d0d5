"""Durations as the Prometheus world writes them (``1h30m``), so that people type what they type everywhere else."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from hdr_responder.errors import InvalidInputError

_UNITS: tuple[tuple[str, timedelta], ...] = (
    ("y", timedelta(days=365)),
    ("w", timedelta(weeks=1)),
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("m", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
    ("ms", timedelta(milliseconds=1)),
)
PATTERN = "^(?:0|" + "(?=[0-9])" + "".join(f"(?:([0-9]{{1,9}}){unit})?" for unit, _ in _UNITS) + ")$"
_TEXT = re.compile(PATTERN)
_MILLISECOND = timedelta(milliseconds=1)


class DurationError(InvalidInputError, ValueError):
    """A text is not a duration; the message says how one is written."""


def parse_duration(text: str) -> timedelta:
    """Return the length of ``1h30m``, ``500ms``, ``2d`` or ``0``.

    Units are y (365 d), w, d, h, m, s, ms, each at most once and largest first, as in Prometheus. Raises DurationError.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise DurationError(f"{text[:40]!r} is not a duration; expected for example 30s, 5m or 1h30m")
    counts = (int(digits or 0) for digits in match.groups())
    try:
        return sum((count * unit for count, (_, unit) in zip(counts, _UNITS, strict=True)), timedelta())
    except OverflowError as e:
        raise DurationError(f"{text[:40]!r} is too long a duration") from e


def format_duration(length: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads back, with days as the largest unit.

    Anything below a millisecond is rounded away; a negative length (an age ahead of the clock) gets a minus sign.
    """
    if length < timedelta():
        return "-" + format_duration(-length)
    left = round(length / _MILLISECOND)
    parts: list[str] = []
    for unit, size in _UNITS[2:]:
        count, left = divmod(left, size // _MILLISECOND)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _to_timedelta(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    raise DurationError(f"{value!r} has no unit; expected for example 30s, 5m or 1h30m")


Duration = Annotated[
    timedelta,
    BeforeValidator(_to_timedelta),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["30s", "5m", "1h30m"]}),
]
"""A field that documents write as ``5m`` and code reads as a timedelta."""
