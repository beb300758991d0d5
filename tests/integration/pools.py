"""Closing pools in tests without leaving a socket to the garbage collector."""

from __future__ import annotations

import asyncio

from hdr_responder.adapters.store.failures import CAUGHT
from hdr_responder.adapters.store.pool import Pool

CLOSE_SECONDS = 5.0


async def close_pool(pool: Pool) -> None:
    """Close gently; cut what a dead server or an abandoned transaction holds up."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await pool.close()
    except CAUGHT:
        pool.terminate()
        await asyncio.sleep(0)  # the transports notice in the next turn of the loop
