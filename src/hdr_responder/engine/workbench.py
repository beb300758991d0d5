"""What executor, verifier and undoer share: the run's parts, transactions that tell, and the ways a run ends."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog

from hdr_responder.actions.contract import Fence, Read, Registry, StepContext
from hdr_responder.domain.clock import Clock, NewId
from hdr_responder.domain.incidents import IncidentStatus
from hdr_responder.domain.ports.artifacts import ArtifactBytes
from hdr_responder.domain.ports.store import Job, Store, Transaction
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.runs import Run, RunStatus, Step, Verification
from hdr_responder.domain.timeline import EntryKind
from hdr_responder.engine.escalation import Escalation
from hdr_responder.engine.evidence import IncidentEvidence
from hdr_responder.engine.frozen import FrozenRun
from hdr_responder.engine.ledger import Lanes
from hdr_responder.engine.measures import Measures
from hdr_responder.engine.settling import close_steps, give_back_targets, let_go
from hdr_responder.engine.telling import Telling, telling
from hdr_responder.errors import FencedError, HdrError

log = structlog.get_logger(__name__)

ESCALATE = "incident.escalate"


class UnrecordedError(HdrError):
    """The store did not take it: what was done is not recorded yet, and whoever takes over observes it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """Everything that work on a run needs."""

    store: Store
    registry: Registry
    systems: Systems
    artifacts: ArtifactBytes
    escalation: Escalation
    clock: Clock
    new_id: NewId
    lanes: Lanes
    owner: str
    """This worker's name in leases."""
    measures: Measures

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[Transaction]:
        """Open a transaction whose failure is never taken for a failure of the action that it records.

        Raises UnrecordedError when the store does not take it, FencedError when another worker holds the run.
        """
        try:
            async with self.store.transaction() as tx:
                yield tx
        except FencedError:
            raise
        except HdrError as error:
            raise UnrecordedError(str(error)) from error

    @asynccontextmanager
    async def telling(self, run: Run) -> AsyncIterator[Telling]:
        """Open a transaction on a run, locked, with what people asked of it since. Raises as `recording`."""
        try:
            async with telling(self.store, self.lanes, self.clock, run.incident_id) as told:
                run.cancel_requested_by = await told.tx.runs.cancelled_by(run.id)
                yield told
        except FencedError:
            raise
        except HdrError as error:
            raise UnrecordedError(str(error)) from error

    def context(self, run: Run, frozen: FrozenRun, step_id: str) -> StepContext:
        """Return what a step of this run gets."""
        evidence = IncidentEvidence(
            run=run,
            step_id=step_id,
            bytes_=self.artifacts,
            store=self.store,
            clock=self.clock,
            new_id=self.new_id,
        )
        return StepContext(
            fence=Fence(run_id=run.id, token=run.fence),
            step_id=step_id,
            incident_ref=frozen.incident_ref,
            cluster=frozen.cluster,
            systems=self.systems,
            evidence=evidence,
            clock=self.clock,
        )

    async def react(self, run: Run, frozen: FrozenRun, steps: Sequence[Step]) -> bool:
        """Do what the playbook says for a run that failed or did not help; return whether it escalated.

        Reactions only read and tell (`check` refuses others), so repeating them after a crash does no harm. One that
        fails is told and does not keep the others from happening.
        """
        escalated = False
        for reaction in frozen.playbook.on_failure:
            ctx = self.context(run, frozen, "on_failure")
            try:
                assert isinstance(reaction.action, Read)
                async with asyncio.timeout(reaction.action.default_timeout_seconds):
                    await reaction.action.execute(ctx, reaction.parameters(frozen.values(steps)))
                outcome = "done"
                escalated = escalated or reaction.action.name == ESCALATE
            except (HdrError, TimeoutError) as error:
                outcome = f"failed: {str(error) or 'no answer in time'}"
            except Exception as error:
                log.exception("reaction_crashed", action=reaction.action.name)
                outcome = f"failed: unexpected {type(error).__name__}"
            async with self.telling(run) as told:
                text = f"On failure: {reaction.action.name} {outcome}"[:1000]
                told.ledger.entry(told.incident, EntryKind.STEP_ENDED, text, run_id=run.id)
        return escalated

    async def end(
        self, told: Telling, run: Run, status: RunStatus, reason: str, *, escalated: bool = False, undo: bool = False
    ) -> None:
        """End a run in this transaction: record it, release, tell, escalate if need be.

        The changes of a failed one are taken back first where the playbook says so, or ``undo`` does.
        """
        run.move(status, reason, at=told.ledger.now)
        await told.tx.runs.save(run)
        if status is RunStatus.AMBIGUOUS:
            await close_steps(told, run)
        if status is RunStatus.FAILED:
            await let_go(told.tx, told.ledger, run, undo=undo)
        else:
            await give_back_targets(told.tx, told.ledger, run.id)
        word = run.verification if run.verification is not Verification.NONE else status
        text = f"{run.playbook}: {word}. {reason}"
        told.ledger.entry(told.incident, EntryKind.RUN_ENDED, text[:1000], run_id=run.id)
        told.ledger.say(told.incident, text[:2000])
        if run.verification is Verification.VERIFIED:
            self._mitigated(told)
        elif not escalated and _needs_person(run):
            self.escalation.escalate(told.incident, told.ledger, text[:1000])
        self.measures.run_ended(run)

    async def release(self, run: Run, *wake: Job) -> None:
        """Give the run's lease back, and wake who goes on: whoever takes back what a failed run changed needs it."""
        async with self.store.transaction() as tx:
            await tx.runs.release_lease(run.id, self.owner, run.fence)
            for job in (*wake, *([Job.UNDO] if run.status is RunStatus.FAILED else [])):
                await tx.wake(job, [str(run.id)])

    def _mitigated(self, told: Telling) -> None:
        incident = told.incident
        if incident.status in {IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED}:
            incident.move(IncidentStatus.MITIGATED, at=told.ledger.now, by=None)
            self.escalation.verified(incident, told.ledger)
            told.ledger.entry(incident, EntryKind.MITIGATED, "Mitigated: the remediation was verified")

    async def get(self, run_id: uuid.UUID) -> Run:
        """Read a run."""
        async with self.store.transaction() as tx:
            return await tx.runs.get(run_id)

    async def wake_run(self, run: Run, job: Job, after: timedelta | None = None) -> None:
        """Enqueue a job for the run."""
        async with self.store.transaction() as tx:
            await tx.wake(job, [str(run.id)], after)


def _needs_person(run: Run) -> bool:
    return run.status in {RunStatus.FAILED, RunStatus.AMBIGUOUS} or run.verification is Verification.INCONCLUSIVE
