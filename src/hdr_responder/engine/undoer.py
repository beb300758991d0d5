"""The undoer: takes temporary changes back when their time is up, and those of a run that did not help.

Undo touches only what still holds what we wrote; what somebody changed since is left alone and a person decides. It
may be repeated safely, so a crash in between costs nothing. Pause and hold keep it waiting as they do everything else,
unless a person forces it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from hdr_responder.actions.contract import Undone
from hdr_responder.documents.compiled import CompiledStep
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.ports.store import Job, Transaction
from hdr_responder.domain.runs import Run, RunStatus, Step
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.changing import announced, limited
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.engine.lease import LeaseSettings, held
from hdr_responder.engine.settling import give_back_targets
from hdr_responder.engine.telling import Telling
from hdr_responder.engine.workbench import UnrecordedError, Workbench
from hdr_responder.errors import AmbiguousError, ConfigError, FencedError, HdrError, TemporaryError

log = structlog.get_logger(__name__)

AGAIN = timedelta(seconds=30)
GIVE_UP_AFTER = timedelta(hours=1)
"""How long a target that does not answer is tried before a person has to take the change back."""


class Undoer:
    """Undoes what is due."""

    def __init__(self, bench: Workbench, lease: LeaseSettings | None = None) -> None:
        self._bench = bench
        self._lease = lease or LeaseSettings()

    async def undo(self, run_id: uuid.UUID) -> None:
        """Undo the run's due changes in reverse order, unless it is paused or held or the target is taken."""
        bench = self._bench
        async with bench.store.transaction() as tx:
            fence = await self._take(tx, run_id)
            if fence is None:
                return
            run, steps = await tx.runs.get(run_id), await tx.runs.steps(run_id)
        with structlog.contextvars.bound_contextvars(run=str(run_id), incident=f"INC-{run.incident_id}"):
            try:
                await held(self._undo_due(run, steps), run, bench, self._lease, asyncio.Event())
            except (FencedError, UnrecordedError) as error:
                log.warning("undo_lost", reason=str(error))
                return
            async with bench.store.transaction() as tx:
                await tx.runs.release_lease(run_id, bench.owner, fence)

    async def _take(self, tx: Transaction, run_id: uuid.UUID) -> int | None:
        """Take the run and its targets when something is due and nothing forbids it; return the fencing token."""
        run, now = await tx.runs.get(run_id, lock=True), self._bench.clock.now()
        waiting = [s for s in await tx.runs.steps(run_id) if _is_waiting(s)]
        if not run.status.is_ended or not waiting:
            return None
        if not any(_is_due(s, now) for s in waiting):
            first = min(s.undo_at for s in waiting if s.undo_at)
            await tx.wake(Job.UNDO, [str(run_id)], first - now)
            return None
        if await self._forbidden(tx, run):
            return None
        if not await tx.runs.lock_targets(run_id, [t.key for t in run.plan.targets]):
            await tx.wake(Job.UNDO, [str(run_id)], AGAIN)
            return None
        return await tx.runs.lease(run_id, self._bench.owner, self._lease.duration)

    async def _forbidden(self, tx: Transaction, run: Run) -> bool:
        """Tell whether a switch keeps it waiting; a person who forces the undo passes them all."""
        switches = await tx.runs.switches(run, now=self._bench.clock.now())
        return run.undo_forced_by is None and (switches.pause.engaged or switches.hold is not None)

    async def _undo_due(self, run: Run, steps: list[Step]) -> None:
        due = [s for s in reversed(steps) if _is_due(s, self._bench.clock.now())]
        try:
            frozen = FrozenRun(run, self._bench.registry)
        except ConfigError as error:
            for step in due:
                await self._record(run, steps, step, f"failed: {error}", escalate=True)
            return
        for step in due:
            if not await self._may_begin(run):
                return
            await self._undo_step(run, frozen, steps, step)

    async def _may_begin(self, run: Run) -> bool:
        """Tell whether the next step may be undone: not when automation was paused or held meanwhile."""
        async with self._bench.recording() as tx:
            return not await self._forbidden(tx, run)

    async def _undo_step(self, run: Run, frozen: FrozenRun, steps: Sequence[Step], step: Step) -> None:
        compiled = frozen.playbook.step(step.step_id)
        assert compiled.mutation is not None
        assert step.state is not None
        ctx = self._bench.context(run, frozen, step.step_id)
        try:
            params = compiled.action.parameters.model_validate(step.parameters)
            undone = await limited(compiled, compiled.mutation.undo(ctx, params, step.state))
        except FencedError:
            raise
        except (TemporaryError, AmbiguousError) as error:
            return await self._again(run, steps, step, compiled, error)
        except HdrError as error:
            return await self._record(run, steps, step, f"failed: {error}", escalate=True)
        except Exception as error:
            log.exception("undo_crashed", step=step.step_id)
            return await self._record(run, steps, step, f"failed: unexpected {type(error).__name__}", escalate=True)
        untold = ""
        if undone is Undone.UNDONE:
            untold = await announced(compiled.mutation, ctx, params, step.state, undone=True)
        await self._record(run, steps, step, undone, escalate=undone is Undone.DRIFTED, note=untold)

    async def _again(
        self, run: Run, steps: Sequence[Step], step: Step, compiled: CompiledStep, error: HdrError
    ) -> None:
        log.warning("undo_retried", step=step.step_id, error=str(error))
        late = self._bench.clock.now() - await self._first_due(run, step, compiled)
        if late >= GIVE_UP_AFTER:
            text = f"failed: not possible for {format_duration(GIVE_UP_AFTER)}: {error}"
            return await self._record(run, steps, step, text, escalate=True)
        async with self._bench.telling(run) as told:
            step.undo_at = told.ledger.now + AGAIN
            await told.tx.runs.save_step(run, step)
            told.ledger.wake(Job.UNDO, str(run.id), after=AGAIN)
            await self._let_go(told, run, steps)
            if late < AGAIN:
                text = f"Undo of step {step.step_id} is tried again: {error}"[:1000]
                told.ledger.entry(told.incident, EntryKind.PROBLEM, text, run_id=run.id)

    async def _first_due(self, run: Run, step: Step, compiled: CompiledStep) -> datetime:
        """Return when the change was first to be taken back."""
        due = _first_due(run, step, compiled)
        if run.undo_forced_at is not None or not compiled.ends_with_incident:
            return due
        async with self._bench.store.transaction() as tx:
            resolved_at = (await tx.incidents.get(run.incident_id)).resolved_at
        return max(due, resolved_at or due)

    async def _record(
        self, run: Run, steps: Sequence[Step], step: Step, undone: str, *, escalate: bool, note: str = ""
    ) -> None:
        async with self._bench.telling(run) as told:
            step.undone = str(undone)[:1000]
            await told.tx.runs.save_step(run, step)
            await self._let_go(told, run, steps)
            text = f"Undo of step {step.step_id}: {undone}{f' ({note})' if note else ''}"[:1000]
            told.ledger.entry(told.incident, EntryKind.UNDONE, text, run_id=run.id)
            told.ledger.say(told.incident, text)
            if escalate:
                why = "somebody changed it since" if undone == Undone.DRIFTED else "it could not be taken back"
                self._bench.escalation.escalate(told.incident, told.ledger, f"{text}: {why}")

    async def _let_go(self, told: Telling, run: Run, steps: Sequence[Step]) -> None:
        """Give the targets back once nothing is due; a run that failed keeps them until all of it is taken back."""
        now = told.ledger.now
        kept = any(_is_waiting(s) if run.status is RunStatus.FAILED else _is_due(s, now) for s in steps)
        if not kept:
            await give_back_targets(told.tx, told.ledger, run.id)


def _is_waiting(step: Step) -> bool:
    return step.undo_at is not None and step.undone is None and step.state is not None


def _is_due(step: Step, now: datetime) -> bool:
    return _is_waiting(step) and step.undo_at is not None and step.undo_at <= now


def _first_due(run: Run, step: Step, compiled: CompiledStep) -> datetime:
    """Return when the change was first to be taken back, judged by the run alone."""
    assert run.ended_at is not None
    if run.undo_forced_at is not None:
        return run.undo_forced_at
    after = compiled.model.for_
    if run.status is RunStatus.FAILED or after is None or step.ended_at is None:
        return run.ended_at
    return max(run.ended_at, step.ended_at + after)
