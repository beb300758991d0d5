"""What the figures were measured on, and how much else it had to do; nothing that names a place or a person."""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import time
from importlib.metadata import version

import psutil

BUSY_SHARE = 0.15
"""From this share of all cores on, what else runs may change a figure."""
_LOOK_SECONDS = 2.0
_PACKAGES = ("aiohttp", "asyncpg", "cel-expr-python", "pgqueuer", "pydantic", "pyyaml", "uvloop")


def describe() -> dict[str, object]:
    """Cores, memory and versions."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


async def wait_until_quiet(seconds: float = 60.0) -> None:
    """Wait until little else uses the processor, at most ``seconds``."""
    deadline = asyncio.get_running_loop().time() + seconds
    while await asyncio.to_thread(psutil.cpu_percent, _LOOK_SECONDS) / 100 >= BUSY_SHARE:
        if asyncio.get_running_loop().time() > deadline:
            return


class Neighbours:
    """Tells what share of all cores others have used since it was made; asked when all our processes have ended."""

    def __init__(self) -> None:
        self._begun = _used()

    def share(self) -> float:
        """The share, from 0 to 1; the kernel's own work is part of it."""
        (at, busy, ours), (before, busy_before, ours_before) = _used(), self._begun
        others = (busy - busy_before) - (ours - ours_before)
        return max(others / (at - before) / (os.cpu_count() or 1), 0.0)


def _used() -> tuple[float, float, float]:
    """The time, and the seconds of processor time that all used and that this process and its ended children used."""
    total = psutil.cpu_times()
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    busy = sum(total) - total.idle - total.iowait - total.guest - total.guest_nice
    return time.monotonic(), busy, sum(used.ru_utime + used.ru_stime for used in own)
