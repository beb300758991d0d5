"""Holds chosen commits of the responder in its own database, so that a test can end it just before they happen."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import asyncpg

from hdr_responder.adapters.store.migrate import migrate
from tests.services.waiting import eventually

CLASS = 4711
"""Of the advisory locks, as in commit_holds.sql."""

Commit = tuple[str, str]
"""A service and a change of its records: ``("redis", "run:verifying")``, ``("redis", "restart:succeeded")``."""


class CommitHolds:
    """The commits that are held."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    async def add(self, commits: Iterable[Commit]) -> None:
        """Hold these from now on."""
        for service, change in commits:
            number: int = await self._connection.fetchval("select count(*) + 1 from commit_holds.held")
            await self._connection.execute("select pg_advisory_lock($1, $2)", CLASS, number)
            await self._connection.execute(
                "insert into commit_holds.held (id, service, change) values ($1, $2, $3)", number, service, change
            )

    async def waiting(self) -> set[Commit]:
        """Return the commits that wait just now."""
        rows = await self._connection.fetch(
            "select service, change from commit_holds.held"
            " where id in (select objid::integer from pg_locks"
            " where locktype = 'advisory' and classid::integer = $1 and not granted)",
            CLASS,
        )
        return {(row["service"], row["change"]) for row in rows}

    async def all_waiting(self, commits: set[Commit], *, seconds: float = 20) -> None:
        """Wait until all of these wait."""

        async def all_() -> bool:
            return commits <= await self.waiting()

        try:
            await eventually(all_, seconds=seconds)
        except TimeoutError as error:
            raise AssertionError(f"not reached: {sorted(commits - await self.waiting())}") from error

    async def release(self) -> None:
        """Hold nothing any more."""
        await self._connection.execute("delete from commit_holds.held")
        await self._connection.execute("select pg_advisory_unlock_all()")


@contextlib.asynccontextmanager
async def commit_holds(database_url: str) -> AsyncIterator[CommitHolds]:
    """Migrate the database and make commits in it holdable."""
    await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(Path(__file__).with_suffix(".sql").read_text())
        yield CommitHolds(connection)
    finally:
        await connection.close()
