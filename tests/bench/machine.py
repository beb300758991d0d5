"""What the figures were measured on, and how much else it had to do; nothing that names a place or a person."""

from __future__ import annotations

import asyncio
import os
import platform
from importlib.metadata import version

import psutil

BUSY_SHARE = 0.15
"""From this share of all cores on, what else runs may change a figure."""
_LOOK_SECONDS = 2.0
_PACKAGES = ("aiohttp", "asyncpg", "pgqueuer", "pydantic", "uvloop")


def describe() -> dict[str, object]:
    """Cores, memory and versions."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


async def wait_until_quiet(seconds: float = 60.0) -> float:
    """Wait until little else uses the processor, at most ``seconds``; the share of all cores that is still used."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        share: float = await asyncio.to_thread(psutil.cpu_percent, _LOOK_SECONDS) / 100
        if share < BUSY_SHARE or asyncio.get_running_loop().time() > deadline:
            return share
