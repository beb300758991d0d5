"""The store: transactions in which every noun is at hand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from hdr_responder.adapters.store.pool import Pool
from hdr_responder.adapters.store.transact import transact
from hdr_responder.adapters.store.transaction import PostgresTransaction
from hdr_responder.domain.ports.store import Transaction


class PostgresStore:
    """The `Store` port on a pool, which stays its owner's."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Begin a transaction; it is committed when the block ends and rolled back when it raises.

        Raises as `transact` does.
        """
        async with transact(self._pool) as connection:
            yield PostgresTransaction(connection)
