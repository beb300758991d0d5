"""The executor: takes a started run up and brings it as far as it goes, so that nothing is done twice or unrecorded.

A worker holds the run by a lease with a fencing token. For each change: rehearse; commit "started"; raise the fence on
the target; commit what was captured; act once; commit the outcome with its timeline entry. A worker that takes over
and finds "started" without an outcome raises the fence and observes instead of acting (docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import structlog

from hdr_responder.documents.compiled import frame_of
from hdr_responder.documents.playbook_document import ActionStep, CallStep
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import Run, RunStatus, Step, StepStatus, Verification
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.changing import Sleep
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.engine.lease import LeaseSettings, held
from hdr_responder.engine.stepping import NO_LONGER_NEEDED, Interruptions, RunStoppedError, Stepping
from hdr_responder.engine.workbench import UnrecordedError, Workbench
from hdr_responder.errors import ConfigError, FencedError

log = structlog.get_logger(__name__)

MAX_TAKEN = 30
"""How often a run may be taken up beyond once a step, by takeovers and after pauses, before a person has to look."""
_OPEN = frozenset({StepStatus.PENDING, StepStatus.STARTED})
_BAD = frozenset({StepStatus.FAILED, StepStatus.AMBIGUOUS})


class Executor:
    """Executes runs."""

    def __init__(self, bench: Workbench, lease: LeaseSettings | None = None, *, sleep: Sleep = asyncio.sleep) -> None:
        self._bench = bench
        self._lease = lease or LeaseSettings()
        self._sleep = sleep
        self.draining = asyncio.Event()
        """Set on shutdown: a change that is under way finishes, the rest is handed over."""

    async def run(self, run_id: uuid.UUID) -> None:
        """Take the run if nobody holds it and it does not wait, and bring it as far as it goes."""
        bench = self._bench
        async with bench.store.transaction() as tx:
            waiting = await tx.runs.get(run_id)
            if _waits(waiting, bench):
                return
            fence = await tx.runs.lease(run_id, bench.owner, self._lease.duration)
            if fence is None:
                return
            run = await tx.runs.get(run_id)
        interruptions = Interruptions(draining=self.draining)
        with structlog.contextvars.bound_contextvars(run=str(run_id), incident=f"INC-{run.incident_id}"):
            try:
                await held(self._work(run, interruptions), run, bench, self._lease, interruptions.cancelled)
            except (FencedError, UnrecordedError) as error:
                # Whoever holds the lease next observes what was begun; the sweep finds the run when the lease is over.
                log.warning("run_lost", reason=str(error))
                return
            except RunStoppedError as stopped:
                log.info("run_stopped", reason=str(stopped))
            handed_over = self.draining.is_set() and run.status is RunStatus.RUNNING and not _waits(run, bench)
            await bench.release(run, *([Job.RUN] if handed_over else []))

    async def _work(self, run: Run, interruptions: Interruptions) -> None:
        if run.status is not RunStatus.RUNNING:
            return
        try:
            frozen = FrozenRun(run, self._bench.registry)
        except ConfigError as error:
            async with self._bench.telling(run) as told:
                return await self._bench.end(told, run, RunStatus.FAILED, str(error))
        async with self._bench.recording() as tx:
            steps = await tx.runs.steps(run.id)
        if await self._taken_too_often(run, frozen, steps):
            return
        stepping = Stepping(self._bench, frozen, steps, interruptions, self._sleep)
        for batch in _batches(steps, frozen):
            if any(step.status in _OPEN for step in batch):
                await _together(stepping, batch)
            for step in batch:
                if step.status in _BAD and not await self._goes_on(run, frozen, steps, step, stepping):
                    return
        await self._finish(run, frozen, steps)

    async def _taken_too_often(self, run: Run, frozen: FrozenRun, steps: list[Step]) -> bool:
        """Tell people that the run was taken over; end it when that has happened too often."""
        begun = any(s.status is StepStatus.STARTED and frozen.planned(s.step_id).mutates for s in steps)
        if run.fence <= MAX_TAKEN + len(steps):
            if run.fence > 1 and begun:
                await self._tell_takeover(run)
            return False
        async with self._bench.telling(run) as told:
            status = RunStatus.AMBIGUOUS if begun else RunStatus.FAILED
            await self._bench.end(told, run, status, f"no worker could finish it, {run.fence - 1} have tried")
        return True

    async def _tell_takeover(self, run: Run) -> None:
        async with self._bench.telling(run) as told:
            text = f"Another worker took {run.playbook} over: what was started is observed before anything is done"
            told.ledger.entry(told.incident, EntryKind.TAKEN_OVER, text, run_id=run.id)

    async def _goes_on(self, run: Run, frozen: FrozenRun, steps: list[Step], step: Step, stepping: Stepping) -> bool:
        """Decide after a failed step, as its ``on_error`` and those of the calls around it say."""
        on_error, path = _on_error(frozen, step.step_id)
        if step.status is StepStatus.FAILED and on_error == "continue":
            rest = [s for s in steps if s.status is StepStatus.PENDING and s.step_id.startswith(f"{path}.")]
            await stepping.skip(rest, f"step {step.step_id} failed")
            return True
        status = RunStatus.AMBIGUOUS if step.status is StepStatus.AMBIGUOUS else RunStatus.FAILED
        escalated = await self._bench.react(run, frozen, steps)
        async with self._bench.telling(run) as told:
            reason = f"step {step.step_id}: {step.error}"
            await self._bench.end(told, run, status, reason, escalated=escalated, undo=on_error == "undo")
        return False

    async def _finish(self, run: Run, frozen: FrozenRun, steps: Sequence[Step]) -> None:
        verify = frozen.playbook.verify
        async with self._bench.telling(run) as told:
            if verify is None:
                await self._bench.end(told, run, RunStatus.COMPLETED, "all steps done; it changes nothing")
                return
            if _came_to_nothing(frozen, steps):
                why = "no longer needed: the alerts ended before anything was changed"
                await self._bench.end(told, run, RunStatus.CANCELLED, why)
                return
            run.move(RunStatus.VERIFYING, "verifying that it helped", at=told.ledger.now)
            run.verification = Verification.PENDING
            run.verify_until = told.ledger.now + verify.within
            run.next_check_at = told.ledger.now
            await told.tx.runs.save(run)
            text = f"Steps done; verifying for up to {format_duration(verify.within)}: {'; '.join(run.plan.verify)}"
            told.ledger.entry(told.incident, EntryKind.VERIFYING, text[:1000], run_id=run.id)
            told.ledger.wake(Job.VERIFY, str(run.id))


def _waits(run: Run, bench: Workbench) -> bool:
    """Tell whether the run is in a ``wait`` step whose time is not up; a cancelled one is taken up at once."""
    return run.resume_at is not None and run.resume_at > bench.clock.now() and not run.cancel_requested_by


def _batches(steps: Sequence[Step], frozen: FrozenRun) -> list[list[Step]]:
    """Return the steps in order, those that are done at the same time together."""
    batches: list[list[Step]] = []
    last = ""
    for step in steps:
        group = frozen.planned(step.step_id).group
        place = f"{frame_of(step.step_id)}/{group}" if group else ""
        if place and place == last:
            batches[-1].append(step)
        else:
            batches.append([step])
        last = place
    return batches


async def _together(stepping: Stepping, batch: Sequence[Step]) -> None:
    """Do the open steps of a batch, and raise what the first of them raised once all have ended."""
    done = await asyncio.gather(*(stepping.step(s) for s in batch if s.status in _OPEN), return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result


def _on_error(frozen: FrozenRun, full_id: str) -> tuple[str, str]:
    """Return what is done after a failed step, and the full id of the step or call that says so."""
    path = full_id
    while True:
        model = frozen.playbook.find(path).model
        said = model.on_error if isinstance(model, ActionStep | CallStep) else "fail"
        if said != "fail" or not frame_of(path):
            return said, path
        path = frame_of(path)


def _came_to_nothing(frozen: FrozenRun, steps: Sequence[Step]) -> bool:
    """Tell whether steps were left out because the alerts had ended, before anything was changed."""
    changed = any(s.status is StepStatus.SUCCEEDED and frozen.planned(s.step_id).mutates for s in steps)
    return not changed and any(s.status is StepStatus.SKIPPED and s.error == NO_LONGER_NEEDED for s in steps)
