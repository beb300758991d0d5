"""How long ``hdr-responder check`` takes over many playbooks, from its start as a process to its verdict."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

from tests.bench.figures import Figure, Sense
from tests.bench.machine import wait_until_quiet
from tests.bench.written import ROOT, write_playbooks
from tests.services.processes import ServiceError, service_folder

LIMIT_SECONDS = 5.0
PLAYBOOKS = 1000
_PROGRAM = Path(sys.executable).with_name("hdr-responder")


async def measure(*, quick: bool) -> list[Figure]:
    """Measure some rounds; always all the playbooks, since the figure is about their number."""
    with service_folder("check") as folder:
        write_playbooks(folder / "playbooks", PLAYBOOKS)
        await wait_until_quiet()
        took = [await _check(folder / "playbooks") for _ in range(1 if quick else 5)]
    return [
        Figure(
            name=f"check of {PLAYBOOKS:,} playbooks",
            value=statistics.median(took),
            limit=LIMIT_SECONDS,
            sense=Sense.AT_MOST,
            unit="s",
            detail={"rounds": len(took), "seconds": [round(seconds, 2) for seconds in took]},
        )
    ]


async def _check(playbooks: Path) -> float:
    argv = [str(_PROGRAM), "check", "--config", str(ROOT / "config"), "--playbooks", str(playbooks)]
    begun = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await process.communicate()
    took = time.monotonic() - begun
    if process.returncode != 0 or f"{PLAYBOOKS} playbooks" not in said.decode():
        raise ServiceError(f"check failed: {(said + complained).decode()[:2000]}")
    return took
