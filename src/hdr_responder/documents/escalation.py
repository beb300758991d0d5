"""Escalation: who is there, who is paged when, and how long an incident lives."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from hdr_responder.documents.findings import Finding
from hdr_responder.documents.matching import compile_matchers
from hdr_responder.documents.strict import Document, MatchList, Name, Strict, Text
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.matchers import Labels, MatcherSet, parse_matcher_set
from hdr_responder.domain.priorities import Priority


class Group(Strict):
    """People who answer for something together; members are named as in the API's tokens."""

    members: Annotated[tuple[Text, ...], Field(min_length=1)]


class Paging(Strict):
    """When an incident of this priority pages."""

    after: Duration
    unless: Literal["verified"] | None = None
    """``verified``: not when automation has proved by then that it helped."""


class Watchdog(Strict):
    """The alert that always fires: when a source's copy stays away, its way to us is broken (a dead man's switch)."""

    match: MatchList
    within: Duration

    @cached_property
    def _matchers(self) -> MatcherSet:
        return parse_matcher_set(self.match)

    def matches(self, labels: Labels) -> bool:
        """Tell whether this alert is the watchdog; it opens no incident."""
        return self._matchers.matches(labels)


class Lifecycle(Strict):
    """How long an incident lives."""

    reopen_window: Duration = timedelta(hours=1)
    """A firing this soon after the resolution reopens the incident, a later one opens a new one."""
    close_after: Duration = timedelta(days=7)
    """A resolved incident is closed after this long."""
    still_firing_after: Duration = timedelta(minutes=15)
    """A remediation that was verified while the alerts fire on for this long goes to a person after all."""


class EscalationPolicy(Document):
    """The escalation document."""

    kind: Literal["Escalation"]
    groups: Annotated[dict[Name, Group], Field(min_length=1)]
    paging: dict[Priority, Paging]
    """Priorities that are not named never page."""
    acknowledge_within: Duration = timedelta(minutes=5)
    """How long a page may stay unanswered before it goes further (manual P10)."""
    watchdog: Watchdog | None = None
    incidents: Lifecycle = Lifecycle()

    def members(self, group: str) -> tuple[str, ...]:
        """Return who is in a group; nobody for an unknown one."""
        return self.groups[group].members if group in self.groups else ()

    def page_after(self, priority: Priority) -> timedelta | None:
        """Return how long after its beginning an incident pages, None for never."""
        rule = self.paging.get(priority)
        return rule.after if rule else None

    def findings(self) -> list[Finding]:
        """Return what the models alone cannot see: invalid matchers, and members named twice."""
        found = compile_matchers(self.watchdog.match, ("watchdog", "match"))[1] if self.watchdog else []
        return [*found, *self._members_twice()]

    def _members_twice(self) -> Iterable[Finding]:
        for name, group in self.groups.items():
            for i, member in enumerate(group.members):
                if member in group.members[:i]:
                    yield Finding(loc=("groups", name, "members", i), message="member is named twice", value=member)
