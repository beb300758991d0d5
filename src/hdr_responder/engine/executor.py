"""The executor: runs the steps of a started run, one at a time, so that nothing is done twice and nothing unrecorded.

A worker holds the run by a lease with a fencing token. For each change: rehearse; commit "started"; raise the fence on
the target; commit what was captured; act once; commit the outcome with its timeline entry. A worker that takes over
and finds "started" without an outcome raises the fence and observes instead of acting (docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog
from pydantic import JsonValue

from hdr_responder.actions.contract import (
    AnyMutation,
    Observed,
    Parameters,
    Read,
    Result,
    Seen,
    State,
    StepContext,
)
from hdr_responder.documents.playbooks import CompiledStep
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.guards import PauseState
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import Run, RunStatus, Step, StepStatus, Verification
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.engine.workbench import Telling, UnrecordedError, Workbench
from hdr_responder.errors import AmbiguousError, ConfigError, FencedError, HdrError, TemporaryError

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """How long a lease lasts; it is renewed at a third of it. Another worker takes over after at most ``duration``."""

    duration: timedelta = timedelta(seconds=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One mutating step with all that it takes."""

    run: Run
    compiled: CompiledStep
    step: Step
    ctx: StepContext
    params: Parameters

    @property
    def mutation(self) -> AnyMutation:
        """The action."""
        assert self.compiled.mutation is not None
        return self.compiled.mutation


class LeaseLostError(FencedError):
    """Another worker holds the run now: this one stops, writing nothing."""


class RunStoppedError(HdrError):
    """The run does not go on now; the reason is already recorded."""


class Executor:
    """Executes runs."""

    def __init__(self, bench: Workbench, lease: LeaseSettings | None = None) -> None:
        self._bench = bench
        self._lease = lease or LeaseSettings()
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
                await self._held(run)
            except FencedError as error:
                log.warning("run_lost", reason=str(error))
                return
            except RunStoppedError as stopped:
                log.info("run_stopped", reason=str(stopped))
            async with bench.store.transaction() as tx:
                await tx.runs.release_lease(run_id, bench.owner, fence)

    async def _held(self, run: Run) -> None:
        """Work under the lease; when renewing fails the work is cancelled before another worker may begin."""
        work = asyncio.create_task(self._work(run))
        keep = asyncio.create_task(self._keep_lease(run))
        try:
            done, _ = await asyncio.wait({work, keep}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (work, keep):
                task.cancel()
            await asyncio.gather(work, keep, return_exceptions=True)

    async def _keep_lease(self, run: Run) -> None:
        pause = self._lease.duration.total_seconds() / 3
        while True:
            await asyncio.sleep(pause)
            async with asyncio.timeout(pause):
                async with self._bench.store.transaction() as tx:
                    held = await tx.runs.renew(run.id, self._bench.owner, run.fence, self._lease.duration)
            if not held:
                raise LeaseLostError(f"run {run.id}: the lease was lost")

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
        if run.fence > 1 and any(s.status is StepStatus.STARTED for s in steps):
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
                await self._before(run)
                if compiled.when is not None and not compiled.when.evaluate(values):
                    return await self._record(run, step, StepStatus.SKIPPED, error=f"not needed: {compiled.when.text}")
            params = compiled.parameters(values)
            step.parameters = params.model_dump(mode="json")
            await self._act(run, compiled, step, ctx, params)
        except (FencedError, RunStoppedError, UnrecordedError):
            raise
        except HdrError as error:
            await self._record(run, step, StepStatus.FAILED, error=str(error))
        except TimeoutError:
            limit = compiled.timeout.total_seconds()
            await self._record(run, step, StepStatus.FAILED, error=f"no answer within {limit:g} s")
        except Exception as error:
            log.exception("step_crashed", step=step.step_id)
            status = StepStatus.AMBIGUOUS if step.state is not None else StepStatus.FAILED
            await self._record(run, step, status, error=f"unexpected {type(error).__name__}: {error}"[:500])

    async def _act(self, run: Run, compiled: CompiledStep, step: Step, ctx: StepContext, params: Parameters) -> None:
        attempts = compiled.model.retry.attempts if compiled.model.retry else 1
        for attempt in range(1, attempts + 1):
            try:
                if isinstance(compiled.action, Read):
                    result = await self._limited(compiled, compiled.action.execute(ctx, params))
                    return await self._record(run, step, StepStatus.SUCCEEDED, result=_dump(result))
                return await self._mutate(Change(run=run, compiled=compiled, step=step, ctx=ctx, params=params))
            except TemporaryError as error:
                if attempt == attempts:
                    raise
                log.warning("step_retried", step=step.step_id, attempt=attempt, error=str(error))
            assert compiled.model.retry is not None
            await asyncio.sleep(compiled.model.retry.delay.total_seconds())

    async def _mutate(self, change: Change) -> None:
        """Change the target once. A step without ``state`` has never called `execute`."""
        ctx, params, step, mutation = change.ctx, change.params, change.step, change.mutation
        if step.status is StepStatus.PENDING:
            await self._limited(change.compiled, mutation.dry_run(ctx, params))
            await self._mark_started(change.run, step)
        await self._limited(change.compiled, mutation.claim(ctx, params))
        if step.state is None:
            captured = await self._limited(change.compiled, mutation.capture(ctx, params))
            step.state = captured
            async with self._bench.recording() as tx:
                await tx.runs.save_step(change.run, step)
        elif await self._settled(change, step.state):
            return
        try:
            result = await self._limited(change.compiled, mutation.execute(ctx, params, step.state))
        except (TemporaryError, AmbiguousError, TimeoutError) as error:
            if not await self._settled(change, step.state):
                raise TemporaryError(f"{error or 'no answer in time'}; nothing was changed") from error
            return
        after = change.compiled.model.for_
        await self._record(change.run, step, StepStatus.SUCCEEDED, result=_dump(result), after=after)

    async def _settled(self, change: Change, state: State) -> bool:
        """Observe whether a change that was begun took effect; False means that it provably did not."""
        try:
            observed = await self._limited(change.compiled, change.mutation.observe(change.ctx, change.params, state))
        except (TemporaryError, TimeoutError) as error:
            observed = Observed[Result](seen=Seen.UNKNOWN, detail=f"it could not be observed: {error}")
        if observed.seen is Seen.NO_EFFECT:
            return False
        if observed.seen is Seen.TOOK_EFFECT:
            note = f"observed that it took effect {observed.detail}".strip()
            result, after = _dump(observed.result), change.compiled.model.for_
            await self._record(change.run, change.step, StepStatus.SUCCEEDED, result=result, after=after, note=note)
        else:
            error_text = f"it may or may not have taken effect: {observed.detail}"
            await self._record(change.run, change.step, StepStatus.AMBIGUOUS, error=error_text)
        return True

    async def _limited(self, compiled: CompiledStep, work: Awaitable[T]) -> T:
        async with asyncio.timeout(compiled.timeout.total_seconds()):
            return await work

    async def _before(self, run: Run) -> None:
        """Before a step begins: hand over when draining, end when cancelled, wait when paused."""
        if self.draining.is_set():
            await self._bench.wake_run(run, Job.RUN)
            raise RunStoppedError("handed over: this worker is shutting down")
        async with self._bench.telling(run) as told:
            present = await told.tx.runs.get(run.id, lock=True)
            pause = await told.tx.controls.pause_state()
            if present.cancel_requested_by:
                await self._bench.end(told, run, RunStatus.CANCELLED, f"cancelled by {present.cancel_requested_by}")
            elif pause.engaged:
                await self._pause(told, run, pause)
        if run.status is not RunStatus.RUNNING:
            raise RunStoppedError(run.reason)

    async def _pause(self, told: Telling, run: Run, pause: PauseState) -> None:
        """Stop between steps; the run keeps its targets and goes on after a resume, when the guards agree."""
        run.status, run.reason = RunStatus.HELD, f"pause: automation is paused by {pause.by or 'somebody'}"
        await told.tx.runs.save(run)
        text = f"{run.playbook} stops: {run.reason}"
        told.ledger.entry(told.incident, EntryKind.GUARD_REFUSED, text, run_id=run.id)

    async def _mark_started(self, run: Run, step: Step) -> None:
        """Commit "started", under the pause switch's share lock: after a pause returned nothing gets past here."""
        async with self._bench.telling(run) as told:
            pause = await told.tx.controls.pause_state()
            if pause.engaged:
                await self._pause(told, run, pause)
            else:
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
        if run.status is not RunStatus.RUNNING:
            raise RunStoppedError(run.reason)

    async def _record(
        self,
        run: Run,
        step: Step,
        status: StepStatus,
        *,
        result: dict[str, JsonValue] | None = None,
        error: str | None = None,
        after: timedelta | None = None,
        note: str = "",
    ) -> None:
        """Commit a step's outcome with its timeline entry."""
        async with self._bench.telling(run) as told:
            now = told.ledger.now
            step.status, step.result, step.error = status, result, error
            step.started_at, step.ended_at = step.started_at or now, now
            if after is not None and status is StepStatus.SUCCEEDED:
                step.undo_at = now + after
                told.ledger.wake(Job.UNDO, str(run.id), after=after)
            await told.tx.runs.save_step(run, step)
            said = "; ".join(part for part in (error, note, _told(result)) if part)
            text = f"Step {step.step_id}: {status}" + (f" ({said})" if said else "")
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


def _dump(result: Result | None) -> dict[str, JsonValue]:
    return result.model_dump(mode="json") if result is not None else {}
