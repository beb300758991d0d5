"""Guards: every reason not to act now, each a small function that gives a named verdict.

They are asked when the plan is written and again in the transaction that starts the run, on facts read under locks,
so that no two replicas can pass one between them. What cannot be read raises, and what raises does not start.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from hdr_responder.domain.runs import GuardVerdict
from hdr_responder.engine.guards.consent import approval
from hdr_responder.engine.guards.news import staleness
from hdr_responder.engine.guards.question import ASK_AGAIN, Guard, Question, verdict
from hdr_responder.engine.guards.rates import budget, cooldown, target
from hdr_responder.engine.guards.switches import hold, pause, resolved

log = structlog.get_logger(__name__)

STARTS_SEEN_FOR = timedelta(days=7)
"""How far back starts are read for budgets; `check` refuses longer periods."""

GUARDS: tuple[Guard, ...] = (pause, hold, resolved, approval, staleness, cooldown, budget, target)
"""All guards, in the order in which people read them; every one is asked every time."""


def ask(question: Question) -> tuple[GuardVerdict, ...]:
    """Ask every guard; one that cannot decide refuses."""
    return tuple(_answer(guard, question) for guard in GUARDS)


def unreadable(error: Exception, now: datetime) -> GuardVerdict:
    """Return the refusal for facts that could not be read: what cannot be read blocks."""
    return verdict("facts", False, f"what the guards ask could not be read: {error}"[:500], now + ASK_AGAIN)


def is_over(verdict: GuardVerdict) -> bool:
    """Tell whether this refusal says that the run is no longer needed, rather than that it has to wait."""
    return verdict.guard == "resolved" and not verdict.allowed and verdict.ask_again_at is None


def _answer(guard: Guard, question: Question) -> GuardVerdict:
    try:
        return guard(question)
    except Exception as error:
        name = guard.__name__
        log.exception("guard_failed", guard=name)
        return verdict(name, False, f"it could not be decided ({type(error).__name__})", question.now + ASK_AGAIN)


__all__ = ["ASK_AGAIN", "GUARDS", "STARTS_SEEN_FOR", "Guard", "Question", "ask", "is_over", "unreadable"]
