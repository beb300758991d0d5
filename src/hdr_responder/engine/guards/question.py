"""What every guard is asked, and how it answers: a verdict with a named reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hdr_responder.documents.calendar import Calendar
from hdr_responder.documents.guard_rules import Guards
from hdr_responder.domain.guards import GuardFacts
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.runs import GuardVerdict, Mode, Run
from hdr_responder.domain.survey import Survey

ASK_AGAIN = timedelta(minutes=1)
"""When a refusal is asked again whose end nothing announces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a guard is asked about."""

    run: Run
    incident: Incident
    """The run's incident, locked."""
    rules: Guards
    facts: GuardFacts
    cap: Mode
    """The most that the environment allows now; it may have become stricter since the run was planned."""
    survey: Survey
    """What the outside says, asked just before the transaction."""
    calendar: Calendar

    @property
    def now(self) -> datetime:
        """The present."""
        return self.facts.now

    @property
    def approved(self) -> bool:
        """Whether enough people agreed."""
        people = {a.person for a in self.run.approvals if a.decision == "approve"}
        return len(people) >= self.rules.approval.approvers


Guard = Callable[[Question], GuardVerdict]


def verdict(guard: str, allowed: bool, reason: str, ask_again_at: datetime | None = None) -> GuardVerdict:
    """Return a guard's answer."""
    return GuardVerdict(guard=guard, allowed=allowed, reason=reason, ask_again_at=ask_again_at)


def whole(duration: timedelta) -> timedelta:
    """Return a duration for people: in whole seconds, at least one."""
    return timedelta(seconds=max(1, round(duration.total_seconds())))
