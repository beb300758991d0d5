"""What every guard is asked, and how it answers: a verdict with a named reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hdr_responder.documents.calendar import Calendar
from hdr_responder.documents.guard_rules import ApprovalRule, Guards
from hdr_responder.domain.guards import GuardFacts
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.reach import Reach
from hdr_responder.domain.runs import GuardVerdict, Mode, Run
from hdr_responder.domain.survey import Survey

_ACCOUNT = re.compile(r" \((?P<account>[a-z]+:[^()\s]+)\)$")

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
    """The most that the environment allows now for this priority; it may have become stricter since the plan."""
    survey: Survey
    """What the outside says, asked just before the transaction."""
    calendar: Calendar
    environment: str
    reach: Reach
    """What may be touched at all, by the present catalogue."""
    gate: ApprovalRule | None = None
    """Who must agree at the ``approve`` step that the run stands at."""
    beforehand: bool = False
    """Whether it is asked about a plan, at no time in particular."""

    @property
    def now(self) -> datetime:
        """The present."""
        return self.facts.now

    @property
    def again(self) -> datetime | None:
        """When to ask again what nothing announces the end of; None beforehand."""
        return None if self.beforehand else self.now + ASK_AGAIN

    @property
    def approval(self) -> ApprovalRule:
        """Who must agree to what the run stands at: its start, or one of its ``approve`` steps."""
        return self.gate or self.rules.approval

    @property
    def approved(self) -> bool:
        """Whether enough people agreed to what the run stands at."""
        return len(self.consents()) >= self.approval.approvers

    def consents(self, since: datetime | None = None) -> frozenset[str]:
        """Return the people who agreed to it, at ``since`` or later, and whose word counts."""
        agreed = self.run.approvers
        if since is not None:
            agreed &= {a.person for a in self.run.approvals if a.at >= since and a.gate == self.run.gate}
        if not needs_another(self.run, self.incident.priority):
            return agreed
        return frozenset(person for person in agreed if not same_person(person, self.run.requested_by))


def needs_another(run: Run, priority: Priority) -> bool:
    """Tell whether somebody else than the one who asked for the run has to agree: destructive at P1 is never alone."""
    destructive = any(step.mutates and step.destructive for step in run.plan.steps)
    return run.requested_by is not None and priority is Priority.P1 and destructive


def same_person(one: str, other: str | None) -> bool:
    """Tell whether two names may be one person's; the account behind a name counts where both tell it."""
    if other is None:
        return False
    (name, account), (other_name, other_account) = _parts(one), _parts(other)
    return name == other_name and (account == other_account or not account or not other_account)


def _parts(person: str) -> tuple[str, str]:
    """Return a name and the account that is kept with it (``alice (slack:U1)``)."""
    found = _ACCOUNT.search(person)
    name = person[: found.start()] if found else person
    return name.strip().casefold(), found["account"] if found else ""


Guard = Callable[[Question], GuardVerdict]


def verdict(guard: str, allowed: bool, reason: str, ask_again_at: datetime | None = None) -> GuardVerdict:
    """Return a guard's answer."""
    return GuardVerdict(guard=guard, allowed=allowed, reason=reason, ask_again_at=ask_again_at)


def whole(duration: timedelta) -> timedelta:
    """Return a duration for people: in whole seconds, at least one."""
    return timedelta(seconds=max(1, round(duration.total_seconds())))
