"""The verifier: looks at a run's own criteria until they hold long enough, or time is up.

Three answers. ``verified`` needs positive evidence, held for the soak time. ``failed`` is contrary evidence when time
is up; it undoes what can be undone and goes to a person. ``inconclusive``, no evidence in time, goes to a person too.
Each look is a job of its own with its due time in the run's row, so that a restart forgets nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from hdr_responder.actions.contract import StepContext, Verdict
from hdr_responder.documents.playbooks import CompiledCheck, CompiledVerify
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import Run, RunStatus, Verification
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.engine.workbench import Telling, Workbench
from hdr_responder.errors import HdrError, TemporaryError

log = structlog.get_logger(__name__)

CHECK_TIMEOUT_SECONDS = 10.0
SHORTEST_PAUSE = timedelta(milliseconds=250)
LONGEST_PAUSE = timedelta(seconds=5)


class Verifier:
    """Verifies runs."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    async def verify(self, run_id: uuid.UUID) -> None:
        """Look once, and decide or set the time of the next look."""
        bench = self._bench
        run = await bench.get(run_id)
        now = bench.clock.now()
        if run.status is not RunStatus.VERIFYING or (run.next_check_at and run.next_check_at > now):
            return
        with structlog.contextvars.bound_contextvars(run=str(run_id), incident=f"INC-{run.incident_id}"):
            frozen = FrozenRun(run, bench.registry)
            verify = frozen.playbook.verify
            assert verify is not None
            async with bench.store.transaction() as tx:
                steps = await tx.runs.steps(run_id)
            ctx = bench.context(run, frozen, "verify")
            verdicts = await self._look(verify, ctx, frozen.values(steps))
            async with bench.telling(run) as told:
                present = await told.tx.runs.get(run_id, lock=True)
                if present.status is RunStatus.VERIFYING and present.next_check_at == run.next_check_at:
                    await self._decide(told, present, verify, verdicts)

    async def _look(
        self, verify: CompiledVerify, ctx: StepContext, values: Mapping[str, object]
    ) -> list[tuple[str, Verdict]]:
        looks = [self._check(check, ctx, values) for check in verify.checks]
        return list(zip((c.name for c in verify.checks), await asyncio.gather(*looks), strict=True))

    async def _check(self, check: CompiledCheck, ctx: StepContext, values: Mapping[str, object]) -> Verdict:
        """Look at one criterion; what cannot be looked at is no evidence either way."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                return await check.check.evaluate(ctx, check.parameters(values))
        except TimeoutError:
            return Verdict(holds=None, detail=f"no answer within {CHECK_TIMEOUT_SECONDS:g} s")
        except TemporaryError as error:
            return Verdict(holds=None, detail=str(error))
        except HdrError as error:
            return Verdict(holds=None, detail=f"cannot be checked: {error}")

    async def _decide(
        self, told: Telling, run: Run, verify: CompiledVerify, verdicts: list[tuple[str, Verdict]]
    ) -> None:
        now = told.ledger.now
        holds = _combined(verify, [v for _, v in verdicts])
        told_detail = "; ".join(f"{name}: {v.detail}" for name, v in verdicts)
        run.holding_since = (run.holding_since or now) if holds else None
        assert run.verify_until is not None
        if holds and run.holding_since is not None and now - run.holding_since >= verify.hold:
            held = f", held for {format_duration(verify.hold)}" if verify.hold else ""
            return await self._end(told, run, Verification.VERIFIED, f"it helped{held} ({told_detail})")
        if now >= run.verify_until and not holds:
            answer = Verification.FAILED if holds is False else Verification.INCONCLUSIVE
            word = "it did not help" if holds is False else "no evidence in time that it helped"
            return await self._end(told, run, answer, f"{word} ({told_detail})")
        run.next_check_at = _next(now, run, verify)
        run.reason = f"verifying: {told_detail}"[:1000]
        await told.tx.runs.save(run)
        told.ledger.wake(Job.VERIFY, str(run.id), after=run.next_check_at - now)

    async def _end(self, told: Telling, run: Run, verification: Verification, reason: str) -> None:
        run.verification = verification
        status = RunStatus.FAILED if verification is Verification.FAILED else RunStatus.COMPLETED
        await self._bench.end(told, run, status, reason)


def _combined(verify: CompiledVerify, verdicts: list[Verdict]) -> bool | None:
    """Return True, False or None (no evidence) for all checks together."""
    answers = [v.holds for v in verdicts]
    if verify.need == "any":
        return True if True in answers else (None if None in answers else False)
    return False if False in answers else (None if None in answers else True)


def _next(now: datetime, run: Run, verify: CompiledVerify) -> datetime:
    pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, verify.within / 100))
    times = [now + pause]
    if run.holding_since is not None:
        times.append(max(run.holding_since + verify.hold, now + SHORTEST_PAUSE))
    elif run.verify_until is not None and run.verify_until > now:
        times.append(run.verify_until)
    return min(times)
