"""The `Deliveries`, `Incidents`, `Timeline`, `Artifacts` and `Controls` ports on PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.deliveries import PostgresDeliveries
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.transact import transact
from hdr_responder.domain.guards import Hold, PauseState
from hdr_responder.domain.incidents import IncidentStatus
from hdr_responder.domain.ports.store import Artifact
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.timeline import EntryKind, TimelineEntry
from hdr_responder.errors import AdapterError, ConflictError, NotFoundError, TemporaryError
from tests.integration.store.samples import MINUTE, NOW, incident, stored_incident

pytestmark = pytest.mark.service


async def _deliver(pool: Pool, *bodies: bytes, status: str = "received") -> list[int]:
    rows = await pool.fetch(
        "insert into deliveries (source, received_at, body, status) select 'am', $1, body, $3"
        " from unnest($2::bytea[]) body returning id",
        NOW,
        list(bodies),
        status,
    )
    return [row["id"] for row in rows]


async def test_two_intakes_never_work_on_one_delivery(store: PostgresStore, pool: Pool) -> None:
    await _deliver(pool, b"1", b"2", b"3")
    async with store.transaction() as first, store.transaction() as second:
        assert [d.body for d in await first.deliveries.waiting(2)] == [b"1", b"2"]
        assert [d.body for d in await second.deliveries.waiting(9)] == [b"3"]


async def test_processed_and_parked_deliveries_no_longer_wait(store: PostgresStore, pool: Pool) -> None:
    first, second, third = await _deliver(pool, b"1", b"2", b"3")
    async with store.transaction() as tx:
        await tx.deliveries.park(second, "bad\x00", "alerts.0", NOW)
        await tx.deliveries.mark_processed([first, second], NOW)
        (waiting,) = await tx.deliveries.waiting(9)
    assert (waiting.id, waiting.source) == (third, "am")
    parked = await pool.fetchrow("select status, error, error_field from deliveries where id = $1", second)
    assert parked is not None
    assert tuple(parked) == ("parked", "bad\ufffd", "alerts.0")


async def test_a_reported_reject_stays_rejected(store: PostgresStore, pool: Pool) -> None:
    (rejected,) = await _deliver(pool, b"bad", status="rejected")
    async with store.transaction() as tx:
        assert [d.id for d in await tx.deliveries.unreported_rejects(9)] == [rejected]
        await tx.deliveries.mark_processed([rejected], NOW)
        assert await tx.deliveries.unreported_rejects(9) == []
    assert await pool.fetchval("select status from deliveries") == "rejected"


async def test_a_parked_delivery_can_wait_again(pool: Pool) -> None:
    (parked,) = await _deliver(pool, b"1")
    async with transact(pool) as connection:
        deliveries = PostgresDeliveries(Session(connection))
        await deliveries.park(parked, "bad", "alerts", NOW)
        await deliveries.replay(parked)
        (waiting,) = await deliveries.waiting(9)
        assert (waiting.id, waiting.error) == (parked, None)
        with pytest.raises(ConflictError, match="received"):
            await deliveries.replay(parked)
        with pytest.raises(NotFoundError):
            await deliveries.replay(99)


async def test_incidents_are_numbered_in_order_and_come_back_as_they_were_saved(store: PostgresStore) -> None:
    new = [
        incident("a"),
        incident("b", status=IncidentStatus.CLOSED),
        incident("c", commander="anna", lower_bound=True),
    ]
    async with store.transaction() as tx:
        await tx.incidents.insert(new)
        assert [i.id for i in new] == [1, 2, 3]
        assert await tx.incidents.by_keys(["c", "b", "a"]) == [new[2], new[0]]
        assert await tx.incidents.by_keys(["a"], [2]) == [new[1], new[0]]
        new[0].move(IncidentStatus.RESOLVED, at=NOW, by="anna")
        new[0].priority = Priority.P2
        await tx.incidents.update(new[:1])
        assert await tx.incidents.get(1, lock=True) == new[0]
        with pytest.raises(NotFoundError, match="INC-9"):
            await tx.incidents.get(9)


async def test_one_key_has_one_open_incident(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        await stored_incident(tx)
    with pytest.raises(TemporaryError):
        async with store.transaction() as tx:
            await stored_incident(tx)
    async with store.transaction() as tx:
        await stored_incident(tx, status=IncidentStatus.RESOLVED, resolved_at=NOW)


async def test_a_locked_incident_may_be_referred_to_but_not_changed(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        saved = await stored_incident(tx)
    async with store.transaction() as holder:
        await holder.incidents.get(saved.id, lock=True)
        async with store.transaction() as tx:
            await tx.timeline.append([TimelineEntry(incident_id=saved.id, at=NOW, kind=EntryKind.NOTE, summary="hi")])
            assert await tx.incidents.due(NOW, 9) == []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), store.transaction() as tx:
                await tx.incidents.get(saved.id, lock=True)


async def test_due_incidents_are_those_to_page_or_to_escalate(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        await tx.incidents.insert(
            [
                incident("page", page_at=NOW),
                incident("paged", page_at=NOW, paged_at=NOW),
                incident("escalate", page_at=NOW, paged_at=NOW, escalate_at=NOW - MINUTE),
                incident("later", page_at=NOW + MINUTE),
                incident("over", page_at=NOW, status=IncidentStatus.RESOLVED, resolved_at=NOW),
            ]
        )
        assert [i.key for i in await tx.incidents.due(NOW, 9)] == ["page", "escalate"]
        assert [i.key for i in await tx.incidents.due(NOW, 1)] == ["page"]
        assert [i.key for i in await tx.incidents.to_close(NOW, 9)] == []
        assert [i.key for i in await tx.incidents.to_close(NOW + MINUTE, 9)] == ["over"]


async def test_the_timeline_keeps_its_order_and_refuses_changes(store: PostgresStore, pool: Pool) -> None:
    async with store.transaction() as tx:
        saved = await stored_incident(tx)
        run_id = uuid.uuid4()
        entries = [
            TimelineEntry(incident_id=saved.id, at=NOW, kind=EntryKind.OPENED, summary="opened"),
            TimelineEntry(
                incident_id=saved.id,
                at=NOW,
                kind=EntryKind.STEP_ENDED,
                summary="ended",
                actor="anna",
                detail={"pods": [1, None]},
                run_id=run_id,
            ),
        ]
        await tx.timeline.append(entries)
        read = await tx.timeline.of_incident(saved.id)
        assert [replace(e, id=0) for e in read] == entries
        assert await tx.timeline.of_incident(saved.id, after=read[0].id, limit=5) == read[1:]
    for statement in ("update timeline set summary = ''", "delete from timeline", "truncate timeline"):
        with pytest.raises(Exception, match="append-only"):
            await pool.execute(statement)


async def test_an_entry_of_no_incident_is_refused(store: PostgresStore) -> None:
    with pytest.raises(NotFoundError):
        async with store.transaction() as tx:
            await tx.timeline.append([TimelineEntry(incident_id=9, at=NOW, kind=EntryKind.NOTE, summary="")])


async def test_artifacts_are_listed_oldest_first(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        saved = await stored_incident(tx)
        artifacts = [
            Artifact(
                id=uuid.uuid4(),
                incident_id=saved.id,
                run_id=uuid.uuid4(),
                step_id="logs",
                name=name,
                media_type="text/plain",
                size=3,
                sha256=b"\x00\xff",
                path=name,
                created_at=at,
            )
            for name, at in (("second", NOW + MINUTE), ("first", NOW))
        ]
        for artifact in artifacts:
            await tx.artifacts.add(artifact)
        assert await tx.artifacts.of_incident(saved.id) == artifacts[::-1]


async def test_the_pause_switch_is_kept(store: PostgresStore) -> None:
    state = PauseState(engaged=True, by="anna", reason="deploy", at=NOW)
    async with store.transaction() as tx:
        assert await tx.controls.pause_state() == PauseState(engaged=False)
        await tx.controls.set_pause(state)
    async with store.transaction() as tx:
        assert await tx.controls.pause_state() == state


async def test_pausing_waits_for_what_is_starting_and_is_not_starved_by_later_starts(store: PostgresStore) -> None:
    async def pause() -> None:
        async with store.transaction() as tx:
            await tx.controls.set_pause(PauseState(engaged=True, by="anna", at=NOW))

    async def start_later() -> bool:
        async with store.transaction() as tx:
            return (await tx.controls.pause_state()).engaged

    async with store.transaction() as starting:
        assert not (await starting.controls.pause_state()).engaged
        pausing = asyncio.create_task(pause())
        await _until_waiting(store, 1)
        later = asyncio.create_task(start_later())
        await _until_waiting(store, 2)
        assert not pausing.done()
    await pausing
    assert await later


async def test_a_pause_by_hand_waits_for_what_is_starting_too(store: PostgresStore, pool: Pool) -> None:
    async with store.transaction() as starting:
        await starting.controls.pause_state()
        with pytest.raises(TimeoutError):
            await pool.execute("update pause set engaged = true", timeout=0.2)


async def test_holds_are_replaced(store: PostgresStore, pool: Pool) -> None:
    async with store.transaction() as tx:
        await tx.controls.set_hold(Hold(service="s", until=NOW, by="anna", reason="a"))
        await tx.controls.set_hold(Hold(service="s", until=NOW + MINUTE, by="ben", reason="b"))
    assert [tuple(row) for row in await pool.fetch("select * from holds")] == [("s", NOW + MINUTE, "ben", "b")]


async def test_a_missing_watchdog_is_told_once_until_it_is_heard_again(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        await tx.controls.watchdog_seen("b", NOW)
        await tx.controls.watchdog_seen("a", NOW)
        await tx.controls.watchdog_seen("a", NOW - MINUTE)
        assert await tx.controls.watchdogs_missing(NOW) == []
        assert await tx.controls.watchdogs_missing(NOW + MINUTE) == ["a", "b"]
        assert await tx.controls.watchdogs_missing(NOW + MINUTE) == []
        await tx.controls.watchdog_seen("a", NOW + MINUTE)
        assert await tx.controls.watchdogs_missing(NOW + 2 * MINUTE) == ["a"]


async def test_an_inbound_event_is_taken_by_one_of_ten(store: PostgresStore) -> None:
    async def take() -> bool:
        async with store.transaction() as tx:
            return await tx.controls.first_time("slack:1", NOW)

    assert sorted(await asyncio.gather(*(take() for _ in range(10)))) == [False] * 9 + [True]


async def test_transactions_of_one_name_go_one_by_one(store: PostgresStore) -> None:
    inside = 0

    async def work(name: str) -> None:
        nonlocal inside
        async with store.transaction() as tx:
            await tx.serialise(name)
            inside += 1
            assert inside == 1
            await tx.controls.watchdog_seen("s", NOW)
            inside -= 1

    await asyncio.gather(*(work("intake") for _ in range(8)))
    async with store.transaction() as one, store.transaction() as other:
        await one.serialise("intake")
        await other.serialise("sweep")


async def test_a_block_that_raises_leaves_nothing(store: PostgresStore) -> None:
    async def fail() -> None:
        async with store.transaction() as tx:
            await stored_incident(tx)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await fail()
    async with store.transaction() as tx:
        assert await tx.incidents.by_keys(["k1"]) == []


async def test_a_defect_is_an_adapter_error_without_values(store: PostgresStore) -> None:
    with pytest.raises(AdapterError) as caught:
        async with store.transaction() as tx:
            await stored_incident(tx, priority_reason="secret", problem=None)
    assert "secret" not in str(caught.value)


async def _until_waiting(store: PostgresStore, count: int) -> None:
    """Wait until so many transactions wait for an advisory lock."""
    async with asyncio.timeout(10):
        while True:
            async with store.transaction() as tx:
                waiting = await tx.session.value(  # type: ignore[attr-defined]
                    "select count(*) from pg_locks where not granted and locktype = 'advisory'"
                    " and database = (select oid from pg_database where datname = current_database())"
                )
            if waiting >= count:
                return
