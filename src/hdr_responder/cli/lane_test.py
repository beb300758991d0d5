"""Test messages: through the same outbox and the running service as incidents, so that the whole way is proved."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.adapters.store.pool import open_pool
from hdr_responder.app.database import joined_database
from hdr_responder.app.people import PeopleLanes
from hdr_responder.cli.findings import Finding, Status, failed
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.notifications import NotificationStatus
from hdr_responder.domain.ports.store import QueuedTest, Store
from hdr_responder.engine.ledger import Ledger
from hdr_responder.errors import HdrError, PermanentError, UnavailableError
from hdr_responder.settings import Settings

LOOK_SECONDS = 0.25


async def send_tests(settings: Settings, people: PeopleLanes, wait: timedelta) -> list[Finding]:
    """Queue a test message on every lane and return what became of each within ``wait``."""
    try:
        pool = await open_pool(await joined_database(settings), max_size=2)
    except HdrError as error:
        return [failed("test messages", error)]
    try:
        store, at = PostgresStore(pool), SystemClock().now()
        await _queue(store, people, at)
        return [finding(test) for test in await _outcomes(store, at, wait)]
    except HdrError as error:
        return [failed("test messages", error)]
    finally:
        await pool.close()


async def _queue(store: Store, people: PeopleLanes, at: datetime) -> None:
    ledger = Ledger(people.lanes, at)
    ledger.test_messages()
    async with store.transaction() as tx:
        await ledger.flush(tx)


async def _outcomes(store: Store, at: datetime, wait: timedelta) -> list[QueuedTest]:
    deadline = asyncio.get_running_loop().time() + wait.total_seconds()
    while True:
        async with store.transaction() as tx:
            tests = await tx.notifications.tests(at)
        waiting = any(t.status is NotificationStatus.PENDING for t in tests)
        if not waiting or asyncio.get_running_loop().time() > deadline:
            return tests
        await asyncio.sleep(LOOK_SECONDS)


def finding(test: QueuedTest) -> Finding:
    """Return what became of a test message, for people."""
    what = f"test {test.lane}"
    match test.status:
        case NotificationStatus.PENDING if test.error:
            return failed(what, UnavailableError(f"not delivered yet, {test.attempts} attempts: {test.error}"))
        case NotificationStatus.PENDING:
            return failed(what, UnavailableError("nobody has delivered it yet: is the service running?"))
        case NotificationStatus.FAILED:
            return failed(what, PermanentError(test.error or "it was given up"))
        case _:
            return Finding(what=what, status=Status.OK, detail="the message was delivered")
