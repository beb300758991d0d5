"""What guards ask, read in the transaction that starts a run.

Two kinds of locks make the answers hold until that transaction ends: the pause switch is shared, so that "paused"
cannot be answered while something still starts, and each target is serialised, so that two runs never count one budget
at once. They are always taken in this order, so that transactions cannot wait for each other.
"""

from __future__ import annotations

from datetime import datetime

import asyncpg

from hdr_responder.adapters.store.controls import read_pause
from hdr_responder.adapters.store.incidents import not_found
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.guards import GuardFacts, Hold, TargetHistory
from hdr_responder.domain.runs import Run

SQL = load("facts")


async def read_facts(session: Session, run: Run, *, now: datetime, since: datetime) -> GuardFacts:
    """Return the facts of a run's surroundings.

    The histories leave the run itself out; ``held_by_run`` may name it. Raises NotFoundError when its incident does not
    exist.
    """
    pause = await read_pause(session)
    targets = await _targets(session, run, since)
    around = await session.row(SQL["surroundings"], run.incident_id)
    if around is None:
        raise not_found(run.incident_id)
    hold = await session.row(SQL["hold"], around["service"], now)
    return GuardFacts(
        now=now,
        pause=pause,
        hold=None if hold is None else Hold(**dict(hold)),
        targets=targets,
        commander=around["commander"],
        incident_open=around["incident_open"],
        alerts_firing=around["alerts_firing"],
        uncertain=around["uncertain"],
        last_alert_at=around["last_alert_at"],
    )


async def _targets(session: Session, run: Run, since: datetime) -> tuple[TargetHistory, ...]:
    targets = run.plan.targets
    if not targets:
        return ()
    await session.execute(SQL["serialise_targets"], sorted({t.key for t in targets}))
    keys, groups = [t.key for t in targets], [t.effect_group for t in targets]
    return tuple(_history(row) for row in await session.fetch(SQL["targets"], keys, groups, run.id, since))


def _history(row: asyncpg.Record) -> TargetHistory:
    return TargetHistory(**dict(row) | {"recent_starts": tuple(row["recent_starts"])})
