"""The pause switch, holds, watchdogs, and inbound events already taken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hdr_responder.adapters.store.rows import text
from hdr_responder.adapters.store.session import Session
from hdr_responder.adapters.store.sql import load
from hdr_responder.domain.guards import Hold, PauseState
from hdr_responder.errors import AdapterError

SQL = load("controls")
TAKES = 3
"""Another transaction may take the same slots at the same time: the others are tried again so often."""

PAUSE_LOCK = 0x6864_7201
"""Key of the advisory lock around the pause switch; any constant of our own does."""


async def read_pause(session: Session) -> PauseState:
    """Return the pause switch, keeping `PostgresControls.set_pause` waiting until the transaction ends."""
    await session.execute(SQL["share_pause"], PAUSE_LOCK)
    row = await session.row(SQL["pause_state"])
    if row is None:
        raise AdapterError("the pause switch has no row")
    return PauseState(engaged=row["engaged"], by=row["by"], reason=row["reason"], at=row["at"])


class PostgresControls:
    """The `Controls` port."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def pause_state(self) -> PauseState:
        """Return the pause switch under a share lock."""
        return await read_pause(self._session)

    async def set_pause(self, state: PauseState) -> None:
        """Set the pause switch; waits for every transaction that read it, and later ones wait for this one."""
        await self._session.execute(SQL["take_pause"], PAUSE_LOCK)
        by, reason = (None if value is None else text(value) for value in (state.by, state.reason))
        await self._session.execute(SQL["set_pause"], state.engaged, by, reason, state.at)

    async def set_hold(self, hold: Hold) -> None:
        """Hold a service, or move its end."""
        await self._session.execute(SQL["set_hold"], hold.service, hold.until, text(hold.by), text(hold.reason))

    async def watchdog_seen(self, source: str, at: datetime) -> None:
        """Record that a source's watchdog alert was heard."""
        await self._session.execute(SQL["watchdog_seen"], source, at)

    async def watchdog_expected(self, sources: Sequence[str], at: datetime) -> None:
        """Expect a watchdog from these sources from ``at`` on, where none was heard or expected before."""
        await self._session.execute(SQL["watchdog_expected"], list(sources), at)

    async def watchdogs_missing(self, before: datetime) -> list[str]:
        """Return, once each, the sources whose watchdog was last heard before ``before``."""
        return sorted(row["source"] for row in await self._session.fetch(SQL["watchdogs_missing"], before))

    async def take_slots(self, name: str, limit: int, wanted: int, at: datetime) -> int:
        """Take up to ``wanted`` of the ``limit`` slots of this name that are still free; return how many were taken."""
        taken = 0
        for _ in range(TAKES):
            taken += await self._session.execute(SQL["take_slots"], f"{text(name)}/", limit, wanted - taken, at)
            if taken == wanted:
                break
        return taken

    async def first_time(self, key: str, at: datetime) -> bool:
        """Record an inbound event; False when it was already taken."""
        return await self._session.execute(SQL["first_time"], text(key), at) == 1
