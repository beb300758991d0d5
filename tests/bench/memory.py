"""How much memory the service holds when idle, and how much a storm adds at its peak.

Resident memory of the service's own process, Slack and a cluster configured; the peak is the kernel's high-water mark,
reset before the storm, so that nothing between two looks is missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bodies import service_down, storm
from tests.bench.figures import Figure, Sense
from tests.bench.latency import NAMESPACE, deploy, wait_completed
from tests.bench.machine import wait_until_quiet
from tests.bench.responder import Fleet, Responder, run_responder
from tests.fakes import FakeSlack
from tests.services.kubernetes import run_control_plane
from tests.services.processes import ServiceError

IDLE_LIMIT_MB = 200.0
GROWTH_LIMIT_MB = 100.0
ALERTS_EACH = 100
SENDERS = 16
_KIB_PER_MB = 1000 / 1.024
_RESET_PEAK = "5"
_SETTLE_SECONDS = 3.0


async def measure(*, quick: bool) -> list[Figure]:
    """Measure both, one after the other, of one process."""
    deliveries = 100 if quick else 1000
    fleet = Fleet(namespace=NAMESPACE, services=[f"service-{n:03}" for n in range(5)])
    with run_control_plane() as cluster:
        await asyncio.to_thread(deploy, cluster, fleet)
        async with FakeSlack() as slack, run_responder(fleet, cluster=cluster, settings=_slack(slack)) as responder:
            await wait_until_quiet()
            await responder.deliver(service_down(fleet.services[0]))
            await wait_completed(responder, 1)
            await _wait_told(responder)
            idle = _resident(responder.process.pid)
            _reset_peak(responder.process.pid)
            seconds = await _storm(responder, fleet, deliveries)
            peak = _resident(responder.process.pid, "VmHWM")
            await asyncio.sleep(_SETTLE_SECONDS)
            after = _resident(responder.process.pid)
    alerts = deliveries * ALERTS_EACH
    grown = {
        "alerts": alerts,
        "seconds": round(seconds, 1),
        "alerts_per_second": round(alerts / seconds),
        "peak_mb": round(peak, 1),
        "after_mb": round(after, 1),
    }
    return [
        _figure("resident memory, idle", idle, IDLE_LIMIT_MB, {}),
        _figure(f"growth in a storm of {alerts:,} alerts", max(peak - idle, 0), GROWTH_LIMIT_MB, grown),
    ]


async def _storm(responder: Responder, fleet: Fleet, deliveries: int) -> float:
    """Send everything and wait until it is processed; the seconds that it took."""
    before = await responder.count("select count(*) from alerts")
    bodies = storm(fleet.services, deliveries=deliveries, alerts=ALERTS_EACH)
    begun = time.monotonic()
    await asyncio.gather(*(_sender(responder, bodies) for _ in range(SENDERS)))
    await responder.wait_processed()
    took = time.monotonic() - begun
    recorded = await responder.count("select count(*) from alerts") - before
    if recorded != deliveries * ALERTS_EACH:
        raise ServiceError(f"{deliveries * ALERTS_EACH} alerts were sent and {recorded} are recorded")
    return took


async def _sender(responder: Responder, bodies: Iterator[bytes]) -> None:
    for body in bodies:
        await responder.deliver(body)


async def _wait_told(responder: Responder) -> None:
    """Wait until Slack was told everything: the service is idle then."""

    async def told() -> bool:
        return await responder.count("select count(*) from notifications where status = 'pending'") == 0

    await responder.wait_for(told, "Slack was not told everything", seconds=60.0)


def _slack(slack: FakeSlack) -> dict[str, str]:
    return {
        "HDR_SLACK__BOT_TOKEN": slack.bot_token,
        "HDR_SLACK__SIGNING_SECRET": slack.signing_secret,
        "HDR_SLACK__CHANNEL": slack.channel.id,
        "HDR_SLACK__API_URL": slack.url,
    }


def _reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def _resident(pid: int, field: str = "VmRSS") -> float:
    """A process's resident memory, or its peak (VmHWM), in MB of a million bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / _KIB_PER_MB


def _figure(name: str, value: float, limit: float, detail: dict[str, float]) -> Figure:
    return Figure(name=name, value=value, limit=limit, sense=Sense.AT_MOST, unit="MB", detail=detail)
