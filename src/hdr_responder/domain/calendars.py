"""Recurring times in a time zone, so that a duty or a window comes at the hour that people's clocks show.

Times are computed on the zone's wall clock. What falls into the hour that summer time skips comes when that hour is
over; what falls into the hour that is repeated in autumn comes in its first pass only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterError, croniter

from hdr_responder.errors import InvalidInputError

_WEEKDAYS = {name: i for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_MONTHS = {
    name: i
    for i, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_ITEM = re.compile(
    r"(?:\*|(?P<first>[0-9]{1,2}|[a-z]{3})(?:-(?P<last>[0-9]{1,2}|[a-z]{3}))?)"
    r"(?:/(?P<step>[0-9]{1,2}))?",
    re.IGNORECASE | re.ASCII,
)
_REFERENCE = datetime(2024, 1, 1, tzinfo=UTC)
"""Where openings are counted from that are compared with each other: a leap year's first day."""
_OPENINGS_COMPARED = 800
_COMPARED_FOR = timedelta(days=366 * 5)
_SKIPPED_AT_MOST = 2000
"""Times of a repeated stretch of wall clock that are passed over; a day of minutes is less."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: dict[str, int]

    @property
    def expected(self) -> str:
        words = f", or {next(iter(self.names)).upper()} to {list(self.names)[-1].upper()}" if self.names else ""
        return f"{self.low} to {self.high}{words}, as in 5, 1-4, 1,3 or */2"


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),
)


class CronError(InvalidInputError, ValueError):
    """A text is not cron, or names a time that never comes; ``offset`` is where in the text, ``expected`` what else."""

    def __init__(self, message: str, *, offset: int = 0, expected: str | None = None) -> None:
        super().__init__(message)
        self.offset = offset
        self.expected = expected


class ZoneError(InvalidInputError, ValueError):
    """A text names no time zone."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Five valid fields; made by `parse_cron`. Where day of month and day of week are both given, either is enough."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """A stretch of time that comes again and again; ``lasts`` is time that passes, whatever the wall clock does."""

    cron: Cron
    zone: ZoneInfo
    lasts: timedelta

    def open_until(self, instant: datetime) -> datetime | None:
        """Return when the stretch that ``instant`` is in ends (the end is no longer in it), None outside."""
        opened = next_after(self.cron, self.zone, instant - self.lasts)
        if opened > instant:
            return None
        return opened + self.lasts

    def next_opening(self, instant: datetime) -> datetime:
        """Return the first opening after ``instant``."""
        return next_after(self.cron, self.zone, instant)

    def overlap(self) -> timedelta | None:
        """Return how long after an opening the next one comes before the first has ended, None when none does."""
        opened = next_after(self.cron, self.zone, _REFERENCE)
        for _ in range(_OPENINGS_COMPARED):
            again = next_after(self.cron, self.zone, opened)
            if again - opened < self.lasts:
                return again - opened
            if again - _REFERENCE > _COMPARED_FOR:
                break
            opened = again
        return None


@lru_cache(maxsize=4096)
def parse_cron(text: str) -> Cron:
    """Return the cron of ``minute hour day-of-month month day-of-week``.

    Names of months and days are allowed, 0 and 7 are Sunday. Raises CronError, also for dates that never come.
    """
    words = list(re.finditer(r"\S+", text))
    if len(words) != len(_FIELDS):
        expected = f"{', '.join(f.name for f in _FIELDS)}: for example 0 9 * * MON-FRI"
        raise CronError(f"cron has five fields, here are {len(words)}", expected=expected)
    for word, field in zip(words, _FIELDS, strict=True):
        _check_field(word, field)
    cron = Cron(" ".join(word.group().lower() for word in words))
    try:
        _next_wall(cron, _REFERENCE.replace(tzinfo=None))
    except CroniterError as error:
        raise CronError("this date never comes", offset=words[2].start()) from error
    return cron


def _check_field(word: re.Match[str], field: _Field) -> None:
    offset = word.start()
    for item in word.group().split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise CronError(f"{item!r} is no {field.name}", offset=offset, expected=field.expected)
        ends = [_number(text, field, offset) for text in (match["first"], match["last"]) if text]
        if field.names is _WEEKDAYS and len(ends) == 2 and ends[0] > ends[1] == 0:
            ends[1] = 7
        if len(ends) == 2 and ends[0] > ends[1]:
            raise CronError(f"{item!r} ends before it begins", offset=offset, expected="for example 1-5")
        if match["step"] and not 1 <= int(match["step"]) <= field.high:
            raise CronError(f"{item!r} has an impossible step", offset=offset, expected=f"1 to {field.high}")
        offset += len(item) + 1


def _number(text: str, field: _Field, offset: int) -> int:
    number = int(text) if text.isdigit() else field.names.get(text.lower())
    if number is None or not field.low <= number <= field.high:
        raise CronError(f"{text!r} is no {field.name}", offset=offset, expected=field.expected)
    return number


def zone_names() -> frozenset[str]:
    """Return the names of all time zones."""
    return _zone_names()


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of this exact name. Raises ZoneError."""
    if name not in _zone_names():
        raise ZoneError(f"{name[:80]!r} is no time zone; expected an IANA name such as Europe/Berlin")
    return ZoneInfo(name)


def next_after(cron: Cron, zone: ZoneInfo, instant: datetime) -> datetime:
    """Return the first time after ``instant`` (aware) that cron names on the zone's wall clock, in UTC."""
    wall = instant.astimezone(zone).replace(tzinfo=None, fold=0)
    for _ in range(_SKIPPED_AT_MOST):
        wall = _next_wall(cron, wall)
        found = at_wall_clock(wall, zone)
        if found > instant:
            return found
    raise CronError(f"{cron.text} has no next time in {zone.key} after {instant.isoformat()}")


def at_wall_clock(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant, in UTC, at which the zone's clocks show ``wall`` (naive).

    The first one where they show it twice; the end of the gap where they never do.
    """
    before, after = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if before.astimezone(zone).replace(tzinfo=None) == wall:
        return before
    lost, found = after, before
    while found - lost > timedelta(seconds=1):
        middle = lost + timedelta(seconds=(found - lost) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == lost.astimezone(zone).utcoffset():
            lost = middle
        else:
            found = middle
    return found


def _next_wall(cron: Cron, wall: datetime) -> datetime:
    found: datetime = croniter(cron.text, wall, ret_type=datetime).get_next()
    return found
