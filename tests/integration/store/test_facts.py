"""What guards count: which runs, how far back, and that two starts never count one limit at once."""

from __future__ import annotations

import asyncio

import pytest

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.domain.guards import Allowance, Counted, FactsAsked, GuardFacts, Limit, TargetHistory, TrackRecord
from hdr_responder.domain.runs import Run, RunStatus, Verification
from tests.integration.store.samples import MINUTE, NOW, plan, stored_run
from tests.services.waiting import eventually

pytestmark = pytest.mark.service


def limit(counted: Counted, name: str = "", runs: int = 1) -> Limit:
    return Limit(counted=counted, name=name, allowance=Allowance(runs=runs, per=10 * MINUTE))


async def ended(store: PostgresStore, age: int, helped: Verification, *keys: str, **values: object) -> Run:
    """A run that ended so many minutes ago."""
    status = RunStatus.FAILED if helped is Verification.FAILED else RunStatus.COMPLETED
    at = NOW - age * MINUTE
    given = {"status": status, "verification": helped, "started_at": at - MINUTE, "ended_at": at} | values
    return await stored_run(store, *keys, **given)


async def facts(store: PostgresStore, at: Run, *limits: Limit, newest: int = 0) -> GuardFacts:
    async with store.transaction() as tx:
        return await tx.runs.facts(at, FactsAsked(limits=limits, track_record_of=newest), now=NOW)


async def waits_for_a_lock(pool: Pool, task: asyncio.Task[GuardFacts]) -> None:
    waiting = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"

    async def settled() -> bool:
        return task.done() or bool(await pool.fetchval(waiting))

    await eventually(settled)
    assert not task.done()


async def test_each_limit_counts_its_own(store: PostgresStore) -> None:
    await stored_run(store, "a", started_at=NOW - 9 * MINUTE)
    await stored_run(store, "b", started_at=NOW - 7 * MINUTE, playbook="other")
    await stored_run(store, "c", started_at=NOW - 5 * MINUTE, plan=plan("c", group="scale"), playbook="other")
    await stored_run(store, started_at=NOW - 3 * MINUTE, playbook="reads")
    await stored_run(store, "d", started_at=NOW - 10 * MINUTE)
    await stored_run(store, "e")
    new = await stored_run(store, "a", started_at=NOW)
    asked = (
        limit(Counted.FLEET),
        limit(Counted.FLEET, runs=3),
        limit(Counted.FLEET, runs=4),
        limit(Counted.EFFECT, "restart"),
        limit(Counted.EFFECT, "restart", runs=3),
        limit(Counted.EFFECT, "scale"),
        limit(Counted.PLAYBOOK, "restart"),
        limit(Counted.PLAYBOOK, "other", runs=2),
        limit(Counted.PLAYBOOK, "reads"),
    )
    full = [use.full_since for use in (await facts(store, new, *asked)).limits]
    ages = [5, 9, None, 7, None, 5, 9, 7, 3]
    assert full == [None if age is None else NOW - age * MINUTE for age in ages]


@pytest.mark.parametrize(
    ("counted", "name", "elsewhere"),
    [
        (Counted.FLEET, "", None),
        (Counted.EFFECT, "restart", ("b", "scale", "restart")),
        (Counted.PLAYBOOK, "restart", ("b", "restart", "other")),
    ],
)
async def test_starts_that_count_the_same_wait_for_each_other(
    store: PostgresStore, pool: Pool, counted: Counted, name: str, elsewhere: tuple[str, str, str] | None
) -> None:
    """On different targets; what is counted elsewhere does not wait."""
    first, second = await stored_run(store, "a"), await stored_run(store, "b")
    async with store.transaction() as tx:
        await tx.runs.facts(first, FactsAsked(limits=(limit(counted, name),)), now=NOW)
        looking = asyncio.create_task(facts(store, second, limit(counted, name)))
        if elsewhere is not None:
            key, group, playbook = elsewhere
            other = await stored_run(store, key + "x", plan=plan(key + "x", group=group), playbook=playbook)
            own = limit(counted, group if counted is Counted.EFFECT else playbook)
            await asyncio.wait_for(facts(store, other, own), 5)
        await waits_for_a_lock(pool, looking)
        first.status, first.started_at = RunStatus.RUNNING, NOW
        await tx.runs.save(first)
    (use,) = (await looking).limits
    assert use.full_since == NOW


async def test_failures_are_counted_back_to_the_last_that_helped(store: PostgresStore) -> None:
    failed, unknown, helped = Verification.FAILED, Verification.INCONCLUSIVE, Verification.VERIFIED
    await ended(store, 1, failed, "a")
    await ended(store, 2, Verification.NONE, "a", status=RunStatus.CANCELLED)
    await ended(store, 3, Verification.PENDING, "a", status=RunStatus.AMBIGUOUS)
    await ended(store, 4, unknown, "a")
    await ended(store, 5, helped, "a")
    await ended(store, 6, failed, "a")
    await ended(store, 0, failed, "a", playbook="other")
    await ended(store, 0, failed, "a", plan=plan("a", group="scale"))
    await ended(store, 0, failed, "b")
    await ended(store, 0, failed, "a", status=RunStatus.EXPIRED, started_at=None)
    new = await ended(store, 0, failed, "a", status=RunStatus.HELD, ended_at=None)
    (history,) = (await facts(store, new)).targets
    assert history == TargetHistory(
        key="a",
        effect_group="restart",
        held_by_run=None,
        last_ended_at=NOW,
        failures=3,
        last_failed_at=NOW - MINUTE,
    )


async def test_failures_of_a_target_that_never_recovered_are_bounded(store: PostgresStore) -> None:
    for age in range(1, 54):
        await ended(store, age, Verification.FAILED, "a")
    (history,) = (await facts(store, await stored_run(store, "a"))).targets
    assert (history.failures, history.last_failed_at) == (50, NOW - MINUTE)


async def test_the_record_is_of_the_newest_conclusive_runs_that_changed_something(store: PostgresStore) -> None:
    failed, unknown, helped = Verification.FAILED, Verification.INCONCLUSIVE, Verification.VERIFIED
    for age, verification in enumerate((failed, unknown, helped, helped, helped), start=1):
        await ended(store, age, verification, f"t{age}")
    await ended(store, 0, helped)
    await ended(store, 0, helped, "a", playbook="other")
    await ended(store, 0, Verification.NONE, "a", status=RunStatus.CANCELLED)
    await stored_run(store, "a", status=RunStatus.RUNNING, started_at=NOW)
    new = await stored_run(store, "a")
    assert (await facts(store, new, newest=4)).track_record == TrackRecord(runs=4, verified=2)
    assert (await facts(store, new, newest=10)).track_record == TrackRecord(runs=5, verified=3)
    assert (await facts(store, new)).track_record == TrackRecord()
