"""Delivery of the outbox: in order, again after failures, each lane by itself, and never without somebody told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hdr_responder.adapters.store.records import PostgresRecords
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.ports.people import Posted
from hdr_responder.domain.ports.records import IncidentRecord
from hdr_responder.domain.ports.store import Job, Message
from hdr_responder.engine.dispatcher import Dispatcher
from hdr_responder.engine.ledger import Lanes
from hdr_responder.errors import AdapterError, PermanentError, TemporaryError
from tests.integration.engine.alerts import alert, delivery
from tests.integration.engine.cells import WorkerDied
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop


@dataclass
class Destination:
    """The other side of a lane: takes messages, or does what the test says."""

    lane: Lane
    taken: list[str] = field(default_factory=list)
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, notification: Notification, record: IncidentRecord | None, message: Message | None) -> Posted:
        self.before()
        await self.open.wait()
        self.taken.append(str(notification.payload.get("text", notification.kind)))
        self.after()
        return Posted()

    async def check(self) -> str:
        return "ok"

    async def close(self) -> None:
        pass


class Office:
    """A dispatcher with a chat and a pager, on the workshop's outbox."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.chat, self.pager = Destination(Lane.SLACK), Destination(Lane.PAGERDUTY)
        self.chat.open.set()
        self.pager.open.set()
        self.dispatcher = Dispatcher(
            store=workshop.store,
            records=PostgresRecords(workshop.pool),
            senders={Lane.SLACK: self.chat, Lane.PAGERDUTY: self.pager},
            lanes=Lanes(slack=True, pagerduty=True),
            clock=workshop.clock,
            measures=workshop.metrics,
            random_=random.Random(1),
        )

    async def queue(self, lane: Lane, kind: NotificationKind, *texts: str, incident: int = 1) -> None:
        now = self.workshop.clock.now()
        rows = [
            Notification(lane=lane, kind=kind, incident_id=incident, created_at=now, due_at=now, payload={"text": t})
            for t in texts
        ]
        async with self.workshop.store.transaction() as tx:
            await tx.notifications.add(rows)

    async def status(self) -> list[str]:
        rows = await self.workshop.rows("select status from notifications order by id")
        return [r["status"] for r in rows]


@pytest.fixture
async def office(open_cells: OpenWorkshop) -> Office:
    workshop: Workshop = await open_cells()
    for service in ("neural-hdr", "redis"):
        body = delivery([alert("HdrX", starts_at=workshop.clock.now(), service=service)])
        await workshop.receive_body(body)
    await workshop.intake()
    await workshop.pool.execute("delete from notifications; delete from pgqueuer")
    return Office(workshop)


def failing(error: BaseException, times: int) -> Callable[[], None]:
    left = [times]

    def fail() -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return fail


async def test_a_failure_is_tried_again_with_growing_pauses_and_keeps_the_order(office: Office) -> None:
    office.chat.before = failing(TemporaryError("busy"), 3)
    await office.queue(Lane.SLACK, NotificationKind.THREAD, "first", "second")
    pauses = []
    for _ in range(8):
        await office.dispatcher.deliver(Lane.SLACK)
        rows = await office.workshop.rows("select due_at from notifications where status = 'pending' order by id")
        if not rows:
            break
        pauses.append((rows[0]["due_at"] - office.workshop.clock.now()).total_seconds())
        office.workshop.clock.advance(max(pauses[-1], 0))
    assert office.chat.taken == ["first", "second"]
    assert len(pauses) == 3
    assert pauses[0] < pauses[1] < pauses[2]


async def test_the_other_sides_wish_is_obeyed(office: Office) -> None:
    office.chat.before = failing(TemporaryError("429", retry_after=37.0), 1)
    await office.queue(Lane.SLACK, NotificationKind.THREAD, "text")
    await office.dispatcher.deliver(Lane.SLACK)
    office.workshop.clock.advance(36.9)
    await office.dispatcher.deliver(Lane.SLACK)
    assert office.chat.taken == []
    office.workshop.clock.advance(0.2)
    await office.dispatcher.deliver(Lane.SLACK)
    assert office.chat.taken == ["text"]


async def test_a_stuck_lane_delays_no_other(office: Office) -> None:
    office.chat.open.clear()
    await office.queue(Lane.SLACK, NotificationKind.THREAD, "text")
    await office.queue(Lane.PAGERDUTY, NotificationKind.PAGE, "wake up")
    stuck = asyncio.create_task(office.dispatcher.deliver(Lane.SLACK))
    await office.dispatcher.deliver(Lane.PAGERDUTY)
    assert office.pager.taken == ["wake up"]
    assert not stuck.done()
    office.chat.open.set()
    await stuck
    assert office.chat.taken == ["text"]


@pytest.mark.parametrize("error", [PermanentError("invalid routing key"), AdapterError("?"), RuntimeError("a defect")])
async def test_a_page_that_is_refused_goes_to_the_chat_and_is_told(office: Office, error: Exception) -> None:
    office.pager.before = failing(error, 99)
    await office.queue(Lane.PAGERDUTY, NotificationKind.PAGE, "wake up")
    await office.dispatcher.deliver(Lane.PAGERDUTY)
    await office.dispatcher.deliver(Lane.SLACK)
    assert office.chat.taken == ["wake up"]
    assert "pagerduty could not deliver page" in (await office.workshop.told("problem"))[0]


async def test_a_refused_message_does_not_keep_the_next_one_waiting(office: Office) -> None:
    office.chat.before = failing(PermanentError("invalid blocks"), 1)
    await office.queue(Lane.SLACK, NotificationKind.THREAD, "bad", "good")
    await office.dispatcher.deliver(Lane.SLACK)
    assert office.chat.taken == ["good"]
    assert await office.status() == ["failed", "sent"]


async def test_a_page_is_told_in_the_chat_while_the_pager_is_down_and_still_delivered_later(office: Office) -> None:
    office.pager.before = failing(TemporaryError("503"), 8)
    await office.queue(Lane.PAGERDUTY, NotificationKind.PAGE, "wake up")
    for _ in range(20):
        await office.dispatcher.deliver(Lane.PAGERDUTY)
        await office.dispatcher.deliver(Lane.SLACK)
        office.workshop.clock.advance(60)
    assert office.chat.taken == ["wake up"], "once"
    assert office.pager.taken == ["wake up"]


async def test_what_cannot_be_delivered_for_a_day_is_given_up_and_told(office: Office) -> None:
    office.chat.before = failing(TemporaryError("busy"), 999)
    await office.queue(Lane.SLACK, NotificationKind.THREAD, "text")
    await office.dispatcher.deliver(Lane.SLACK)
    office.workshop.clock.advance(24 * 3600 + 1)
    await office.dispatcher.deliver(Lane.SLACK)
    assert await office.status() == ["failed"]
    assert "slack could not deliver thread" in (await office.workshop.told("problem"))[0]


async def test_a_crash_between_sent_and_recorded_repeats_at_most_once(office: Office) -> None:
    office.chat.after = failing(WorkerDied(), 1)
    await office.queue(Lane.SLACK, NotificationKind.THREAD, "first", "second")
    with pytest.raises(WorkerDied):
        await office.dispatcher.deliver(Lane.SLACK)
    await office.dispatcher.deliver(Lane.SLACK)
    assert office.chat.taken == ["first"], "claimed: neither repeated at once nor overtaken"
    office.workshop.clock.advance(61)
    await office.dispatcher.deliver(Lane.SLACK)
    assert office.chat.taken == ["first", "first", "second"]


async def test_two_dispatchers_deliver_everything_once(office: Office) -> None:
    for incident in (1, 2):
        await office.queue(
            Lane.SLACK, NotificationKind.THREAD, *(f"{incident}/{n}" for n in range(20)), incident=incident
        )
    await asyncio.gather(*(office.dispatcher.deliver(Lane.SLACK) for _ in range(4)))
    for incident in (1, 2):
        own = [t for t in office.chat.taken if t.startswith(f"{incident}/")]
        assert own == [f"{incident}/{n}" for n in range(20)]


async def test_more_than_a_batch_goes_on_in_another_job(office: Office) -> None:
    await office.queue(Lane.SLACK, NotificationKind.THREAD, *(str(n) for n in range(60)))
    await office.dispatcher.deliver(Lane.SLACK)
    assert len(office.chat.taken) == 50
    (job,) = await office.workshop.rows("select entrypoint from pgqueuer")
    assert job["entrypoint"] == Job.NOTIFY_SLACK
