"""The calendar: when automation must not act, and when alone it may (change freezes, maintenance windows)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from hdr_responder.documents.strict import Document, Environment, Name, Strict, Text
from hdr_responder.domain.durations import Duration


class Freeze(Strict):
    """A change freeze: in it automation changes nothing by itself."""

    name: Name
    reason: Text
    from_: Annotated[datetime, Field(alias="from")]
    until: datetime
    time_zone: str | None = None
    """Zone of times that carry no offset; None for the calendar's."""
    services: tuple[str, ...] = ()
    """Which services; none named means all."""
    environments: tuple[Environment, ...] = ()
    allows: Literal["nothing", "approve"] = "approve"
    """``approve``: what a person approves may go on; ``nothing``: it waits for the end."""


class Window(Strict):
    """A recurring window of time."""

    name: Name
    schedule: str
    """When it opens, as cron (five fields)."""
    lasts: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=7))]
    time_zone: str | None = None
    services: tuple[str, ...] = ()
    """Which services ``maintenance`` is about; none named means all."""
    maintenance: bool = False
    """Work is done in it that causes alerts: automatic remediation is off (manual D6)."""


class Calendar(Document):
    """The calendar document; without the file it is empty."""

    kind: Literal["Calendar"]
    time_zone: str = "UTC"
    freezes: tuple[Freeze, ...] = ()
    windows: tuple[Window, ...] = ()


EMPTY = Calendar.model_validate({"apiVersion": "hdr-responder/v1", "kind": "Calendar"})
