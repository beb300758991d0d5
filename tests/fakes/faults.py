"""Failures on order: what a test tells a stand-in to do wrong next."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

EVERY_METHOD = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure.

    ``after_effect`` carries the call out first and loses the answer: what an at-least-once client has to survive.
    ``hold`` keeps the call waiting until the event is set; ``delay`` keeps it waiting that many seconds.
    """

    status: int | None = None
    error: str | None = None
    retry_after: int | None = None
    drop_connection: bool = False
    delay: float = 0.0
    hold: asyncio.Event | None = None
    after_effect: bool = False

    @property
    def fails(self) -> bool:
        """Whether the call fails; a fault that only slows the call down does not."""
        return self.status is not None or self.error is not None or self.retry_after is not None or self.drop_connection

    async def wait(self) -> None:
        """Keep the call waiting as long as the fault says."""
        if self.hold is not None:
            await self.hold.wait()
        if self.delay > 0:
            await asyncio.sleep(self.delay)


class FaultPlan:
    """The failures still to come, in order, by method."""

    def __init__(self) -> None:
        self._planned: deque[tuple[str, Fault]] = deque()

    def add(self, method: str, fault: Fault, *, times: int) -> None:
        """Plan ``fault`` for the next ``times`` calls of ``method`` (``*`` for any)."""
        self._planned.extend([(method, fault)] * times)

    def take(self, method: str) -> Fault | None:
        """Take the first planned failure that this call meets."""
        for index, (planned, fault) in enumerate(self._planned):
            if planned in {method, EVERY_METHOD}:
                del self._planned[index]
                return fault
        return None

    def clear(self) -> None:
        """Forget every failure that has not happened yet."""
        self._planned.clear()

    def __len__(self) -> int:
        return len(self._planned)
