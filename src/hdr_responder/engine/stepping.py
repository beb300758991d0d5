"""One step of a run: done, waited for, asked about or left out, with its outcome committed.

Before each step the run is looked at as it is now (paused, cancelled, no longer needed), in the transaction that
commits its start; after it the outcome is committed with its timeline entry. Reads may be broken off at any time; a
change never is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import structlog
from pydantic import JsonValue

from hdr_responder.actions.contract import Parameters, Read, Result, StepContext
from hdr_responder.documents.compiled import (
    CompiledApproval,
    CompiledStep,
    CompiledWait,
    Each,
    EachResult,
    frame_of,
)
from hdr_responder.documents.expressions import Condition
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import GuardVerdict, RunStatus, Step, StepStatus
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.changing import Change, Changer, Outcome, Sleep, limited
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.engine.gates import approval_rule, stops_when_resolved
from hdr_responder.engine.holding import Holding
from hdr_responder.engine.telling import Telling
from hdr_responder.engine.workbench import UnrecordedError, Workbench
from hdr_responder.errors import FencedError, HdrError, TemporaryError

log = structlog.get_logger(__name__)

EACH_AT_ONCE = 4
"""How many entries of a list are read at the same time."""


NO_LONGER_NEEDED = "no longer needed: none of the alerts fires any more"


class RunStoppedError(HdrError):
    """The run does not go on now; the reason is already recorded."""


class InterruptedReadError(HdrError):
    """A read was broken off, because the run is cancelled or handed over."""


@dataclass(slots=True, kw_only=True)
class Interruptions:
    """What makes a worker stop between two steps, and within a step that only reads."""

    draining: asyncio.Event
    """This worker shuts down."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    """A person cancelled the run."""

    async def any(self) -> None:
        """Return when either happens."""
        waits = {asyncio.create_task(event.wait()) for event in (self.draining, self.cancelled)}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()


class Stepping:
    """Does the steps of one run."""

    def __init__(
        self, bench: Workbench, frozen: FrozenRun, steps: list[Step], interruptions: Interruptions, sleep: Sleep
    ) -> None:
        self._bench = bench
        self._run = frozen.run
        self._frozen = frozen
        self._steps = steps
        self._interruptions = interruptions
        self._sleep = sleep
        self._holding = Holding(escalation=bench.escalation, measures=bench.measures)

    async def step(self, step: Step) -> None:
        """Bring a step to its outcome. Raises RunStoppedError where the run does not go on now."""
        try:
            outcome = await self._outcome(step)
        except (FencedError, RunStoppedError, UnrecordedError):
            raise
        except InterruptedReadError:
            await self._look(step)
            raise RunStoppedError("its read was broken off") from None
        except HdrError as error:
            outcome = Outcome(status=StepStatus.FAILED, error=str(error))
        except Exception as error:
            log.exception("step_crashed", step=step.step_id)
            outcome = Outcome(status=StepStatus.FAILED, error=f"unexpected {type(error).__name__}: {error}"[:500])
        if outcome is not None:
            await self._record(step, outcome)

    async def skip(self, steps: Sequence[Step], why: str) -> None:
        """Leave steps out, with the reason on the timeline."""
        if not steps:
            return
        async with self._bench.telling(self._run) as told:
            await self._leave_out(told, steps, why)

    async def _outcome(self, step: Step) -> Outcome | None:
        """Return how the step ended; None when it is no longer needed, which is already recorded."""
        before = self._steps[: step.position]
        compiled = self._frozen.playbook.find(step.step_id)
        if step.status is StepStatus.PENDING:
            if not await self._look(step):
                return None
            unmet = self._frozen.unmet(step.step_id, before)
            if unmet is not None:
                return Outcome(status=StepStatus.SKIPPED, error=f"not needed: {unmet.text}")
        if isinstance(compiled, CompiledWait):
            return await self._wait(compiled, step)
        if isinstance(compiled, CompiledApproval):
            return await self._ask(compiled, step)
        assert isinstance(compiled, CompiledStep)
        ctx = self._bench.context(self._run, self._frozen, step.step_id)
        if compiled.each is not None and isinstance(compiled.action, Read):
            return await self._read_each(compiled, compiled.each, step, ctx)
        params = compiled.parameters(self._frozen.values_for(step.step_id, before))
        step.parameters = params.model_dump(mode="json")
        return await self._act(compiled, step, ctx, params)

    async def _act(self, compiled: CompiledStep, step: Step, ctx: StepContext, params: Parameters) -> Outcome | None:
        """Do the step, again after a failure that may pass, as often as its author allows and it is needed."""
        retry = compiled.model.retry
        attempts = retry.attempts if retry else 1
        for attempt in range(1, attempts + 1):
            try:
                if isinstance(compiled.action, Read):
                    result = await self._breakable(limited(compiled, compiled.action.execute(ctx, params)))
                    return Outcome(status=StepStatus.SUCCEEDED, result=result)
                return await self._change(Change(run=self._run, compiled=compiled, step=step, ctx=ctx, params=params))
            except TemporaryError as error:
                if retry is None or attempt == attempts:
                    raise
                log.warning("step_retried", step=step.step_id, attempt=attempt, error=str(error))
            await self._sleep(retry.delay.total_seconds())
            if not await self._look(step):
                return None
        raise AssertionError("every attempt returns or raises")

    async def _breakable(self, work: Awaitable[Result]) -> Result:
        """Await a read; raises InterruptedReadError when the run is cancelled or handed over meanwhile."""
        reading = asyncio.ensure_future(work)
        interrupted = asyncio.create_task(self._interruptions.any())
        try:
            await asyncio.wait({reading, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            raise InterruptedReadError
        finally:
            for task in (reading, interrupted):
                task.cancel()
            await asyncio.gather(reading, interrupted, return_exceptions=True)

    async def _read_each(self, compiled: CompiledStep, each: Each, step: Step, ctx: StepContext) -> Outcome:
        """Read for every entry of the list, some at a time; one that fails fails the step."""
        frame, before = frame_of(step.step_id), self._steps[: step.position]
        entries = each.items(self._frozen.values(before, frame))
        values = [self._frozen.values(before, frame) | {"item": entry} for entry in entries]
        params = [compiled.parameters(v) if _holds(compiled.conditions, v) else None for v in values]
        step.parameters = {"for_each": [p.model_dump(mode="json") if p else None for p in params]}
        found: list[Result | None] = []
        for start in range(0, len(params), EACH_AT_ONCE):
            some = params[start : start + EACH_AT_ONCE]
            found += await asyncio.gather(*(self._read_one(compiled, ctx, p) for p in some))
        results = tuple(r.model_dump(mode="json") if r else None for r in found)
        return Outcome(status=StepStatus.SUCCEEDED, result=EachResult(results=results))

    async def _read_one(self, compiled: CompiledStep, ctx: StepContext, params: Parameters | None) -> Result | None:
        if params is None:
            return None
        assert isinstance(compiled.action, Read)
        return await self._breakable(limited(compiled, compiled.action.execute(ctx, params)))

    async def _wait(self, compiled: CompiledWait, step: Step) -> Outcome:
        """Let the time pass without a worker: the run's row says when it goes on."""
        if step.status is StepStatus.STARTED:
            await self._look(step)
        now, length = self._bench.clock.now(), compiled.model.wait
        if step.started_at is not None and (self._run.resume_at or step.started_at + length) <= now:
            self._run.resume_at = None
            waited = timedelta(seconds=round((now - step.started_at).total_seconds()))
            return Outcome(status=StepStatus.SUCCEEDED, note=format_duration(waited))
        async with self._bench.telling(self._run) as told:
            if step.status is StepStatus.PENDING:
                step.move(StepStatus.STARTED, at=now)
                await told.tx.runs.save_step(self._run, step)
                text = f"Step {step.step_id}: waits {format_duration(length)}"
                told.ledger.entry(told.incident, EntryKind.STEP_STARTED, text, run_id=self._run.id)
            assert step.started_at is not None
            self._run.resume_at = step.started_at + length
            await told.tx.runs.save(self._run)
            told.ledger.wake(Job.RUN, str(self._run.id), after=self._run.resume_at - now)
        raise RunStoppedError(f"waits until {self._run.resume_at:%H:%M:%S} UTC")

    async def _ask(self, compiled: CompiledApproval, step: Step) -> Outcome:
        """Go on when enough people have agreed; else hold the run at this gate."""
        run = self._run
        asked, rule = run.gate == step.step_id, approval_rule(run, step.step_id)
        if asked and len(run.approvers) >= rule.approvers:
            return Outcome(status=StepStatus.SUCCEEDED, note=f"approved by {', '.join(sorted(run.approvers))}")
        question = compiled.message.evaluate(self._frozen.values_for(step.step_id, self._steps[: step.position]))
        async with self._bench.telling(run) as told:
            run.gate, run.gate_question = step.step_id, str(question)[:1000]
            run.expires_at = told.ledger.now + rule.expires
            needed = f"{rule.approvers} approval{'s' if rule.approvers > 1 else ''}"
            reason = f"waits for {needed}{f' of group {rule.group}' if rule.group else ''}: {run.gate_question}"
            await self._holding.hold(told, run, [GuardVerdict(guard="approval", allowed=False, reason=reason)])
        raise RunStoppedError(run.reason)

    async def _change(self, change: Change) -> Outcome | None:
        """Change the target once, if that is still needed. A step without ``state`` has never called `execute`."""
        changer, step = Changer(self._bench, self._sleep), change.step
        if step.status is StepStatus.PENDING:
            await limited(change.compiled, change.mutation.dry_run(change.ctx, change.params))
        elif step.state is not None:
            settled = await changer.settled(change, step.state)
            if settled is not None:
                return await self._announced(changer, change, settled)
        if not await self._look(step, starts=True):
            return None
        return await self._announced(changer, change, await changer.execute(change, await changer.prepare(change)))

    async def _announced(self, changer: Changer, change: Change, outcome: Outcome) -> Outcome:
        """Tell on the target of a change that took effect; that it could not be told is noted."""
        if outcome.status is not StepStatus.SUCCEEDED or change.step.state is None:
            return outcome
        problem = await changer.announce(change, change.step.state)
        return replace(outcome, note="; ".join(part for part in (outcome.note, problem) if part))

    async def _look(self, step: Step, *, starts: bool = False) -> bool:
        """Stop here when draining, cancelled or paused; else, where the step ``starts`` a change, commit that.

        False when the step is no longer needed, which is then recorded. The pause switch is read under its share lock,
        so that after a pause returned nothing gets past here. Raises RunStoppedError.
        """
        run = self._run
        if self._interruptions.draining.is_set():
            raise RunStoppedError("handed over: this worker is shutting down")
        needed = True
        async with self._bench.telling(run) as told:
            pause = await told.tx.controls.pause_state()
            if run.status is not RunStatus.RUNNING:
                pass  # A step that is done at the same time has stopped the run.
            elif run.cancel_requested_by:
                await self._cancel(told, step)
            elif pause.engaged:
                reason = f"automation is paused by {pause.by or 'somebody'}"
                await self._holding.hold(told, run, [GuardVerdict(guard="pause", allowed=False, reason=reason)])
            elif step.status is StepStatus.PENDING and self._is_over(told):
                needed = False
                await self._leave_out(told, self._from(step), NO_LONGER_NEEDED)
            elif starts and step.status is StepStatus.PENDING:
                await self._mark_started(told, step)
        if run.status is not RunStatus.RUNNING:
            raise RunStoppedError(run.reason)
        return needed

    def _from(self, step: Step) -> list[Step]:
        """Return this step and all later ones that have not begun; those done at the same time look for themselves."""
        group = self._frozen.planned(step.step_id).group
        later = (s for s in self._steps[step.position + 1 :] if s.status is StepStatus.PENDING)
        return [step, *(s for s in later if not group or self._frozen.planned(s.step_id).group != group)]

    def _is_over(self, told: Telling) -> bool:
        """Tell whether what it was for is over and the playbook says to stop then."""
        if not stops_when_resolved(self._run):
            return False
        incident = told.incident
        return not incident.alerts_firing or not incident.status.is_open or incident.episode != self._run.episode

    async def _leave_out(self, told: Telling, steps: Sequence[Step], why: str) -> None:
        for step in steps:
            step.move(StepStatus.SKIPPED, at=told.ledger.now)
            step.error = why
            await told.tx.runs.save_step(self._run, step)
        if steps:
            text = f"{', '.join(f'Step {s.step_id}' for s in steps)}: skipped ({why})"
            told.ledger.entry(told.incident, EntryKind.STEP_ENDED, text[:1000], run_id=self._run.id)

    async def _cancel(self, told: Telling, step: Step) -> None:
        why = f"cancelled by {self._run.cancel_requested_by}"
        if step.status is StepStatus.STARTED:
            step.move(StepStatus.FAILED, at=told.ledger.now)
            step.error = f"not done: {why}"
            await told.tx.runs.save_step(self._run, step)
        await self._bench.end(told, self._run, RunStatus.CANCELLED, why)

    async def _mark_started(self, told: Telling, step: Step) -> None:
        step.move(StepStatus.STARTED, at=told.ledger.now)
        await told.tx.runs.save_step(self._run, step)
        target = self._frozen.planned(step.step_id).target
        told.ledger.entry(
            told.incident,
            EntryKind.STEP_STARTED,
            f"Step {step.step_id}: {step.action} on {target.title if target else ''}",
            run_id=self._run.id,
            detail={"parameters": step.parameters},
        )

    async def _record(self, step: Step, outcome: Outcome) -> None:
        """Commit a step's outcome with its timeline entry."""
        result, after = _dump(outcome.result), self._undo_after(step)
        async with self._bench.telling(self._run) as told:
            now = told.ledger.now
            step.move(outcome.status, at=now)
            step.result, step.error = result, outcome.error
            if self._frozen.planned(step.step_id).ends_with_incident and not told.incident.status.is_open:
                after = timedelta()
            if after is not None and outcome.status is StepStatus.SUCCEEDED:
                step.undo_at = now + after
                told.ledger.wake(Job.UNDO, str(self._run.id), after=after)
            await told.tx.runs.save_step(self._run, step)
            said = "; ".join(part for part in (outcome.error, outcome.note, _told(result)) if part)
            text = f"Step {step.step_id}: {step.status}" + (f" ({said})" if said else "")
            detail: dict[str, JsonValue] = {"action": step.action}
            if result:
                detail["result"] = result
            told.ledger.entry(told.incident, EntryKind.STEP_ENDED, text[:1000], run_id=self._run.id, detail=detail)
            told.ledger.say(told.incident, text[:2000])
        self._bench.measures.step_ended(step)

    def _undo_after(self, step: Step) -> timedelta | None:
        seconds = self._frozen.planned(step.step_id).undo_after_seconds
        return timedelta(seconds=seconds) if seconds is not None else None


def _holds(conditions: Sequence[Condition], values: Mapping[str, object]) -> bool:
    return all(c.evaluate(values) for c in conditions)


def _told(result: Mapping[str, JsonValue] | None) -> str:
    """Return a step's result in one line for people: its own summary, else its plain values."""
    if not result:
        return ""
    summary = result.get("summary")
    if isinstance(summary, str):
        return summary
    plain = {k: v for k, v in result.items() if isinstance(v, str | int | float) and v != ""}
    return ", ".join(f"{k} {v}" for k, v in plain.items())


def _dump(result: Result | None) -> dict[str, Any] | None:
    return result.model_dump(mode="json") if result is not None else None
