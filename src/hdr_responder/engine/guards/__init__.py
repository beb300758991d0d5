"""Guards: every reason not to act now, each a small function that gives a named verdict.

They are asked when the plan is written and again in the transaction that starts the run, on facts read under locks,
so that no two replicas can pass one between them. What cannot be read raises, and what raises does not start.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from hdr_responder.domain.runs import GuardVerdict
from hdr_responder.engine.guards.breaker import breaker
from hdr_responder.engine.guards.calendar import freeze, maintenance, window
from hdr_responder.engine.guards.consent import approval
from hdr_responder.engine.guards.news import staleness
from hdr_responder.engine.guards.protection import protected
from hdr_responder.engine.guards.question import ASK_AGAIN, Guard, Question, needs_another, same_person, verdict
from hdr_responder.engine.guards.rates import (
    BUDGETS,
    budget,
    cooldown,
    counted,
    effect_budget,
    fleet_budget,
    playbook_budget,
    target,
)
from hdr_responder.engine.guards.surroundings import blast_radius, dependency, gitops, hold_annotation
from hdr_responder.engine.guards.switches import hold, pause, resolved

log = structlog.get_logger(__name__)

FACTS = "facts"
"""The name under which facts refuse that could not be read."""

OF_THE_ALERT = frozenset({"resolved", "staleness"})
"""Guards that ask whether the alert still stands; a run that finishes without it does not ask them."""

GUARDS: tuple[Guard, ...] = (
    protected,
    pause,
    hold,
    hold_annotation,
    freeze,
    window,
    maintenance,
    resolved,
    approval,
    staleness,
    breaker,
    cooldown,
    budget,
    playbook_budget,
    effect_budget,
    fleet_budget,
    blast_radius,
    dependency,
    gitops,
    target,
)
"""All guards, in the order in which people read them; every one is asked every time."""


def ask(question: Question) -> tuple[GuardVerdict, ...]:
    """Ask every guard; one that cannot decide refuses."""
    return tuple(_answer(guard, question) for guard in GUARDS)


def unreadable(error: Exception, now: datetime) -> GuardVerdict:
    """Return the refusal for facts that could not be read: what cannot be read blocks."""
    return verdict(FACTS, False, f"what the guards ask could not be read: {error}"[:500], now + ASK_AGAIN)


def is_over(verdict: GuardVerdict) -> bool:
    """Tell whether this refusal says that the run is no longer needed, rather than that it has to wait."""
    return verdict.guard == "resolved" and not verdict.allowed and verdict.ask_again_at is None


def has_waited_enough(verdict: GuardVerdict) -> bool:
    """Tell whether this refusal says that a person decides now, because what it waited for did not come."""
    return verdict.guard == "dependency" and not verdict.allowed and verdict.ask_again_at is None


def waits_for_a_word(verdict: GuardVerdict) -> bool:
    """Tell whether a person's approval ends this refusal."""
    if verdict.guard == "approval" or verdict.approvable:
        return True
    return verdict.guard == "breaker" and verdict.ask_again_at is None


def _answer(guard: Guard, question: Question) -> GuardVerdict:
    try:
        return guard(question)
    except Exception as error:
        name = guard.__name__
        log.exception("guard_failed", guard=name)
        return verdict(name, False, f"it could not be decided ({type(error).__name__})", question.now + ASK_AGAIN)


__all__ = [
    "ASK_AGAIN",
    "BUDGETS",
    "FACTS",
    "GUARDS",
    "OF_THE_ALERT",
    "Guard",
    "Question",
    "ask",
    "counted",
    "has_waited_enough",
    "is_over",
    "needs_another",
    "same_person",
    "unreadable",
    "waits_for_a_word",
]
