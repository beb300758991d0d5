"""The calendar: when automation must not act, and when alone it may (change freezes, maintenance windows)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, WithJsonSchema

from hdr_responder.documents.findings import Finding, unknown
from hdr_responder.documents.problems import nearest, shown
from hdr_responder.documents.source import Loc
from hdr_responder.documents.strict import Document, Environment, Name, Strict, Text
from hdr_responder.domain.calendars import CronError, Recurring, at_wall_clock, parse_cron, zone, zone_names
from hdr_responder.domain.durations import Duration, format_duration

_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?$"


def _moment(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and re.fullmatch(_MOMENT, value)):
        return value
    raise ValueError(
        f"{shown(value)!r} is no moment; expected for example 2026-12-20T18:00, on the calendar's clock, or "
        "2026-12-20T18:00+01:00"
    )


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "pattern": _MOMENT, "examples": ["2026-12-20T18:00", "2026-12-20T17:00Z"]}),
]
"""A day with its time of day; without an offset it is on the clock of the entry's time zone."""


class Freeze(Strict):
    """A change freeze: in it automation changes nothing by itself. What only reads goes on."""

    name: Name
    reason: Text
    from_: Annotated[Moment, Field(alias="from")]
    until: Moment
    """Its end, which is no longer in it."""
    time_zone: str | None = None
    """Zone of times that carry no offset; None for the calendar's."""
    services: tuple[str, ...] = ()
    """Which services; none named means all."""
    environments: tuple[Environment, ...] = ()
    """In which environments; none named means in all."""
    allows: Literal["nothing", "approve"] = "approve"
    """``approve``: what a person approves may go on; ``nothing``: it waits for the end."""


class Window(Strict):
    """A recurring window of time."""

    name: Name
    schedule: Text
    """When it opens, as cron (five fields: minute, hour, day of month, month, day of week)."""
    lasts: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=7))]
    time_zone: str | None = None
    """Zone of ``schedule``; None for the calendar's."""
    services: tuple[str, ...] = ()
    """Which services ``maintenance`` is about; none named means all."""
    maintenance: StrictBool = False
    """Work is done in it that causes alerts: automatic remediation is off (manual D6)."""


class Calendar(Document):
    """The calendar document; without the file it is empty."""

    kind: Literal["Calendar"]
    time_zone: str = "UTC"
    """Zone of everything that names none of its own, the schedules of playbooks included."""
    freezes: tuple[Freeze, ...] = ()
    windows: tuple[Window, ...] = ()

    def window(self, name: str) -> Recurring | None:
        """Return the window of this name, None when there is none."""
        return next((r for w, r in self._recurring if w.name == name), None)

    def freezes_at(self, instant: datetime, *, service: str, environment: str) -> list[tuple[Freeze, datetime]]:
        """Return the freezes of a service (empty for none in particular) at ``instant``, each with its end."""
        return [
            (freeze, until)
            for freeze, since, until in self._frozen
            if since <= instant < until
            and (not freeze.services or service in freeze.services)
            and (not freeze.environments or environment in freeze.environments)
        ]

    def maintenance_at(self, instant: datetime, *, service: str) -> tuple[Window, datetime] | None:
        """Return the maintenance window of a service that is open at ``instant`` and ends last, with its end."""
        meant = [
            (window, recurring.open_until(instant))
            for window, recurring in self._recurring
            if window.maintenance and (not window.services or service in window.services)
        ]
        found = [(window, until) for window, until in meant if until is not None]
        return max(found, key=lambda each: each[1], default=None)

    def findings(self) -> list[Finding]:
        """Return what the models alone cannot see: unknown zones, bad cron, names twice, times in the wrong order."""
        found = zone_finding(("time_zone",), self.time_zone)
        return [
            *([found] if found else []),
            *_taken_twice("freezes", [f.name for f in self.freezes]),
            *_taken_twice("windows", [w.name for w in self.windows]),
            *(f for i, freeze in enumerate(self.freezes) for f in self._freeze(freeze, ("freezes", i))),
            *(f for i, window in enumerate(self.windows) for f in self._window(window, ("windows", i))),
        ]

    def unknown_services(self, known: Iterable[str]) -> list[Finding]:
        """Return a finding for every service that is named here and is not among the known ones."""
        names = set(known)
        named = [
            *((("freezes", i), freeze.services) for i, freeze in enumerate(self.freezes)),
            *((("windows", i), window.services) for i, window in enumerate(self.windows)),
        ]
        return [
            unknown((*at, "services", j), "service", service, names)
            for at, services in named
            for j, service in enumerate(services)
            if service not in names
        ]

    @cached_property
    def _frozen(self) -> tuple[tuple[Freeze, datetime, datetime], ...]:
        return tuple((f, self._instant(f, f.from_), self._instant(f, f.until)) for f in self.freezes)

    @cached_property
    def _recurring(self) -> tuple[tuple[Window, Recurring], ...]:
        return tuple((w, self._recurs(w)) for w in self.windows)

    def _recurs(self, window: Window) -> Recurring:
        return Recurring(
            cron=parse_cron(window.schedule), zone=zone(window.time_zone or self.time_zone), lasts=window.lasts
        )

    def _instant(self, freeze: Freeze, moment: datetime) -> datetime:
        if moment.utcoffset() is not None:
            return moment.astimezone(UTC)
        return at_wall_clock(moment, zone(freeze.time_zone or self.time_zone))

    def _freeze(self, freeze: Freeze, at: Loc) -> Iterator[Finding]:
        found = zone_finding((*at, "time_zone"), freeze.time_zone)
        if found:
            yield found
        elif (freeze.time_zone or self.time_zone) in zone_names():
            since, until = self._instant(freeze, freeze.from_), self._instant(freeze, freeze.until)
            if until <= since:
                message = "until must be later than from"
                yield Finding(loc=(*at, "until"), message=message, value=freeze.until.isoformat(timespec="minutes"))

    def _window(self, window: Window, at: Loc) -> Iterator[Finding]:
        found = [zone_finding((*at, "time_zone"), window.time_zone), cron_finding((*at, "schedule"), window.schedule)]
        yield from (f for f in found if f)
        if not window.maintenance and window.services:
            message = "services has a meaning with 'maintenance: true' only"
            yield Finding(loc=(*at, "services"), message=message, at_key=True)
        if any(found) or (window.time_zone or self.time_zone) not in zone_names():
            return
        again = self._recurs(window).overlap()
        if again is not None:
            message = f"the window overlaps itself: it opens again after {format_duration(again)}"
            yield Finding(loc=(*at, "lasts"), message=message, value=format_duration(window.lasts))


def zone_finding(loc: Loc, name: str | None) -> Finding | None:
    """Return the finding for a name that is no time zone; None is none."""
    if name is None or name in zone_names():
        return None
    suggestion = nearest(name, [known for known in zone_names() if "/" in known or known == "UTC"])
    expected = None if suggestion else "an IANA name such as Europe/Berlin"
    return Finding(loc=loc, message="unknown time zone", value=shown(name), expected=expected, suggestion=suggestion)


def cron_finding(loc: Loc, text: str) -> Finding | None:
    """Return the finding for a text that is not cron, or that never comes."""
    try:
        parse_cron(text)
    except CronError as error:
        return Finding(loc=loc, message=error.detail, value=shown(text), expected=error.expected, offset=error.offset)
    return None


def _taken_twice(kind: str, names: list[str]) -> Iterator[Finding]:
    for i, name in enumerate(names):
        if name in names[:i]:
            message = f"the name is taken by entry {names.index(name) + 1} of {kind}"
            yield Finding(loc=(kind, i, "name"), message=message, value=name)


EMPTY = Calendar.model_validate({"apiVersion": "hdr-responder/v1", "kind": "Calendar"})
