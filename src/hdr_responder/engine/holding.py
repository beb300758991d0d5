"""Holds a run that a guard refuses: the reason on the timeline, in the channel and in the metric, and an end to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import JsonValue

from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import GuardVerdict, Run, RunStatus
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.measures import Measures
from hdr_responder.engine.telling import Telling

MAX_HELD = timedelta(hours=1)
"""How long guards may hold a run before a person is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Holds runs."""

    escalation: Escalation
    measures: Measures

    async def hold(self, told: Telling, run: Run, refused: Sequence[GuardVerdict]) -> None:
        """Hold the run for these refusals; it is asked again when the last of those that end by the clock does.

        A refusal that an event ends (resume, approval) keeps the clock from asking; the event does.
        """
        waits = all(v.guard == "approval" for v in refused)
        status = RunStatus.AWAITING_APPROVAL if waits else RunStatus.HELD
        changed = {v.guard for v in run.plan.verdicts} != {v.guard for v in refused} or run.status is not status
        times = [v.ask_again_at for v in refused if v.ask_again_at]
        run.ask_again_at = max(times) if len(times) == len(refused) else None
        run.plan = run.plan.model_copy(update={"verdicts": tuple(refused)})
        run.status, run.reason = status, "; ".join(f"{v.guard}: {v.reason}" for v in refused)
        run.expires_at = run.expires_at or told.ledger.now + MAX_HELD
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
        if any(v.guard == "budget" for v in refused):
            why = f"{run.playbook} has used up its budget on this target"
            self.escalation.escalate(told.incident, told.ledger, why)
