"""The outbox on PostgreSQL: order, claims, collapsing cards."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import Pool
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind, NotificationStatus
from hdr_responder.domain.ports.store import Message
from tests.integration.store.samples import MINUTE, NOW, notification, stored_incident

pytestmark = pytest.mark.service

CARD, THREAD, PAGE, TEST = (
    NotificationKind.CARD,
    NotificationKind.THREAD,
    NotificationKind.PAGE,
    NotificationKind.TEST,
)
VISIBILITY = timedelta(seconds=60)


async def _queue(store: PostgresStore, *notifications: Notification) -> None:
    async with store.transaction() as tx:
        await tx.notifications.add(notifications)


async def _claim(store: PostgresStore, now: datetime = NOW, lane: Lane = Lane.SLACK) -> Notification | None:
    async with store.transaction() as tx:
        return await tx.notifications.claim_due(lane, now, VISIBILITY)


async def _sent(store: PostgresStore, *, now: datetime = NOW) -> list[tuple[int | None, NotificationKind]]:
    """Deliver everything that is due; which incident's what, in this order."""
    delivered = []
    while claimed := await _claim(store, now):
        async with store.transaction() as tx:
            await tx.notifications.mark_sent(claimed, now)
        delivered.append((claimed.incident_id, claimed.kind))
    return delivered


@pytest.fixture
async def incidents(store: PostgresStore) -> tuple[int, int]:
    async with store.transaction() as tx:
        first, second = [(await stored_incident(tx, key)).id for key in ("a", "b")]
    return first, second


async def test_a_claim_counts_as_an_attempt_and_comes_back_when_its_worker_dies(
    store: PostgresStore, incidents: tuple[int, int]
) -> None:
    await _queue(store, notification(incidents[0], THREAD, payload={"text": "hi"}))
    claimed = await _claim(store)
    assert claimed is not None
    assert (claimed.attempts, claimed.payload, claimed.due_at) == (1, {"text": "hi"}, NOW + VISIBILITY)
    assert await _claim(store) is None
    again = await _claim(store, NOW + VISIBILITY)
    assert again is not None
    assert (again.id, again.attempts) == (claimed.id, 2)


async def test_ten_workers_claim_each_once(store: PostgresStore) -> None:
    await _queue(store, *(notification(None, TEST) for _ in range(4)))
    claimed = await asyncio.gather(*(_claim(store) for _ in range(10)))
    ids = [c.id for c in claimed if c]
    assert len(ids) == len(set(ids)) == 4


async def test_an_older_one_keeps_the_younger_ones_of_its_incident_waiting_and_no_others(
    store: PostgresStore, incidents: tuple[int, int]
) -> None:
    one, other = incidents
    await _queue(store, notification(one, CARD), notification(one, THREAD), notification(other, CARD))
    first = await _claim(store)
    assert first is not None
    async with store.transaction() as tx:
        await tx.notifications.mark_retry(first, "rate limited", NOW + MINUTE)
    assert await _sent(store) == [(other, CARD)]
    assert await _sent(store, now=NOW + MINUTE) == [(one, CARD), (one, THREAD)]


async def test_what_was_given_up_keeps_nothing_waiting(store: PostgresStore, incidents: tuple[int, int]) -> None:
    await _queue(store, notification(incidents[0], CARD), notification(incidents[0], THREAD))
    first = await _claim(store)
    assert first is not None
    async with store.transaction() as tx:
        await tx.notifications.mark_failed(first, "channel_not_found", NOW)
    assert await _sent(store) == [(incidents[0], THREAD)]


async def test_waiting_cards_collapse_into_the_first_without_losing_the_order(
    store: PostgresStore, incidents: tuple[int, int], pool: Pool
) -> None:
    one, other = incidents
    await _queue(
        store,
        notification(one, CARD),
        notification(one, THREAD),
        notification(one, CARD),
        notification(other, CARD),
        notification(one, CARD),
    )
    assert await _sent(store) == [(one, CARD), (one, THREAD), (other, CARD)]
    assert await pool.fetchval("select count(*) from notifications where status = 'superseded'") == 2


async def test_a_card_queued_after_the_claim_is_sent_too(store: PostgresStore, incidents: tuple[int, int]) -> None:
    await _queue(store, notification(incidents[0], CARD))
    claimed = await _claim(store)
    assert claimed is not None
    await _queue(store, notification(incidents[0], CARD))
    async with store.transaction() as tx:
        await tx.notifications.mark_sent(claimed, NOW)
    assert await _sent(store) == [(incidents[0], CARD)]


async def test_an_incident_that_pages_goes_first(store: PostgresStore, incidents: tuple[int, int]) -> None:
    one, other = incidents
    await _queue(store, notification(one, CARD), notification(other, CARD), notification(other, PAGE))
    assert await _sent(store) == [(other, CARD), (other, PAGE), (one, CARD)]


async def test_lanes_are_apart(store: PostgresStore, incidents: tuple[int, int]) -> None:
    await _queue(store, notification(incidents[0], CARD), notification(incidents[0], PAGE, lane=Lane.PAGERDUTY))
    claimed = await _claim(store, lane=Lane.PAGERDUTY)
    assert claimed is not None
    assert claimed.kind is PAGE


async def test_a_late_worker_does_not_reopen_what_another_delivered(store: PostgresStore) -> None:
    await _queue(store, notification(None, TEST))
    late = await _claim(store)
    again = await _claim(store, NOW + VISIBILITY)
    assert late is not None
    assert again is not None
    async with store.transaction() as tx:
        await tx.notifications.mark_sent(again, NOW + MINUTE)
        await tx.notifications.mark_retry(late, "timed out", NOW)
        await tx.notifications.mark_failed(late, "timed out", NOW)
    assert await _claim(store, NOW + 9 * MINUTE) is None


async def test_what_became_of_test_messages_is_told(store: PostgresStore) -> None:
    await _queue(store, notification(None, TEST), notification(None, TEST, lane=Lane.CONSOLE))
    claimed = await _claim(store)
    assert claimed is not None
    async with store.transaction() as tx:
        await tx.notifications.mark_retry(claimed, "not_in_channel", NOW + MINUTE)
        told = await tx.notifications.tests(NOW)
        assert await tx.notifications.tests(NOW + MINUTE) == []
    assert [(t.lane, t.status, t.attempts, t.error) for t in told] == [
        (Lane.SLACK, NotificationStatus.PENDING, 1, "not_in_channel"),
        (Lane.CONSOLE, NotificationStatus.PENDING, 0, None),
    ]


async def test_the_message_of_an_incident_is_remembered(store: PostgresStore, incidents: tuple[int, int]) -> None:
    async with store.transaction() as tx:
        assert await tx.notifications.message(incidents[0], Lane.SLACK) is None
        for message_id in ("1", "2"):
            message = Message(channel="C1", message_id=message_id)
            await tx.notifications.save_message(incidents[0], Lane.SLACK, message)
        assert await tx.notifications.message(incidents[0], Lane.SLACK) == message
        assert await tx.notifications.message(incidents[0], Lane.PAGERDUTY) is None
