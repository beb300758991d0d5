"""Holds a run that a guard refuses: the reason on the timeline, in the channel and in the metric, and an end to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue

from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import GuardVerdict, Run, RunStatus
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine import guards
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.measures import Measures
from hdr_responder.engine.telling import Telling

MAX_HELD = timedelta(hours=1)
"""How long guards may hold a run before a person is asked, counted from the opening where it waits for a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Holds runs."""

    escalation: Escalation
    measures: Measures

    async def hold(self, told: Telling, run: Run, refused: Sequence[GuardVerdict]) -> None:
        """Hold the run for these refusals; it is asked again when the last of those that end by the clock does.

        A refusal that an event ends (resume, approval) keeps the clock from asking; the event does.
        """
        waits = all(guards.waits_for_a_word(v) for v in refused)
        status = RunStatus.AWAITING_APPROVAL if waits else RunStatus.HELD
        changed = _kinds(run.plan.verdicts) != _kinds(refused) or run.status is not status
        times = [v.ask_again_at for v in refused if v.ask_again_at]
        run.ask_again_at = max(times) if len(times) == len(refused) else None
        run.plan = run.plan.model_copy(
            update={"verdicts": tuple(refused), "refused_since": _since(run, refused, told.ledger.now)}
        )
        run.move(status, "; ".join(f"{v.guard}: {v.reason}" for v in refused), at=told.ledger.now)
        waits_until = [v.wait_until + MAX_HELD for v in refused if v.wait_until]
        run.expires_at = max([run.expires_at or told.ledger.now + MAX_HELD, *waits_until])
        await told.tx.runs.save(run)
        if run.ask_again_at:
            told.ledger.wake(Job.START, str(run.id), after=max(run.ask_again_at - told.ledger.now, timedelta(0)))
        if changed:
            self._tell(told, run, refused, waits=waits)

    def _tell(self, told: Telling, run: Run, refused: Sequence[GuardVerdict], *, waits: bool) -> None:
        for verdict in refused:
            self.measures.guard_refused(verdict.guard)
        kind = EntryKind.APPROVAL_ASKED if waits else EntryKind.GUARD_REFUSED
        text = f"{run.playbook} {'waits for approval' if waits else 'is held'}: {run.reason}"
        detail: dict[str, JsonValue] = {"guards": {v.guard: v.reason for v in refused}}
        told.ledger.entry(told.incident, kind, text[:1000], run_id=run.id, detail=detail)
        told.ledger.say(told.incident, text[:2000])
        spent = [v.reason for v in refused if v.guard in guards.BUDGETS]
        if spent:
            why = f"{run.playbook} is stopped by a budget: {'; '.join(spent)}"
            self.escalation.escalate(told.incident, told.ledger, why)
        blind = [v.reason for v in refused if v.blind]
        if blind:
            why = f"{run.playbook} cannot look at what it would change: {blind[0]}"[:1000]
            self.escalation.escalate(told.incident, told.ledger, why)
        protected = [v.reason for v in refused if v.guard == "protected"]
        if protected:
            why = f"{run.playbook} may not touch what it is for: {protected[0]}"[:1000]
            self.escalation.escalate(told.incident, told.ledger, why)
        for verdict in refused:
            if verdict.guard == "breaker" and guards.waits_for_a_word(verdict):
                why = f"{run.playbook} is not repeated by itself any more: {verdict.reason}"
                self.escalation.escalate(told.incident, told.ledger, why)


def _since(run: Run, refused: Sequence[GuardVerdict], now: datetime) -> dict[str, datetime]:
    """Return since when each guard refuses without a break; facts that could not be read make none."""
    before = run.plan.refused_since
    unread = any(v.guard == guards.FACTS for v in refused)
    return (before if unread else {}) | {v.guard: before.get(v.guard, now) for v in refused}


def _kinds(verdicts: Sequence[GuardVerdict]) -> set[tuple[str, bool]]:
    """Return what is told anew when it changes: who refuses, and whether the clock ends it."""
    return {(v.guard, v.ask_again_at is None) for v in verdicts}
