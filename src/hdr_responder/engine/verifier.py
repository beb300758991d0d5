"""The verifier: looks at a run's own criteria until they hold long enough, or time is up.

Three answers. ``verified`` needs positive evidence, held for the soak time. ``failed`` is contrary evidence when time
is up; it undoes what can be undone and goes to a person. ``inconclusive``, no evidence in time, goes to a person too.
Each look is a job of its own with its due time in the run's row, so that a restart forgets nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from hdr_responder.actions.contract import StepContext, Verdict
from hdr_responder.documents.compiled import CompiledCheck, CompiledVerify
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.runs import Run, RunStatus, Step, Verification
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.engine.lease import LeaseSettings, held
from hdr_responder.engine.telling import Telling
from hdr_responder.engine.workbench import UnrecordedError, Workbench
from hdr_responder.errors import ConfigError, FencedError, HdrError, TemporaryError

log = structlog.get_logger(__name__)

CHECK_TIMEOUT_SECONDS = 10.0
SHORTEST_PAUSE = timedelta(milliseconds=250)
LONGEST_PAUSE = timedelta(seconds=5)


class Verifier:
    """Verifies runs."""

    def __init__(self, bench: Workbench, lease: LeaseSettings | None = None) -> None:
        self._bench = bench
        self._lease = lease or LeaseSettings()

    async def verify(self, run_id: uuid.UUID) -> None:
        """Look once, and decide or set the time of the next look."""
        bench = self._bench
        run = await bench.get(run_id)
        now = bench.clock.now()
        if run.status is not RunStatus.VERIFYING:
            return
        if run.next_check_at is not None and run.next_check_at > now and not run.cancel_requested_by:
            return await bench.wake_run(run, Job.VERIFY, run.next_check_at - now)
        with structlog.contextvars.bound_contextvars(run=str(run_id), incident=f"INC-{run.incident_id}"):
            try:
                frozen = FrozenRun(run, bench.registry)
            except ConfigError as error:
                return await self._unreadable(run, error)
            async with bench.store.transaction() as tx:
                steps = await tx.runs.steps(run_id)
            await self._decide(run, frozen, steps)

    async def _decide(self, run: Run, frozen: FrozenRun, steps: list[Step]) -> None:
        verify = frozen.playbook.verify
        assert verify is not None
        ctx = self._bench.context(run, frozen, "verify")
        verdicts = await self._look(verify, ctx, frozen.values(steps))
        judged = judge(run, verify, verdicts, self._bench.clock.now())
        async with self._present(run) as (told, present):
            if present is None:
                return
            if present.cancel_requested_by:
                why = f"cancelled by {present.cancel_requested_by}; what was done stays"
                return await self._bench.end(told, present, RunStatus.CANCELLED, why)
            if not judged.needs_person:
                return await self._apply(told, present, verify, judged)
            # Claimed by the run's lease, so that no other look reacts too; after a crash the next one looks again.
            fence = await told.tx.runs.lease(present.id, self._bench.owner, self._lease.duration)
            if fence is None:
                return
            present.fence, present.next_check_at = fence, told.ledger.now + self._lease.duration
            await told.tx.runs.save(present)
        await self._react(present, frozen, steps, judged)

    async def _react(self, run: Run, frozen: FrozenRun, steps: list[Step], judged: Judgement) -> None:
        """Do what the playbook says for a run that did not help, and end it, while the lease is kept."""

        async def react() -> None:
            escalated = await self._bench.react(run, frozen, steps)
            async with self._present(run) as (told, claimed):
                if claimed is not None:
                    assert frozen.playbook.verify is not None
                    await self._apply(told, claimed, frozen.playbook.verify, judged, escalated=escalated)

        try:
            await held(react(), run, self._bench, self._lease, asyncio.Event())
        except (FencedError, UnrecordedError) as error:
            log.warning("verdict_lost", reason=str(error))
            return
        await self._bench.release(run, Job.UNDO)

    @asynccontextmanager
    async def _present(self, run: Run) -> AsyncIterator[tuple[Telling, Run | None]]:
        """Open a transaction with the run as it is now; None when another look has been faster."""
        async with self._bench.telling(run) as told:
            present = await told.tx.runs.get(run.id, lock=True)
            current = present.status is RunStatus.VERIFYING and present.next_check_at == run.next_check_at
            yield told, present if current else None

    async def _unreadable(self, run: Run, error: ConfigError) -> None:
        """End a run whose playbook this version cannot read: nobody can tell whether it helped."""
        async with self._present(run) as (told, present):
            if present is not None:
                present.verification = Verification.INCONCLUSIVE
                await self._bench.end(told, present, RunStatus.COMPLETED, f"it cannot be verified: {error}"[:900])

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
        except Exception as error:
            log.exception("check_crashed", check=check.name)
            return Verdict(holds=None, detail=f"cannot be checked: unexpected {type(error).__name__}")

    async def _apply(
        self, told: Telling, run: Run, verify: CompiledVerify, judged: Judgement, *, escalated: bool = False
    ) -> None:
        run.holding_since, run.reason = judged.holding_since, judged.reason[:1000]
        if judged.answer is Verification.PENDING:
            now = told.ledger.now
            run.next_check_at = _next(now, run, verify)
            await told.tx.runs.save(run)
            told.ledger.wake(Job.VERIFY, str(run.id), after=run.next_check_at - now)
            return
        run.verification = judged.answer
        status = RunStatus.FAILED if judged.answer is Verification.FAILED else RunStatus.COMPLETED
        await self._bench.end(told, run, status, judged.reason, escalated=escalated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one look says; PENDING means that it goes on."""

    answer: Verification
    reason: str
    holding_since: datetime | None

    @property
    def needs_person(self) -> bool:
        """Whether the playbook's ``on_failure`` is due."""
        return self.answer in {Verification.FAILED, Verification.INCONCLUSIVE}


def judge(run: Run, verify: CompiledVerify, verdicts: list[tuple[str, Verdict]], now: datetime) -> Judgement:
    """Decide from the verdicts, the time and since when they hold."""
    holds = _combined(verify, [v for _, v in verdicts])
    detail = "; ".join(f"{name}: {v.detail}" for name, v in verdicts)
    since = (run.holding_since or now) if holds else None
    answer, text = Verification.PENDING, f"verifying: {detail}"
    if since is not None and now - since >= verify.hold:
        held = f", held for {format_duration(verify.hold)}" if verify.hold else ""
        answer, text = Verification.VERIFIED, f"it helped{held} ({detail})"
    elif run.verify_until is not None and now >= run.verify_until and not holds:
        if holds is False:
            answer, text = Verification.FAILED, f"it did not help ({detail})"
        else:
            answer, text = Verification.INCONCLUSIVE, f"no evidence in time that it helped ({detail})"
    return Judgement(answer=answer, reason=text, holding_since=since)


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
