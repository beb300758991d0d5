"""One connection as the nouns use it: statements in, rows out, our errors only."""

from __future__ import annotations

from typing import Any

import asyncpg

from hdr_responder.adapters.store.failures import translated
from hdr_responder.adapters.store.pool import Connection


class Session:
    """Runs statements on one connection; every method raises our errors (`failures.translate`)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Return every row."""
        with translated():
            return await self.connection.fetch(sql, *arguments)

    async def row(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """Return the first row, None when there is none."""
        with translated():
            return await self.connection.fetchrow(sql, *arguments)

    async def value(self, sql: str, *arguments: object) -> Any:
        """Return the first column of the first row, None when there is none."""
        with translated():
            return await self.connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> int:
        """Return how many rows were changed."""
        with translated():
            tag = await self.connection.execute(sql, *arguments)
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0
