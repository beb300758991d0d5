"""A plain transaction on a pooled connection, beneath the store and the queue's own upkeep."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal

from asyncpg.transaction import Transaction

from hdr_responder.adapters.store.failures import CAUGHT, translated
from hdr_responder.adapters.store.pool import Connection, Pool

ACQUIRE_SECONDS = 10.0
"""How long a transaction waits for a free connection."""
ROLLBACK_SECONDS = 5.0


@contextlib.asynccontextmanager
async def transact(pool: Pool, isolation: Literal["repeatable_read"] | None = None) -> AsyncIterator[Connection]:
    """Yield a connection in a transaction: committed when the block ends, rolled back when it raises.

    ``isolation`` repeatable_read shows one moment to every statement of a block that only reads. Raises
    UnavailableError when no connection is to be had; raised at the end of the block it leaves open whether the commit
    happened. Raises TemporaryError when the transaction lost a race and may be tried again.
    """
    async with _borrowed(pool) as connection:
        transaction = connection.transaction(isolation=isolation, readonly=isolation is not None)
        with translated():
            await transaction.start()
        try:
            yield connection
        except BaseException:
            await _roll_back(connection, transaction)
            raise
        with translated():
            await transaction.commit()


@contextlib.asynccontextmanager
async def _borrowed(pool: Pool) -> AsyncIterator[Connection]:
    with translated():
        connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
    try:
        yield connection
    finally:
        # A connection that cannot be given back is closed by the pool, which opens another when it is next asked.
        with contextlib.suppress(*CAUGHT):
            await pool.release(connection, timeout=ROLLBACK_SECONDS)


async def _roll_back(connection: Connection, transaction: Transaction) -> None:
    """End it without a commit; the server does it by itself for a connection that is gone."""
    try:
        async with asyncio.timeout(ROLLBACK_SECONDS):
            await transaction.rollback()
    except CAUGHT:
        connection.terminate()
