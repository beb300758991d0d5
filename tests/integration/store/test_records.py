"""The `Records` port on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.domain.guards import PauseState
from hdr_responder.domain.incidents import IncidentStatus
from hdr_responder.domain.notifications import Lane, NotificationKind
from hdr_responder.domain.ports.records import MAX_PAGE, IncidentFilter, Page, PageRequest
from hdr_responder.domain.ports.store import Artifact, Job
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Approval, RunStatus
from hdr_responder.domain.timeline import EntryKind, TimelineEntry
from hdr_responder.errors import InvalidInputError, NotFoundError
from tests.integration.store.samples import (
    MINUTE,
    NOW,
    incident,
    notification,
    occurrence,
    run,
    step,
    stored_incident,
    stored_run,
)

pytestmark = pytest.mark.service

T = TypeVar("T")


@pytest.fixture
def records(pool: Pool) -> PostgresRecords:
    return PostgresRecords(pool)


async def _all(read: Callable[[PageRequest], Awaitable[Page[T]]], size: int) -> list[T]:
    items: list[T] = []
    cursor: str | None = None
    while True:
        page = await read(PageRequest(limit=size, cursor=cursor))
        assert len(page.items) <= size
        items += page.items
        if page.next_cursor is None:
            return items
        cursor = page.next_cursor


async def test_incidents_come_newest_first_and_filtered(store: PostgresStore, records: PostgresRecords) -> None:
    new = [
        incident("a", priority=Priority.P2),
        incident("b", status=IncidentStatus.RESOLVED, resolved_at=NOW),
        incident("c", service="other"),
    ]
    async with store.transaction() as tx:
        await tx.incidents.insert(new)

    async def keys(**values: object) -> list[str]:
        which = IncidentFilter(**values)  # type: ignore[arg-type]
        return [i.key for i in (await records.incidents(which, PageRequest())).items]

    assert await keys() == ["c", "b", "a"]
    assert await keys(statuses=(IncidentStatus.TRIGGERED,)) == ["c", "a"]
    assert await keys(priorities=(Priority.P1,), service="other") == ["c"]
    assert await keys(service="absent") == []


@pytest.mark.parametrize("size", [1, 2, 3, 4, MAX_PAGE])
async def test_pages_neither_skip_nor_repeat(
    store: PostgresStore, records: PostgresRecords, pool: Pool, size: int
) -> None:
    async with store.transaction() as tx:
        opened = await stored_incident(tx)
        await tx.incidents.insert([incident(f"other{n}") for n in range(3)])
        await tx.alerts.save([occurrence(f"f{n}", incident_id=opened.id) for n in range(4)])
        note = TimelineEntry(incident_id=opened.id, at=NOW, kind=EntryKind.NOTE, summary="x")
        await tx.timeline.append([note] * 4)
        runs = [run(opened.id, created_at=NOW + (n // 2) * MINUTE) for n in range(4)]
        for each in runs:
            await tx.runs.insert(each, [])
    await pool.execute(
        "insert into deliveries (source, received_at, body, status)"
        " select 'am', now(), 'b', 'received' from generate_series(1, 4)"
    )
    found = await _all(lambda page: records.incidents(IncidentFilter(), page), size)
    assert [i.id for i in found] == [4, 3, 2, 1]
    alerts = await _all(lambda page: records.alerts(opened.id, page), size)
    assert [o.fingerprint for o in alerts] == ["f0", "f1", "f2", "f3"]
    entries = await _all(lambda page: records.timeline(opened.id, page), size)
    assert [e.id for e in entries] == [1, 2, 3, 4]
    listed = await _all(lambda page: records.runs((), page), size)
    assert listed == sorted(runs, key=lambda r: (r.created_at, r.id.bytes), reverse=True)
    deliveries = await _all(lambda page: records.deliveries(("received",), page), size)
    assert [(d.id, d.body) for d in deliveries] == [(4, b""), (3, b""), (2, b""), (1, b"")]


async def test_a_page_keeps_its_place_while_records_are_added(store: PostgresStore, records: PostgresRecords) -> None:
    async with store.transaction() as tx:
        await tx.incidents.insert([incident("a"), incident("b")])
    first = await records.incidents(IncidentFilter(), PageRequest(limit=1))
    async with store.transaction() as tx:
        await tx.incidents.insert([incident("c")])
    second = await records.incidents(IncidentFilter(), PageRequest(limit=1, cursor=first.next_cursor))
    assert [i.key for i in second.items] == ["a"]
    assert second.next_cursor is None


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "W10", "bnVsbA", "WyJydW5zIiwiMSJd", "a" * 4000, "WyJpbmNpZGVudHMiLCItMSJd"]
)
async def test_a_foreign_cursor_is_refused(records: PostgresRecords, cursor: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await records.incidents(IncidentFilter(), PageRequest(cursor=cursor))
    assert caught.value.field == "cursor"


async def test_a_cursor_serves_its_own_listing_only(store: PostgresStore, records: PostgresRecords) -> None:
    async with store.transaction() as tx:
        await tx.incidents.insert([incident("a"), incident("b")])
    page = await records.incidents(IncidentFilter(), PageRequest(limit=1))
    for read in (
        records.runs((), PageRequest(cursor=page.next_cursor)),
        records.alerts(1, PageRequest(cursor=page.next_cursor)),
    ):
        with pytest.raises(InvalidInputError):
            await read


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
async def test_a_page_size_out_of_bounds_is_refused(records: PostgresRecords, limit: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await records.incidents(IncidentFilter(), PageRequest(limit=limit))
    assert caught.value.field == "limit"


async def test_an_incident_comes_with_its_details(store: PostgresStore, records: PostgresRecords) -> None:
    async with store.transaction() as tx:
        opened = await stored_incident(tx)
        await tx.alerts.save([occurrence(f"f{n}", incident_id=opened.id) for n in range(101)])
        runs = [run(opened.id, "a", "b", created_at=NOW + n * MINUTE) for n in (1, 0)]
        for each in runs:
            await tx.runs.insert(each, [step(each, 1), step(each, 0)])
        await tx.runs.approve(runs[0].id, Approval(person="anna", decision="approve", at=NOW))
        artifact = Artifact(
            id=uuid.uuid4(),
            incident_id=opened.id,
            run_id=None,
            step_id="",
            name="n",
            media_type="t",
            size=1,
            sha256=b"s",
            path="p",
            created_at=NOW,
        )
        await tx.artifacts.add(artifact)
    record = await records.incident(opened.id)
    assert record.incident == opened
    assert len(record.alerts) == 100
    assert [(r.id, [s.position for s in steps]) for r, steps in record.runs] == [
        (runs[1].id, [0, 1]),
        (runs[0].id, [0, 1]),
    ]
    assert record.runs[1][0].approvals[0].person == "anna"
    assert record.artifacts == (artifact,)
    assert await records.artifact(artifact.id) == artifact
    assert await records.run(runs[0].id) == record.runs[1]


async def test_what_does_not_exist_is_not_found(records: PostgresRecords) -> None:
    nobody = uuid.uuid4()
    for read in (records.incident(9), records.run(nobody), records.artifact(nobody), records.delivery(9)):
        with pytest.raises(NotFoundError):
            await read


async def test_runs_of_a_period_come_with_their_incidents(store: PostgresStore, records: PostgresRecords) -> None:
    runs = [await stored_run(store, created_at=NOW + n * MINUTE) for n in range(4)]
    found = await records.runs_between(NOW + MINUTE, NOW + 3 * MINUTE, 10)
    assert [(r.id, i.id) for r, i in found] == [(r.id, r.incident_id) for r in runs[1:3]]
    assert len(await records.runs_between(NOW, NOW + 9 * MINUTE, 2)) == 2


async def test_runs_are_filtered_by_status(store: PostgresStore, records: PostgresRecords) -> None:
    running = await stored_run(store, status=RunStatus.RUNNING, started_at=NOW)
    await stored_run(store)
    assert (await records.runs((RunStatus.RUNNING,), PageRequest())).items == (running,)


async def test_a_delivery_comes_with_its_body(records: PostgresRecords, pool: Pool) -> None:
    await pool.execute(
        "insert into deliveries (source, received_at, body, status) values ('am', $1, 'b', 'parked')", NOW
    )
    assert (await records.delivery(1)).body == b"b"


async def test_health_tells_how_far_behind_the_work_is(
    store: PostgresStore, records: PostgresRecords, pool: Pool
) -> None:
    empty = await records.health()
    assert (empty.oldest_waiting_delivery, empty.queue_depth, empty.open_incidents, empty.paused) == (
        None,
        {},
        {},
        False,
    )
    await pool.execute(
        "insert into deliveries (source, received_at, body, status) values"
        " ('am', $1, '', 'processed'), ('am', $2, '', 'received'), ('am', $3, '', 'received')",
        NOW,
        NOW + MINUTE,
        NOW + 2 * MINUTE,
    )
    async with store.transaction() as tx:
        opened = await stored_incident(tx)
        await tx.incidents.insert([incident("b"), incident("c", status=IncidentStatus.CLOSED)])
        await tx.notifications.add(
            [
                notification(opened.id, NotificationKind.CARD),
                notification(opened.id, NotificationKind.PAGE, lane=Lane.PAGERDUTY, created_at=NOW + MINUTE),
            ]
        )
        await tx.wake(Job.PLAN, ["1", "2"])
        await tx.wake(Job.PLAN, ["3"], MINUTE)
        await tx.controls.set_pause(PauseState(engaged=True, by="anna", at=NOW))
    health = await records.health()
    assert health.oldest_waiting_delivery == NOW + MINUTE
    assert health.queue_depth == {"plan": 2}
    assert health.open_incidents == {Priority.P1: 2}
    assert health.oldest_notification == {"slack": NOW, "pagerduty": NOW + MINUTE}
    assert health.paused
