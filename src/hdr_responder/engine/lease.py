"""Works under a run's lease: renewed while the work goes on, and the work is cancelled before another may begin."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from hdr_responder.domain.runs import Run
from hdr_responder.engine.workbench import Workbench
from hdr_responder.errors import FencedError, TemporaryError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """How long a lease lasts; it is renewed at a third of it.

    Another worker takes over after at most ``duration`` and the time between two sweeps, 14 s as it is.
    """

    duration: timedelta = timedelta(seconds=9)


class LeaseLostError(FencedError):
    """Another worker holds the run now, or soon may: this one stops, writing nothing."""


async def held(
    work: Coroutine[Any, Any, None], run: Run, bench: Workbench, lease: LeaseSettings, cancelled: asyncio.Event
) -> None:
    """Do ``work`` while the lease is kept, and set ``cancelled`` when a person cancels the run.

    Raises what it raises, LeaseLostError when the lease cannot be renewed.
    """
    tasks = {asyncio.create_task(work), asyncio.create_task(_keep(run, bench, lease.duration, cancelled))}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep(run: Run, bench: Workbench, duration: timedelta, cancelled: asyncio.Event) -> None:
    """Renew the lease until cancelled; an outage is borne as long as the lease surely lasts."""
    clock = asyncio.get_running_loop().time
    third = duration.total_seconds() / 3
    lasts_until, pause = clock() + 3 * third, third
    while True:
        await asyncio.sleep(pause)
        asked_at = clock()
        try:
            async with asyncio.timeout(third), bench.store.transaction() as tx:
                kept = await tx.runs.renew(run.id, bench.owner, run.fence, duration)
        except (TemporaryError, TimeoutError) as error:
            if clock() + third >= lasts_until:
                raise LeaseLostError(f"run {run.id}: the lease cannot be renewed") from error
            log.warning("lease_not_renewed", run=str(run.id), error=str(error))
            pause = third / 8
            continue
        if kept is None:
            raise LeaseLostError(f"run {run.id}: the lease was lost")
        if kept.cancelled_by:
            cancelled.set()
        lasts_until, pause = asked_at + 3 * third, third
