"""What requests to the API may carry."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AwareDatetime, Field, StrictBool, StrictFloat, StrictInt

from hdr_responder.adapters.http.endpoint import Input
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.incidents import IncidentStatus
from hdr_responder.domain.ports.records import MAX_PAGE, PageRequest
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import RunStatus
from hdr_responder.errors import InvalidInputError

DEFAULT_PERIOD = timedelta(days=7)
"""What a report covers unless told."""

Line = Annotated[str, Field(min_length=1, max_length=500)]
Text = Annotated[str, Field(min_length=1, max_length=10_000)]


class PageQuery(Input):
    """Which page of a listing."""

    limit: Annotated[int, Ge(1), Le(MAX_PAGE)] = 50
    """Most items to return."""
    cursor: Annotated[str | None, Field(max_length=500)] = None
    """`next_cursor` of the page before."""

    @property
    def page(self) -> PageRequest:
        """The page as the records know it."""
        return PageRequest(limit=self.limit, cursor=self.cursor)


class IncidentsQuery(PageQuery):
    """Which incidents; several values are alternatives."""

    status: tuple[IncidentStatus, ...] = ()
    """Only incidents in these statuses."""
    priority: tuple[Priority, ...] = ()
    """Only incidents of these priorities."""
    service: Line | None = None
    """Only incidents of this service."""


class RunsQuery(PageQuery):
    """Which runs."""

    status: tuple[RunStatus, ...] = ()
    """Only runs in these statuses."""


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    status: tuple[Line, ...] = ()
    """Only deliveries in these statuses: received, processed, parked, rejected."""


class ReportQuery(Input):
    """Which period."""

    since: AwareDatetime | None = None
    """Its beginning; absent: seven days before its end."""
    until: AwareDatetime | None = None
    """Its end, excluded; absent: now."""

    def period(self, now: datetime) -> tuple[datetime, datetime]:
        """Return beginning and end; raises InvalidInputError when they are in the wrong order."""
        until = self.until or now
        try:
            since = self.since or until - DEFAULT_PERIOD
        except OverflowError as e:
            raise InvalidInputError("is too early", field="until") from e
        if since >= until:
            raise InvalidInputError("must be before until", field="since")
        return since, until


class ResolveBody(Input):
    """How an incident ended."""

    note: Text | None = None
    """What to write on the timeline about it."""


class LeadBody(Input):
    """Who has command."""

    person: Line | None = None
    """The person who is given command; absent: whoever asks takes it."""


class NoteBody(Input):
    """A note."""

    text: Text
    """What to write on the timeline."""


class RunBody(Input):
    """Which playbook to run."""

    playbook: Line
    """The playbook's name."""
    params: dict[str, StrictBool | StrictInt | StrictFloat | Line] = Field(default_factory=dict, max_length=50)
    """Its params where the defaults do not fit; durations and workloads as text (``30m``, ``deployment/shop``)."""


class PauseBody(Input):
    """Why automation is stopped."""

    reason: Line | None = None
    """Why, for the people who find it stopped."""


class HoldBody(Input):
    """Which service automation keeps away from."""

    service: Line
    """The service's name in the catalogue."""
    duration: Annotated[Duration, Ge(timedelta(0))]
    """How long, for example 30m; 0 ends it."""
    reason: Line | None = None
    """Why."""
