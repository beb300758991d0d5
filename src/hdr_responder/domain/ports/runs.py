"""The store's records of runs, their steps, their locks and what guards ask of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from hdr_responder.domain.guards import FactsAsked, GuardFacts, Switches
from hdr_responder.domain.runs import Approval, Run, RunStatus, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A lease that was extended, with who cancelled the run meanwhile."""

    cancelled_by: str | None


class Runs(Protocol):
    """Runs, their steps, locks, leases and approvals."""

    async def insert(self, run: Run, steps: Sequence[Step]) -> bool:
        """Store a new run with its plan and pending steps; False when automation already ran it in this episode."""
        ...

    async def get(self, run_id: uuid.UUID, *, lock: bool = False) -> Run:
        """Return one; raises NotFoundError."""
        ...

    async def cancelled_by(self, run_id: uuid.UUID) -> str | None:
        """Lock a run until the transaction ends and return who asked for its end; raises NotFoundError."""
        ...

    async def of_incident(self, incident_id: int) -> list[Run]:
        """Return an incident's runs, oldest first."""
        ...

    async def save(self, run: Run) -> None:
        """Store the run's present state.

        Raises FencedError when another worker has taken it over since (its fence is newer than ``run.fence``).
        """
        ...

    async def steps(self, run_id: uuid.UUID) -> list[Step]:
        """Return the steps in order."""
        ...

    async def save_step(self, run: Run, step: Step) -> None:
        """Store a step's present state; raises FencedError as `save` does."""
        ...

    async def facts(self, run: Run, asked: FactsAsked, *, now: datetime) -> GuardFacts:
        """Read what guards ask of others, holding the switch, what is counted and the run's targets until the end."""
        ...

    async def switches(self, run: Run, *, now: datetime) -> Switches:
        """Read what people switched off, holding the pause switch and the run's targets until the transaction ends."""
        ...

    async def lock_targets(self, run_id: uuid.UUID, keys: Sequence[str]) -> bool:
        """Take the target locks; False (and none taken) when another run holds one."""
        ...

    async def release_targets(self, run_id: uuid.UUID) -> list[uuid.UUID]:
        """Give the target locks back; return the runs that the guard of one of these targets holds, oldest first."""
        ...

    async def lease(self, run_id: uuid.UUID, owner: str, duration: timedelta) -> int | None:
        """Take the run's lease and return the new fencing token; None when a live worker holds it."""
        ...

    async def renew(self, run_id: uuid.UUID, owner: str, fence: int, duration: timedelta) -> Renewal | None:
        """Extend the lease; None when it was lost."""
        ...

    async def release_lease(self, run_id: uuid.UUID, owner: str, fence: int) -> None:
        """Give the lease back, so that another worker need not wait for it to run out."""
        ...

    async def approve(self, run_id: uuid.UUID, approval: Approval) -> None:
        """Record one person's word; the first one counts, a further one changes nothing."""
        ...

    async def waiting(self, limit: int) -> list[uuid.UUID]:
        """Return the runs that a guard holds or that wait for approval, oldest first."""
        ...

    async def in_status(self, statuses: Sequence[RunStatus], limit: int) -> list[Run]:
        """Return the runs in these statuses, oldest first."""
        ...

    async def undo_due(self, now: datetime, limit: int) -> list[uuid.UUID]:
        """Return the runs with a temporary change whose time is up."""
        ...

    async def undoing(self, limit: int) -> list[Run]:
        """Return the ended runs whose changes a worker takes back just now, oldest first."""
        ...

    async def force_undo(self, run_id: uuid.UUID, by: str, at: datetime) -> None:
        """Record that a person forces the run's changes back, whatever is paused or held; the last one is kept."""
        ...
