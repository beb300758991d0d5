"""Runs, their steps, locks, leases and approvals.

Leases are counted by the database's clock, so that replicas agree on who is late.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from hdr_responder.adapters.store.facts import read_facts, read_switches
from hdr_responder.adapters.store.rows import document, names, parsed, pick, read, text
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.guards import FactsAsked, GuardFacts, Switches
from hdr_responder.domain.ports.runs import Renewal
from hdr_responder.domain.runs import Approval, Mode, Plan, Run, RunStatus, Step, StepStatus, Trigger, Verification
from hdr_responder.errors import FencedError, NotFoundError

SQL = load("runs")
COLUMNS = names(Run, without=("approvals",))
STEP_COLUMNS = names(Step)


def to_run(row: asyncpg.Record) -> Run:
    """Return the run that a row holds, its approvals included."""
    return Run(
        **read(row, COLUMNS)
        | {
            "mode": Mode(row["mode"]),
            "status": RunStatus(row["status"]),
            "verification": Verification(row["verification"]),
            "trigger": Trigger(row["trigger"]),
            "plan": Plan.model_validate_json(row["plan"]),
            "approvals": tuple(_to_approval(a) for a in parsed(row["approvals"])),
        }
    )


def to_step(row: asyncpg.Record) -> Step:
    """Return the step that a row holds."""
    documents = {name: parsed(row[name]) for name in ("parameters", "result", "state")}
    return Step(**read(row, STEP_COLUMNS) | documents | {"status": StepStatus(row["status"])})


def run_not_found(run_id: uuid.UUID) -> NotFoundError:
    """Return the error for a run that does not exist."""
    return NotFoundError(f"run {run_id} does not exist")


def _to_approval(value: dict[str, Any]) -> Approval:
    at = datetime.fromisoformat(value["at"])
    return Approval(person=value["person"], decision=value["decision"], at=at, gate=value["gate"])


class PostgresRuns:
    """The `Runs` port."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def insert(self, run: Run, steps: Sequence[Step]) -> bool:
        """Store a new run; False (and nothing stored) when automation already ran it in this episode."""
        if not await self._session.execute(SQL["insert"], document(pick(run, COLUMNS))):
            return False
        targets = run.plan.targets
        if targets:
            keys, groups = [t.key for t in targets], [t.effect_group for t in targets]
            await self._session.execute(SQL["insert_targets"], run.id, keys, groups)
        if steps:
            await self._session.execute(SQL["insert_steps"], document([pick(s, STEP_COLUMNS) for s in steps]))
        return True

    async def get(self, run_id: uuid.UUID, *, lock: bool = False) -> Run:
        """Return one; raises NotFoundError."""
        row = await self._session.row(SQL["get_locked" if lock else "get"], run_id)
        if row is None:
            raise run_not_found(run_id)
        return to_run(row)

    async def cancelled_by(self, run_id: uuid.UUID) -> str | None:
        """Lock a run and return who asked for its end; raises NotFoundError."""
        row = await self._session.row(SQL["cancelled_by"], run_id)
        if row is None:
            raise run_not_found(run_id)
        person: str | None = row["cancel_requested_by"]
        return person

    async def of_incident(self, incident_id: int) -> list[Run]:
        """Return an incident's runs, oldest first."""
        return [to_run(row) for row in await self._session.fetch(SQL["of_incident"], incident_id)]

    async def save(self, run: Run) -> None:
        """Store the run's present state; raises FencedError when its fence is no longer the newest."""
        if not await self._session.execute(SQL["save"], document(pick(run, COLUMNS))):
            raise _fenced(run)

    async def steps(self, run_id: uuid.UUID) -> list[Step]:
        """Return the steps in order."""
        return [to_step(row) for row in await self._session.fetch(SQL["steps"], run_id)]

    async def save_step(self, run: Run, step: Step) -> None:
        """Store a step's present state; raises FencedError as `save` does."""
        row = document(pick(step, STEP_COLUMNS))
        if not await self._session.execute(SQL["save_step"], row, run.id, run.fence):
            raise _fenced(run)

    async def facts(self, run: Run, asked: FactsAsked, *, now: datetime) -> GuardFacts:
        """Read what guards ask, holding the pause switch, what is counted and the run's targets until the end."""
        return await read_facts(self._session, run, asked, now=now)

    async def switches(self, run: Run, *, now: datetime) -> Switches:
        """Read what people switched off, holding the pause switch and the run's targets until the transaction ends."""
        return await read_switches(self._session, run, now=now)

    async def lock_targets(self, run_id: uuid.UUID, keys: Sequence[str]) -> bool:
        """Take the target locks, all or none; those that the run already holds stay its own."""
        wanted = sorted(set(keys))
        taken = [row["target_key"] for row in await self._session.fetch(SQL["lock_targets"], run_id, wanted)]
        if await self._session.value(SQL["locks_held"], run_id, wanted) == len(wanted):
            return True
        await self._session.execute(SQL["unlock_targets"], run_id, taken)
        return False

    async def release_targets(self, run_id: uuid.UUID) -> list[uuid.UUID]:
        """Give the target locks back; return the runs that the guard of one of these targets holds, oldest first."""
        return [row["id"] for row in await self._session.fetch(SQL["release_targets"], run_id)]

    async def lease(self, run_id: uuid.UUID, owner: str, duration: timedelta) -> int | None:
        """Take the run's lease and return its new fencing token.

        None when a live worker holds it, also when that is ``owner`` itself.
        """
        fence: int | None = await self._session.value(SQL["lease"], run_id, owner, duration)
        return fence

    async def renew(self, run_id: uuid.UUID, owner: str, fence: int, duration: timedelta) -> Renewal | None:
        """Extend the lease; None when another worker has taken the run over."""
        row = await self._session.row(SQL["renew"], run_id, owner, fence, duration)
        return None if row is None else Renewal(cancelled_by=row["cancel_requested_by"])

    async def release_lease(self, run_id: uuid.UUID, owner: str, fence: int) -> None:
        """Give the lease back; nothing when it was lost."""
        await self._session.execute(SQL["release_lease"], run_id, owner, fence)

    async def approve(self, run_id: uuid.UUID, approval: Approval) -> None:
        """Record one person's word; the first one counts."""
        person = text(approval.person)
        await self._session.execute(SQL["approve"], run_id, person, approval.decision, approval.at, approval.gate)

    async def in_status(self, statuses: Sequence[RunStatus], limit: int) -> list[Run]:
        """Return the runs in these statuses, oldest first."""
        return [to_run(row) for row in await self._session.fetch(SQL["in_status"], list(statuses), limit)]

    async def waiting(self, limit: int) -> list[uuid.UUID]:
        """Return the runs that a guard holds or that wait for approval, oldest first."""
        return [row["id"] for row in await self._session.fetch(SQL["waiting"], limit)]

    async def undo_due(self, now: datetime, limit: int) -> list[uuid.UUID]:
        """Return the runs with a temporary change whose time is up, the longest overdue first."""
        return [row["run_id"] for row in await self._session.fetch(SQL["undo_due"], now, limit)]

    async def undoing(self, limit: int) -> list[Run]:
        """Return the ended runs whose changes a worker takes back just now, oldest first."""
        return [to_run(row) for row in await self._session.fetch(SQL["undoing"], limit)]

    async def force_undo(self, run_id: uuid.UUID, by: str, at: datetime) -> None:
        """Record that a person forces the run's changes back; the last one is kept."""
        await self._session.execute(SQL["force_undo"], run_id, text(by), at)


def _fenced(run: Run) -> FencedError:
    return FencedError(f"run {run.id} was taken over by another worker (fence {run.fence} is no longer the newest)")
