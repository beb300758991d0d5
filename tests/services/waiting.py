"""Waiting in async tests for what a real service does in its own time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.services.processes import POLL_SECONDS

T = TypeVar("T")


async def eventually(condition: Callable[[], Awaitable[T]], *, seconds: float = 20.0) -> T:
    """Await ``condition()`` at short intervals until its result is true; the result. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            result = await condition()
            if result:
                return result
            await asyncio.sleep(POLL_SECONDS)
