"""The undoer: takes temporary changes back when their time is up, and those of a run that did not help.

Undo touches only what still holds what we wrote; what somebody changed since is left alone and a person decides. It
may be repeated safely, so a crash in between costs nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime, timedelta

import structlog

from hdr_responder.actions.contract import Undone
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import ACTIVE, Run, RunStatus, Step
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.engine.workbench import Workbench
from hdr_responder.errors import FencedError, HdrError, TemporaryError

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=60)
AGAIN = timedelta(seconds=30)


class Undoer:
    """Undoes what is due."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    async def undo(self, run_id: uuid.UUID) -> None:
        """Undo the run's due changes in reverse order, unless automation is paused or the target is taken."""
        bench = self._bench
        async with bench.store.transaction() as tx:
            run = await tx.runs.get(run_id, lock=True)
            if (await tx.controls.pause_state()).engaged or run.status in ACTIVE:
                return
            if not await tx.runs.lock_targets(run_id, [t.key for t in run.plan.targets]):
                await tx.wake(Job.UNDO, [str(run_id)], AGAIN)
                return
            fence = await tx.runs.lease(run_id, bench.owner, LEASE)
            if fence is None:
                return
            run = await tx.runs.get(run_id)
        with structlog.contextvars.bound_contextvars(run=str(run_id), incident=f"INC-{run.incident_id}"):
            try:
                await self._undo_due(run)
            except FencedError as error:
                log.warning("undo_lost", reason=str(error))
                return
            async with bench.telling(run) as told:
                steps = await told.tx.runs.steps(run_id)
                retrying = run.status is RunStatus.FAILED and any(_is_waiting(s) for s in steps)
                if not retrying:
                    await bench.release(told, run)
                await told.tx.runs.release_lease(run_id, bench.owner, fence)

    async def _undo_due(self, run: Run) -> None:
        frozen = FrozenRun(run, self._bench.registry)
        async with self._bench.store.transaction() as tx:
            steps = await tx.runs.steps(run.id)
        for step in reversed(steps):
            if _is_due(step, self._bench.clock.now()):
                await self._undo_step(run, frozen, step)

    async def _undo_step(self, run: Run, frozen: FrozenRun, step: Step) -> None:
        compiled = frozen.playbook.step(step.step_id)
        assert compiled.mutation is not None
        assert step.state is not None
        ctx = self._bench.context(run, frozen, step.step_id)
        params = compiled.action.parameters.model_validate(step.parameters)
        try:
            async with asyncio.timeout(compiled.timeout.total_seconds()):
                await compiled.mutation.claim(ctx, params)
                undone = await compiled.mutation.undo(ctx, params, step.state)
        except FencedError:
            raise
        except (TemporaryError, TimeoutError) as error:
            log.warning("undo_retried", step=step.step_id, error=str(error))
            return await self._again(run, step)
        except HdrError as error:
            return await self._record(run, step, f"failed: {error}", escalate=True)
        await self._record(run, step, undone, escalate=undone is Undone.DRIFTED)

    async def _again(self, run: Run, step: Step) -> None:
        async with self._bench.telling(run) as told:
            step.undo_at = told.ledger.now + AGAIN
            await told.tx.runs.save_step(run, step)
            told.ledger.wake(Job.UNDO, str(run.id), after=AGAIN)

    async def _record(self, run: Run, step: Step, undone: str, *, escalate: bool) -> None:
        async with self._bench.telling(run) as told:
            step.undone = str(undone)
            await told.tx.runs.save_step(run, step)
            text = f"Undo of step {step.step_id}: {undone}"[:1000]
            told.ledger.entry(told.incident, EntryKind.UNDONE, text, run_id=run.id)
            told.ledger.say(told.incident, text)
            if escalate:
                why = "somebody changed it since" if undone == Undone.DRIFTED else "it could not be taken back"
                self._bench.escalation.escalate(told.incident, told.ledger, f"{text}: {why}")


def _is_waiting(step: Step) -> bool:
    return step.undo_at is not None and step.undone is None and step.state is not None


def _is_due(step: Step, now: datetime) -> bool:
    return _is_waiting(step) and step.undo_at is not None and step.undo_at <= now
