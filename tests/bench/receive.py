"""How fast deliveries are taken in, each one committed to disk, beside a handler that only parses them.

Both serve the same body to the same load generator in turns. The service also works on what it took in meanwhile, as it
would in a storm; the other side is measured when it has caught up.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from tests.bench import bare
from tests.bench.bodies import recorded
from tests.bench.figures import Figure, Sense, median_ratio
from tests.bench.load import CONNECTIONS, Burst, Generator
from tests.bench.machine import wait_until_quiet
from tests.bench.responder import Fleet, Responder, run_responder
from tests.services.ports import free_port
from tests.services.processes import ServiceError, ServiceProcess, answers_ok, service_folder

LIMIT = 0.4
_WARM_UP_SECONDS = 1


async def measure(*, quick: bool) -> list[Figure]:
    """Measure the ratio of both rates."""
    rounds, seconds = (3, 2) if quick else (7, 5)
    fleet = Fleet(namespace="hdr-empire", services=["postgresql"])
    with service_folder("load") as folder:
        async with run_responder(fleet) as responder, _bare_handler(folder) as (other, other_url):
            generator = Generator(folder, recorded("08-postgres-blocked-firing"), responder.headers)
            await wait_until_quiet()
            ours, theirs, shares = [], [], []
            for number in range(rounds + 1):
                length = seconds if number else _WARM_UP_SECONDS
                ours.append(await _accepted(generator, responder, length))
                begun = _cpu(other.pid)
                theirs.append(await asyncio.to_thread(generator.burst, other_url, length))
                shares.append((_cpu(other.pid) - begun) / theirs[-1].seconds)
    mine, its = [b.per_second for b in ours[1:]], [b.per_second for b in theirs[1:]]
    return [
        Figure(
            name="receive: requests/s of a bare handler",
            value=median_ratio(mine, its),
            limit=LIMIT,
            sense=Sense.AT_LEAST,
            detail={
                "generator": generator.name,
                "generator_cores": round(max(b.generator_cpu for b in (*ours[1:], *theirs[1:])), 2),
                "connections": CONNECTIONS,
                "rounds": rounds,
                "seconds": seconds,
                "requests_per_second": round(statistics.median(mine)),
                "bare_requests_per_second": round(statistics.median(its)),
                "bare_cores": round(statistics.median(shares[1:]), 2),
                "ratios": [round(a / b, 3) for a, b in zip(mine, its, strict=True)],
            },
        )
    ]


async def _accepted(generator: Generator, responder: Responder, seconds: int) -> Burst:
    """Send to the service, and see afterwards in the database that whatever it answered is there."""
    before = await responder.count("select count(*) from deliveries")
    burst = await asyncio.to_thread(generator.burst, responder.url, seconds)
    stored = await responder.count("select count(*) from deliveries") - before
    if not burst.answers <= stored <= burst.answers + CONNECTIONS:
        raise ServiceError(f"{burst.answers} deliveries were accepted and {stored} are stored")
    await responder.wait_processed()
    return burst


@asynccontextmanager
async def _bare_handler(folder: Path) -> AsyncIterator[tuple[ServiceProcess, str]]:
    port = free_port()
    process = ServiceProcess(
        name="bare handler",
        argv=[sys.executable, str(Path(bare.__file__)), str(port)],
        log_path=folder / "bare.log",
    )
    process.start()
    try:
        await asyncio.to_thread(process.wait_ready, lambda: answers_ok(f"http://127.0.0.1:{port}/healthz"))
        yield process, f"http://127.0.0.1:{port}{bare.PATH}"
    finally:
        process.stop()


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
