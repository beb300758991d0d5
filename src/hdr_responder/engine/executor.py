"""The executor: runs the steps of a started run, one at a time, so that nothing is done twice and nothing unrecorded.

A worker holds the run by a lease with a fencing token. For each change: rehearse; commit "started"; raise the fence on
the target; commit what was captured; act once; commit the outcome with its timeline entry. A worker that takes over
and finds "started" without an outcome raises the fence and observes instead of acting (docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping

import structlog
from pydantic import JsonValue

from hdr_responder.actions.contract import Parameters, Read, Result, StepContext
from hdr_responder.documents.playbooks import CompiledStep
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import GuardVerdict, Run, RunStatus, Step, StepStatus, Verification
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.changing import Change, Changer, Outcome, Sleep, limited
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.engine.holding import Holding
from hdr_responder.engine.lease import LeaseSettings, held
from hdr_responder.engine.telling import Telling
from hdr_responder.engine.workbench import UnrecordedError, Workbench
from hdr_responder.errors import ConfigError, FencedError, HdrError, TemporaryError

log = structlog.get_logger(__name__)

MAX_TAKEN = 30
"""How often a run may be taken up, by takeovers and after pauses, before a person has to look."""


class RunStoppedError(HdrError):
    """The run does not go on now; the reason is already recorded."""


class Executor:
    """Executes runs."""

    def __init__(self, bench: Workbench, lease: LeaseSettings | None = None, *, sleep: Sleep = asyncio.sleep) -> None:
        self._bench = bench
        self._lease = lease or LeaseSettings()
        self._sleep = sleep
        self._holding = Holding(escalation=bench.escalation, measures=bench.measures)
        self.draining = asyncio.Event()
        """Set on shutdown: the running step finishes, the rest is handed over."""

    async def run(self, run_id: uuid.UUID) -> None:
        """Take the run if nobody holds it, and bring it as far as it goes."""
        bench = self._bench
        async with bench.store.transaction() as tx:
            fence = await tx.runs.lease(run_id, bench.owner, self._lease.duration)
            if fence is None:
                return
            run = await tx.runs.get(run_id)
        with structlog.contextvars.bound_contextvars(run=str(run_id), incident=f"INC-{run.incident_id}"):
            try:
                await held(self._work(run), run, bench, self._lease)
            except (FencedError, UnrecordedError) as error:
                # Whoever holds the lease next observes what was begun; the sweep finds the run when the lease is over.
                log.warning("run_lost", reason=str(error))
                return
            except RunStoppedError as stopped:
                log.info("run_stopped", reason=str(stopped))
            async with bench.store.transaction() as tx:
                if self.draining.is_set() and run.status is RunStatus.RUNNING:
                    await tx.wake(Job.RUN, [str(run_id)])
                await tx.runs.release_lease(run_id, bench.owner, fence)

    async def _work(self, run: Run) -> None:
        if run.status is not RunStatus.RUNNING:
            return
        try:
            frozen = FrozenRun(run, self._bench.registry)
        except ConfigError as error:
            async with self._bench.telling(run) as told:
                return await self._bench.end(told, run, RunStatus.FAILED, str(error))
        async with self._bench.recording() as tx:
            steps = await tx.runs.steps(run.id)
        begun = any(s.status is StepStatus.STARTED for s in steps)
        if run.fence > MAX_TAKEN:
            async with self._bench.telling(run) as told:
                status = RunStatus.AMBIGUOUS if begun else RunStatus.FAILED
                return await self._bench.end(told, run, status, f"no worker could finish it, {MAX_TAKEN} have tried")
        if run.fence > 1 and begun:
            await self._tell_takeover(run)
        for step in steps:
            if step.status in {StepStatus.PENDING, StepStatus.STARTED}:
                await self._step(run, frozen, steps, step)
            if step.status in {StepStatus.FAILED, StepStatus.AMBIGUOUS} and not await self._goes_on(
                run, frozen, steps, step
            ):
                return
        await self._finish(run, frozen)

    async def _tell_takeover(self, run: Run) -> None:
        async with self._bench.telling(run) as told:
            text = f"Another worker took {run.playbook} over: what was started is observed before anything is done"
            told.ledger.entry(told.incident, EntryKind.TAKEN_OVER, text, run_id=run.id)

    async def _step(self, run: Run, frozen: FrozenRun, steps: list[Step], step: Step) -> None:
        compiled = frozen.playbook.step(step.step_id)
        values = frozen.values(steps[: step.position])
        ctx = self._bench.context(run, frozen, step.step_id)
        try:
            if step.status is StepStatus.PENDING:
                await self._before(run, step)
                if compiled.when is not None and not compiled.when.evaluate(values):
                    skipped = Outcome(status=StepStatus.SKIPPED, error=f"not needed: {compiled.when.text}")
                    return await self._record(run, compiled, step, skipped)
            params = compiled.parameters(values)
            step.parameters = params.model_dump(mode="json")
            outcome = await self._act(run, compiled, step, ctx, params)
        except (FencedError, RunStoppedError, UnrecordedError):
            raise
        except HdrError as error:
            outcome = Outcome(status=StepStatus.FAILED, error=str(error))
        except Exception as error:
            log.exception("step_crashed", step=step.step_id)
            outcome = Outcome(status=StepStatus.FAILED, error=f"unexpected {type(error).__name__}: {error}"[:500])
        await self._record(run, compiled, step, outcome)

    async def _act(self, run: Run, compiled: CompiledStep, step: Step, ctx: StepContext, params: Parameters) -> Outcome:
        """Do the step, again after a failure that may pass, as often as its author allows."""
        retry = compiled.model.retry
        attempts = retry.attempts if retry else 1
        for attempt in range(1, attempts + 1):
            try:
                if isinstance(compiled.action, Read):
                    result = await limited(compiled, compiled.action.execute(ctx, params))
                    return Outcome(status=StepStatus.SUCCEEDED, result=result)
                return await self._change(Change(run=run, compiled=compiled, step=step, ctx=ctx, params=params))
            except TemporaryError as error:
                if retry is None or attempt == attempts:
                    raise
                log.warning("step_retried", step=step.step_id, attempt=attempt, error=str(error))
            await self._sleep(retry.delay.total_seconds())
            await self._before(run, step)
        raise AssertionError("every attempt returns or raises")

    async def _change(self, change: Change) -> Outcome:
        """Change the target once. A step without ``state`` has never called `execute`."""
        changer, step = Changer(self._bench, self._sleep), change.step
        if step.status is StepStatus.PENDING:
            await limited(change.compiled, change.mutation.dry_run(change.ctx, change.params))
        elif step.state is not None:
            settled = await changer.settled(change, step.state)
            if settled is not None:
                return settled
        await self._before(change.run, step, starts=True)
        return await changer.execute(change, await changer.prepare(change))

    async def _before(self, run: Run, step: Step, *, starts: bool = False) -> None:
        """Stop here when draining, cancelled or paused; else, where the step ``starts`` a change, commit that.

        The pause switch is read under its share lock, so that after a pause returned nothing gets past here.
        """
        if self.draining.is_set():
            raise RunStoppedError("handed over: this worker is shutting down")
        async with self._bench.telling(run) as told:
            pause = await told.tx.controls.pause_state()
            if run.cancel_requested_by:
                await self._cancel(told, run, step)
            elif pause.engaged:
                reason = f"automation is paused by {pause.by or 'somebody'}"
                await self._holding.hold(told, run, [GuardVerdict(guard="pause", allowed=False, reason=reason)])
            elif starts and step.status is StepStatus.PENDING:
                await self._mark_started(told, run, step)
        if run.status is not RunStatus.RUNNING:
            raise RunStoppedError(run.reason)

    async def _cancel(self, told: Telling, run: Run, step: Step) -> None:
        why = f"cancelled by {run.cancel_requested_by}"
        if step.status is StepStatus.STARTED:
            step.status, step.ended_at, step.error = StepStatus.FAILED, told.ledger.now, f"not done: {why}"
            await told.tx.runs.save_step(run, step)
        await self._bench.end(told, run, RunStatus.CANCELLED, why)

    async def _mark_started(self, told: Telling, run: Run, step: Step) -> None:
        step.status, step.started_at = StepStatus.STARTED, told.ledger.now
        await told.tx.runs.save_step(run, step)
        title = next((s.target.title for s in run.plan.steps if s.id == step.step_id and s.target), "")
        told.ledger.entry(
            told.incident,
            EntryKind.STEP_STARTED,
            f"Step {step.step_id}: {step.action} on {title}",
            run_id=run.id,
            detail={"parameters": step.parameters},
        )

    async def _record(self, run: Run, compiled: CompiledStep, step: Step, outcome: Outcome) -> None:
        """Commit a step's outcome with its timeline entry."""
        result = _dump(outcome.result)
        async with self._bench.telling(run) as told:
            now, after = told.ledger.now, compiled.model.for_
            step.status, step.result, step.error = outcome.status, result, outcome.error
            step.started_at, step.ended_at = step.started_at or now, now
            if after is not None and outcome.status is StepStatus.SUCCEEDED:
                step.undo_at = now + after
                told.ledger.wake(Job.UNDO, str(run.id), after=after)
            await told.tx.runs.save_step(run, step)
            said = "; ".join(part for part in (outcome.error, outcome.note, _told(result)) if part)
            text = f"Step {step.step_id}: {step.status}" + (f" ({said})" if said else "")
            detail: dict[str, JsonValue] = {"action": step.action}
            if result:
                detail["result"] = result
            told.ledger.entry(told.incident, EntryKind.STEP_ENDED, text[:1000], run_id=run.id, detail=detail)
            told.ledger.say(told.incident, text[:2000])
        self._bench.measures.step_ended(step)

    async def _goes_on(self, run: Run, frozen: FrozenRun, steps: list[Step], step: Step) -> bool:
        """Decide after a failed step, as its ``on_error`` says."""
        on_error = frozen.playbook.step(step.step_id).model.on_error
        if step.status is StepStatus.FAILED and on_error == "continue":
            return True
        status = RunStatus.AMBIGUOUS if step.status is StepStatus.AMBIGUOUS else RunStatus.FAILED
        escalated = await self._bench.react(run, frozen, steps)
        async with self._bench.telling(run) as told:
            reason = f"step {step.step_id}: {step.error}"
            await self._bench.end(told, run, status, reason, escalated=escalated)
        return False

    async def _finish(self, run: Run, frozen: FrozenRun) -> None:
        verify = frozen.playbook.verify
        async with self._bench.telling(run) as told:
            if verify is None:
                await self._bench.end(told, run, RunStatus.COMPLETED, "all steps done; it changes nothing")
                return
            run.status, run.verification = RunStatus.VERIFYING, Verification.PENDING
            run.reason = "verifying that it helped"
            run.verify_until = told.ledger.now + verify.within
            run.next_check_at = told.ledger.now
            await told.tx.runs.save(run)
            text = f"Steps done; verifying for up to {format_duration(verify.within)}: {'; '.join(run.plan.verify)}"
            told.ledger.entry(told.incident, EntryKind.VERIFYING, text[:1000], run_id=run.id)
            told.ledger.wake(Job.VERIFY, str(run.id))


def _told(result: Mapping[str, JsonValue] | None) -> str:
    """Return a step's result in one line for people: its own summary, else its plain values."""
    if not result:
        return ""
    summary = result.get("summary")
    if isinstance(summary, str):
        return summary
    plain = {k: v for k, v in result.items() if isinstance(v, str | int | float) and v != ""}
    return ", ".join(f"{k} {v}" for k, v in plain.items())


def _dump(result: Result | None) -> dict[str, JsonValue] | None:
    return result.model_dump(mode="json") if result is not None else None
