"""The `Runs` port on PostgreSQL, most of all what must hold when several workers act at once."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime, timedelta

import pytest

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.domain.alerts import AlertStatus
from hdr_responder.domain.guards import Allowance, Counted, FactsAsked, Hold, Limit, PauseState, TargetHistory
from hdr_responder.domain.runs import Approval, Run, RunStatus, StepStatus, Verification
from hdr_responder.errors import FencedError, NotFoundError
from tests.integration.store.samples import MINUTE, NOW, occurrence, plan, run, step, stored_incident, stored_run

pytestmark = pytest.mark.service

LEASE = timedelta(seconds=30)


async def _lease(store: PostgresStore, run_id: uuid.UUID, owner: str) -> int | None:
    async with store.transaction() as tx:
        return await tx.runs.lease(run_id, owner, LEASE)


async def _expire(pool: Pool, run_id: uuid.UUID) -> None:
    await pool.execute("update runs set lease_until = clock_timestamp() - interval '1 s' where id = $1", run_id)


def once(at: Run, runs: int = 1) -> Limit:
    """So many runs in ten minutes on the run's target."""
    (target,) = at.plan.targets
    allowance = Allowance(runs=runs, per=10 * MINUTE)
    return Limit(counted=Counted.TARGET, allowance=allowance, name=target.effect_group, target_key=target.key)


async def test_a_run_comes_back_as_it_was_saved(store: PostgresStore) -> None:
    saved = await stored_run(store, "a", "b")
    steps = [step(saved, 0), step(saved, 1)]
    async with store.transaction() as tx:
        assert await tx.runs.get(saved.id) == saved
        assert await tx.runs.steps(saved.id) == steps
        assert await tx.runs.of_incident(saved.incident_id) == [saved]
        saved.status, saved.started_at, saved.verification = RunStatus.RUNNING, NOW, Verification.PENDING
        saved.next_check_at, saved.cancel_requested_by, saved.reason = NOW, "anna", "started"
        await tx.runs.save(saved)
        steps[1].status, steps[1].result, steps[1].state = StepStatus.SUCCEEDED, {"log": "a\x00b"}, {"replicas": 3}
        steps[1].undo_at, steps[1].error = NOW, "e"
        await tx.runs.save_step(saved, steps[1])
        assert await tx.runs.get(saved.id, lock=True) == saved
        steps[1].result = {"log": "a\ufffdb"}
        assert await tx.runs.steps(saved.id) == steps
        with pytest.raises(NotFoundError):
            await tx.runs.get(uuid.uuid4())


async def test_automation_runs_a_playbook_once_an_episode_and_people_as_often_as_they_ask(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        opened = await stored_incident(tx)

    async def automate(episode: int) -> bool:
        new = run(opened.id, "a", requested_by=None, episode=episode)
        async with store.transaction() as tx:
            return await tx.runs.insert(new, [step(new)])

    assert sorted(await asyncio.gather(*(automate(1) for _ in range(5)))) == [False] * 4 + [True]
    assert await automate(2)
    for _ in range(2):
        new = run(opened.id, "a")
        async with store.transaction() as tx:
            assert await tx.runs.insert(new, [step(new)])


async def test_ten_starters_get_one_lock(store: PostgresStore) -> None:
    runs = [await stored_run(store, "x", "y") for _ in range(10)]

    async def start(each: Run) -> bool:
        async with store.transaction() as tx:
            facts = await tx.runs.facts(each, FactsAsked(), now=NOW)
            free = all(t.held_by_run is None for t in facts.targets)
            taken = await tx.runs.lock_targets(each.id, ["y", "x"])
            assert taken == free
            return taken

    assert sorted(await asyncio.gather(*(start(r) for r in runs))) == [False] * 9 + [True]


async def test_a_start_waits_for_another_one_on_its_target_and_counts_it(store: PostgresStore) -> None:
    """Otherwise both would count the budget before either of them is in it."""
    first, second, elsewhere = [await stored_run(store, key) for key in ("x", "x", "y")]

    async def look(at: Run) -> datetime | None:
        async with store.transaction() as tx:
            (use,) = (await tx.runs.facts(at, FactsAsked(limits=(once(at),)), now=NOW)).limits
            return use.full_since

    async with store.transaction() as starting:
        await starting.runs.facts(first, FactsAsked(limits=(once(first),)), now=NOW)
        looking = asyncio.create_task(look(second))
        assert await look(elsewhere) is None
        first.status, first.started_at, first.ended_at = RunStatus.COMPLETED, NOW, NOW
        await starting.runs.save(first)
    assert await looking == NOW


async def test_locks_are_taken_all_or_none_even_without_facts(store: PostgresStore, pool: Pool) -> None:
    first, second = [await stored_run(store) for _ in range(2)]
    async with store.transaction() as tx:
        assert await tx.runs.lock_targets(first.id, ["b"])
        assert await tx.runs.lock_targets(first.id, ["b", "c"])
        assert not await tx.runs.lock_targets(second.id, ["a", "b"])
    held = await pool.fetch("select target_key, run_id from target_locks order by 1")
    assert [tuple(row) for row in held] == [("b", first.id), ("c", first.id)]
    async with store.transaction() as tx:
        await tx.runs.release_targets(first.id)
        assert await tx.runs.lock_targets(second.id, ["a", "b"])


async def test_a_pause_that_returned_is_seen_by_every_later_start(store: PostgresStore) -> None:
    """Starters and one pause race; nothing that starts after the pause returned may have seen the switch open."""
    runs = [await stored_run(store, f"t{number}") for number in range(12)]
    paused = asyncio.Event()
    started_after: list[bool] = []

    async def start(each: Run) -> None:
        async with store.transaction() as tx:
            facts = await tx.runs.facts(each, FactsAsked(), now=NOW)
            if facts.pause.engaged:
                return
            each.status, each.started_at = RunStatus.RUNNING, NOW
            await tx.runs.save(each)
            started_after.append(paused.is_set())

    async def pause() -> None:
        async with store.transaction() as tx:
            await tx.controls.set_pause(PauseState(engaged=True, by="anna", at=NOW))
        paused.set()

    await asyncio.gather(*(start(r) for r in runs[:6]), pause(), *(start(r) for r in runs[6:]))
    assert not any(started_after)
    async with store.transaction() as tx:
        running = await tx.runs.in_status([RunStatus.RUNNING], 100)
    assert len(running) == len(started_after)


async def test_facts_tell_the_surroundings(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        opened = await stored_incident(tx, commander="anna")
        new = run(opened.id, "a")
        await tx.runs.insert(new, [])
        await tx.alerts.save(
            [
                occurrence("f1", incident_id=opened.id, last_received_at=NOW - MINUTE),
                occurrence("f2", incident_id=opened.id, uncertain=True, last_received_at=NOW - 2 * MINUTE),
                occurrence("f3", incident_id=opened.id, status=AlertStatus.RESOLVED, ends_at=NOW),
            ]
        )
        hold = Hold(service=opened.service, until=NOW + MINUTE, by="ben", reason="deploy")
        await tx.controls.set_hold(hold)
        facts = await tx.runs.facts(new, FactsAsked(), now=NOW)
        later = await tx.runs.facts(new, FactsAsked(), now=NOW + MINUTE)
    assert facts.hold == hold
    assert later.hold is None
    assert (facts.commander, facts.incident_open, facts.alerts_firing, facts.uncertain) == ("anna", True, 2, True)
    assert facts.last_alert_at == NOW - MINUTE
    assert facts.pause == PauseState(engaged=False)
    assert facts.targets == (TargetHistory(key="a", effect_group="restart", held_by_run=None, last_ended_at=None),)


async def test_facts_of_a_quiet_incident(store: PostgresStore) -> None:
    new = await stored_run(store)
    async with store.transaction() as tx:
        facts = await tx.runs.facts(new, FactsAsked(), now=NOW)
    assert (facts.alerts_firing, facts.uncertain, facts.last_alert_at, facts.targets) == (0, False, None, ())


async def test_history_counts_other_runs_that_started_on_target_and_effect_group(store: PostgresStore) -> None:
    started = [
        await stored_run(store, "a", started_at=NOW - n * MINUTE, ended_at=NOW - (n - 1) * MINUTE) for n in (1, 5, 60)
    ]
    await stored_run(store, "a", status=RunStatus.DENIED, ended_at=NOW)
    await stored_run(store, "a", plan=plan("a", group="scale"), started_at=NOW, ended_at=NOW)
    await stored_run(store, "b", started_at=NOW, ended_at=NOW)
    new = await stored_run(store, "a", started_at=NOW, ended_at=NOW)
    asked = FactsAsked(limits=(once(new, runs=2), once(new, runs=3)))
    async with store.transaction() as tx:
        await tx.runs.lock_targets(started[0].id, ["a"])
        facts = await tx.runs.facts(new, asked, now=NOW)
    assert facts.targets == (
        TargetHistory(
            key="a",
            effect_group="restart",
            held_by_run=str(started[0].id),
            last_ended_at=NOW,
        ),
    )
    assert [use.full_since for use in facts.limits] == [NOW - 5 * MINUTE, None]


async def test_a_forced_undo_is_kept_by_later_saves(store: PostgresStore) -> None:
    saved = await stored_run(store, "a", status=RunStatus.FAILED, ended_at=NOW)
    async with store.transaction() as tx:
        await tx.runs.force_undo(saved.id, "anna", NOW)
        await tx.runs.force_undo(saved.id, "ben", NOW + MINUTE)
        await tx.runs.save(saved)
        read = await tx.runs.get(saved.id)
    assert (read.undo_forced_by, read.undo_forced_at) == ("ben", NOW + MINUTE)


async def test_undoing_is_what_a_worker_takes_back_just_now(store: PostgresStore, pool: Pool) -> None:
    back = await stored_run(store, "a", status=RunStatus.FAILED, ended_at=NOW)
    done = await stored_run(store, "b", status=RunStatus.FAILED, ended_at=NOW)
    runs = await stored_run(store, "c", status=RunStatus.RUNNING, started_at=NOW)
    await pool.execute("update steps set undo_at = $1, state = '{}'", NOW)
    await pool.execute("update steps set undone = 'undone' where run_id = $1", done.id)
    assert [await _lease(store, r.id, "w") for r in (back, done, runs)] == [1, 1, 1]
    async with store.transaction() as tx:
        assert [r.id for r in await tx.runs.undoing(10)] == [back.id]
        await tx.runs.release_lease(back.id, "w", 1)
        assert await tx.runs.undoing(10) == []


async def test_a_lease_is_taken_by_one_of_ten(store: PostgresStore) -> None:
    saved = await stored_run(store, status=RunStatus.RUNNING, started_at=NOW)
    taken = await asyncio.gather(*(_lease(store, saved.id, f"w{n}") for n in range(10)))
    assert [fence for fence in taken if fence is not None] == [1]
    assert await _lease(store, uuid.uuid4(), "w") is None


async def test_a_takeover_fences_the_late_worker(store: PostgresStore, pool: Pool) -> None:
    saved = await stored_run(store, "a", status=RunStatus.RUNNING, started_at=NOW)
    assert await _lease(store, saved.id, "old") == 1
    assert await _lease(store, saved.id, "old") is None
    saved.fence = 1
    async with store.transaction() as tx:
        await tx.runs.save(saved)
        assert await tx.runs.renew(saved.id, "old", 1, LEASE)
    await _expire(pool, saved.id)
    assert await _lease(store, saved.id, "new") == 2
    async with store.transaction() as tx:
        assert not await tx.runs.renew(saved.id, "old", 1, LEASE)
        await tx.runs.release_lease(saved.id, "old", 1)
    assert await _lease(store, saved.id, "third") is None
    with pytest.raises(FencedError):
        async with store.transaction() as tx:
            await tx.runs.save(saved)
    with pytest.raises(FencedError):
        async with store.transaction() as tx:
            await tx.runs.save_step(saved, step(saved, status=StepStatus.SUCCEEDED))
    async with store.transaction() as tx:
        assert (await tx.runs.steps(saved.id))[0].status is StepStatus.PENDING
        await tx.runs.release_lease(saved.id, "new", 2)
    assert await _lease(store, saved.id, "third") == 3


async def test_a_step_is_not_saved_while_a_takeover_commits(store: PostgresStore, pool: Pool) -> None:
    """The late worker's statement begins before the takeover commits and must still lose."""
    saved = await stored_run(store, "a", status=RunStatus.RUNNING, started_at=NOW, fence=1)

    async def save() -> None:
        async with store.transaction() as tx:
            await tx.runs.save_step(saved, step(saved, status=StepStatus.SUCCEEDED))

    async with store.transaction() as takeover:
        assert await takeover.runs.lease(saved.id, "new", LEASE) == 2
        saving = asyncio.create_task(save())
        async with asyncio.timeout(10):
            while not await pool.fetchval(
                "select exists (select from pg_stat_activity where datname = current_database()"
                " and wait_event_type = 'Lock')"
            ):
                pass
    with pytest.raises(FencedError):
        await saving


async def test_the_first_word_of_a_person_counts(store: PostgresStore) -> None:
    saved = await stored_run(store)
    async with store.transaction() as tx:
        await tx.runs.approve(saved.id, Approval(person="anna", decision="approve", at=NOW))
        await tx.runs.approve(saved.id, Approval(person="ben", decision="deny", at=NOW + MINUTE))
        await tx.runs.approve(saved.id, Approval(person="anna", decision="deny", at=NOW + MINUTE))
        read = await tx.runs.get(saved.id)
    assert read.approvals == (
        Approval(person="anna", decision="approve", at=NOW),
        Approval(person="ben", decision="deny", at=NOW + MINUTE),
    )


async def test_runs_are_listed_by_what_they_wait_for(store: PostgresStore) -> None:
    later = await stored_run(store, status=RunStatus.AWAITING_APPROVAL, created_at=NOW + MINUTE)
    held = await stored_run(store)
    undone = await stored_run(store, "a", "b", status=RunStatus.COMPLETED, started_at=NOW, ended_at=NOW)
    due = await stored_run(store, "a", "b", status=RunStatus.VERIFYING, started_at=NOW)
    async with store.transaction() as tx:
        await tx.runs.save_step(undone, step(undone, undo_at=NOW, undone="by hand"))
        for position in (0, 1):
            await tx.runs.save_step(due, step(due, position, undo_at=NOW))
        assert await tx.runs.waiting(9) == [held.id, later.id]
        assert await tx.runs.waiting(1) == [held.id]
        assert await tx.runs.undo_due(NOW, 9) == [due.id]
        assert await tx.runs.undo_due(NOW - MINUTE, 9) == []
        found = await tx.runs.in_status([RunStatus.VERIFYING, RunStatus.HELD], 9)
    assert {r.id for r in found} == {held.id, due.id}
