"""One change of a target, done at most once: what is not known is observed, and what cannot be observed is ambiguous.

An action promises that TemporaryError means "provably nothing was changed", and PermanentError "it was refused". Every
other end of `execute`, a defect included, leaves open whether the target changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from hdr_responder.actions.contract import (
    AnyMutation,
    Observed,
    Parameters,
    Result,
    Seen,
    State,
    StepContext,
)
from hdr_responder.documents.compiled import CompiledStep
from hdr_responder.domain.runs import Run, Step, StepStatus
from hdr_responder.engine.workbench import Workbench
from hdr_responder.errors import FencedError, HdrError, PermanentError, TemporaryError

log = structlog.get_logger(__name__)
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]

LOOKS = 3
"""How often a target that does not answer is asked whether a change took effect, before a person has to look."""
BETWEEN_LOOKS = timedelta(seconds=2)
ANNOUNCE_SECONDS = 5.0


class NoAnswerError(TemporaryError):
    """The step's time was up: whatever was under way was given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a step ended; ``note`` says in a few words how that is known."""

    status: StepStatus
    result: Result | None = None
    error: str | None = None
    note: str = ""


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


async def limited(compiled: CompiledStep, work: Awaitable[T]) -> T:
    """Await ``work`` within the step's time; raises NoAnswerError."""
    seconds = compiled.timeout.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise NoAnswerError(f"no answer within {seconds:g} s") from error


async def announced(mutation: AnyMutation, ctx: StepContext, params: Parameters, state: State, *, undone: bool) -> str:
    """Tell of a change, or of its undo, on the target; return what went wrong with that, empty when nothing did."""
    try:
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            await mutation.announce(ctx, params, state, undone=undone)
    except TimeoutError:
        problem = f"no answer within {ANNOUNCE_SECONDS:g} s"
    except HdrError as error:
        problem = str(error)
    except Exception as error:
        log.exception("announce_crashed", step=ctx.step_id)
        problem = f"unexpected {type(error).__name__}"
    else:
        return ""
    log.warning("not_announced", step=ctx.step_id, problem=problem)
    return f"not told on the target: {problem}"[:300]


class Changer:
    """Does changes whose start is committed."""

    def __init__(self, bench: Workbench, sleep: Sleep) -> None:
        self._bench = bench
        self._sleep = sleep

    async def prepare(self, change: Change) -> State:
        """Raise the fence on the target and commit what it is like before the change, once for all attempts."""
        await limited(change.compiled, change.mutation.claim(change.ctx, change.params))
        if change.step.state is None:
            captured = await limited(change.compiled, change.mutation.capture(change.ctx, change.params))
            change.step.state = captured
            async with self._bench.recording() as tx:
                await tx.runs.save_step(change.run, change.step)
        return change.step.state

    async def execute(self, change: Change, state: State) -> Outcome:
        """Change the target; raises TemporaryError or PermanentError where it provably did not take effect.

        Where it has taken effect in part (several objects, of which some are changed), the TemporaryError says what
        was observed.
        """
        try:
            work = change.mutation.execute(change.ctx, change.params, state)
            return Outcome(status=StepStatus.SUCCEEDED, result=await limited(change.compiled, work))
        except NoAnswerError as error:
            reason: Exception = error
        except (TemporaryError, PermanentError):
            raise
        except Exception as error:
            log.exception("outcome_unknown", step=change.step.step_id)
            reason = error
        observed = await self._observe(change, state)
        settled = _settled(observed)
        if settled is None:
            known = observed.detail or "nothing was changed"
            raise TemporaryError(f"{str(reason) or type(reason).__name__}; {known}") from reason
        return settled

    async def announce(self, change: Change, state: State) -> str:
        """Tell of the change on the target; return what went wrong with that, empty when nothing did."""
        return await announced(change.mutation, change.ctx, change.params, state, undone=False)

    async def settled(self, change: Change, state: State) -> Outcome | None:
        """Tell by observing how a change that was begun ended; None means that `execute` has to do it, or the rest."""
        return _settled(await self._observe(change, state))

    async def _observe(self, change: Change, state: State) -> Observed[Any]:
        """Raise the fence, so that nobody else still acts, and look; more than once where there is no answer."""
        problem = ""
        for look in range(LOOKS):
            if look:
                await self._sleep(BETWEEN_LOOKS.total_seconds())
            try:
                await limited(change.compiled, change.mutation.claim(change.ctx, change.params))
                return await limited(change.compiled, change.mutation.observe(change.ctx, change.params, state))
            except FencedError:
                raise
            except TemporaryError as error:
                problem = str(error)
            except Exception as error:
                log.exception("not_observed", step=change.step.step_id)
                problem = f"{type(error).__name__}: {error}"
                break
        return Observed(seen=Seen.UNKNOWN, detail=f"it could not be observed: {problem}"[:500])


def _settled(observed: Observed[Any]) -> Outcome | None:
    if observed.seen is Seen.NO_EFFECT:
        return None
    if observed.seen is Seen.TOOK_EFFECT:
        note = f"observed that it took effect {observed.detail}".strip()
        return Outcome(status=StepStatus.SUCCEEDED, result=observed.result, note=note)
    return Outcome(status=StepStatus.AMBIGUOUS, error=f"it may or may not have taken effect: {observed.detail}")
