"""What guards ask, read in the transaction that starts a run.

Locks make the answers hold until that transaction ends: the pause switch is shared, so that "paused" cannot be answered
while something still starts, and whatever is counted is serialised, so that two runs never count one budget at once.
They are always taken in this order, so that transactions cannot wait for each other: pause, fleet, effect groups,
playbook, targets. What no limit is set for is not serialised.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hdr_responder.adapters.store.controls import read_pause
from hdr_responder.adapters.store.incidents import not_found
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.guards import (
    Counted,
    FactsAsked,
    GuardFacts,
    Hold,
    Limit,
    LimitUse,
    Switches,
    TargetHistory,
    TrackRecord,
)
from hdr_responder.domain.runs import Run

SQL = load("facts")

_ORDER = (Counted.FLEET, Counted.EFFECT, Counted.PLAYBOOK)


async def read_facts(session: Session, run: Run, asked: FactsAsked, *, now: datetime) -> GuardFacts:
    """Return the facts of a run's surroundings.

    What is counted leaves the run itself out; ``held_by_run`` may name it. Raises NotFoundError when its incident does
    not exist.
    """
    pause = await read_pause(session)
    await _serialise(session, run, asked.limits)
    around = await session.row(SQL["surroundings"], run.incident_id)
    if around is None:
        raise not_found(run.incident_id)
    hold = await session.row(SQL["hold"], around["service"], now)
    return GuardFacts(
        now=now,
        pause=pause,
        hold=None if hold is None else Hold(**dict(hold)),
        targets=await _targets(session, run),
        limits=await _limits(session, run, asked.limits, now),
        track_record=await _track_record(session, run, asked.track_record_of),
        commander=around["commander"],
        incident_open=around["incident_open"],
        alerts_firing=around["alerts_firing"],
        uncertain=around["uncertain"],
        last_alert_at=around["last_alert_at"],
    )


async def read_switches(session: Session, run: Run, *, now: datetime) -> Switches:
    """Return what people switched off, under the locks that a start takes too."""
    pause = await read_pause(session)
    await _serialise(session, run, ())
    hold = await session.row(SQL["hold_of_run"], run.incident_id, now)
    return Switches(pause=pause, hold=None if hold is None else Hold(**dict(hold)))


async def _serialise(session: Session, run: Run, limits: Sequence[Limit]) -> None:
    """Wait for other starts that count the same; a target limit is counted under its target's own lock."""
    counted = sorted((_ORDER.index(one.counted), one.name) for one in limits if one.counted in _ORDER)
    names = [f"{_ORDER[place]} {name}" for place, name in counted]
    names += [f"target {key}" for key in sorted({t.key for t in run.plan.targets})]
    if names:
        await session.execute(SQL["serialise"], names)


async def _targets(session: Session, run: Run) -> tuple[TargetHistory, ...]:
    targets = run.plan.targets
    if not targets:
        return ()
    keys, groups = [t.key for t in targets], [t.effect_group for t in targets]
    rows = await session.fetch(SQL["targets"], keys, groups, run.id, run.playbook)
    return tuple(TargetHistory(**dict(row)) for row in rows)


async def _limits(session: Session, run: Run, limits: Sequence[Limit], now: datetime) -> tuple[LimitUse, ...]:
    if not limits:
        return ()
    rows = await session.fetch(
        SQL["limits"],
        run.id,
        now,
        [one.counted for one in limits],
        [one.name for one in limits],
        [one.target_key for one in limits],
        [one.allowance.runs for one in limits],
        [one.allowance.per for one in limits],
    )
    return tuple(LimitUse(limit=one, full_since=row["full_since"]) for one, row in zip(limits, rows, strict=True))


async def _track_record(session: Session, run: Run, newest: int) -> TrackRecord:
    row = await session.row(SQL["track_record"], run.playbook, run.id, newest) if newest else None
    return TrackRecord() if row is None else TrackRecord(**dict(row))
