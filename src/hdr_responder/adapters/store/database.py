"""The store: where transactions begin and end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from asyncpg.transaction import Transaction

from hdr_responder.adapters.store.failures import CAUGHT, translated
from hdr_responder.adapters.store.pool import Connection, Pool, open_pool
from hdr_responder.adapters.store.transaction import PostgresTransaction
from hdr_responder.domain.ports import store as ports

ACQUIRE_SECONDS = 10.0
"""How long a transaction waits for a free connection."""
ROLLBACK_SECONDS = 5.0


class PostgresStore:
    """The `Store` port on a pool, which stays its owner's."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[ports.Transaction]:
        """Begin a transaction; it is committed when the block ends and rolled back when it raises.

        Raises UnavailableError when no connection is to be had; raised at the end of the block it leaves open whether
        the commit happened. Raises TemporaryError when the transaction lost a race and may be tried again.
        """
        async with borrowed(self._pool) as connection:
            transaction = connection.transaction()
            with translated():
                await transaction.start()
            try:
                yield PostgresTransaction(connection)
            except BaseException:
                await _roll_back(connection, transaction)
                raise
            with translated():
                await transaction.commit()


async def _roll_back(connection: Connection, transaction: Transaction) -> None:
    """End it without a commit; the server does it by itself for a connection that is gone."""
    try:
        async with asyncio.timeout(ROLLBACK_SECONDS):
            await transaction.rollback()
    except CAUGHT:
        connection.terminate()


@contextlib.asynccontextmanager
async def open_store(url: str, *, max_size: int = 10) -> AsyncIterator[PostgresStore]:
    """Yield a store on a pool of its own; raises as `open_pool` does."""
    pool = await open_pool(url, max_size=max_size)
    try:
        yield PostgresStore(pool)
    finally:
        pool.terminate()


@contextlib.asynccontextmanager
async def borrowed(pool: Pool) -> AsyncIterator[Connection]:
    """Yield a connection of the pool; raises UnavailableError when none is to be had."""
    with translated():
        connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
    try:
        yield connection
    finally:
        # A connection that cannot be given back is closed by the pool, which opens another when it is next asked.
        with contextlib.suppress(*CAUGHT):
            await pool.release(connection, timeout=ROLLBACK_SECONDS)
