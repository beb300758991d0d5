"""How long it takes from sending a delivery to the first call that changes a real cluster.

The end is the API server's own time of receiving the call, from its audit log; both are read from one machine's clock.
Each incident is about another Deployment, and the next is sent when the run of the last one is over.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from datetime import datetime

from tests.bench.bodies import service_down
from tests.bench.figures import Detail, Figure, Sense, percentile
from tests.bench.machine import wait_until_quiet
from tests.bench.responder import Fleet, Responder, run_responder
from tests.services.kubernetes import RESPONDER, ControlPlane, run_control_plane
from tests.services.processes import ServiceError

P50_LIMIT_MS = 60.0
P99_LIMIT_MS = 300.0
NAMESPACE = "bench"
_RIGHTS = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}]
_RUN_SECONDS = 60.0
_STAGES = """
select i.service, d.received_at, i.opened_at, r.created_at, r.started_at, s.started_at as step_started_at
from runs r
join incidents i on i.id = r.incident_id
join steps s on s.run_id = r.id
cross join lateral (
    select received_at from deliveries where received_at <= i.opened_at order by received_at desc limit 1
) d
"""


async def measure(*, quick: bool) -> list[Figure]:
    """Measure one incident after the other."""
    fleet = Fleet(namespace=NAMESPACE, services=[f"service-{n:03}" for n in range(20 if quick else 100)])
    with run_control_plane() as cluster:
        await asyncio.to_thread(deploy, cluster, fleet)
        async with run_responder(fleet, cluster=cluster) as responder:
            await wait_until_quiet()
            sent = {service: await _incident(responder, done) for done, service in enumerate(fleet.services)}
            stages = await _stages(responder, sent)
        calls = await asyncio.to_thread(_first_calls, cluster)
    missing = sorted(set(sent) - set(calls))
    if missing:
        raise ServiceError(f"no call changed {', '.join(missing)}")
    took = [(calls[service] - at) * 1000 for service, at in sent.items()]
    detail: Detail = {
        "incidents": len(took),
        "first_ms": round(took[0], 1),
        "slowest_ms": [round(ms, 1) for ms in sorted(took)[-5:]],
        "median_ms_after_sending": stages,
    }
    name = "delivery to first mutating call"
    return [
        _figure(f"{name}, p50", percentile(took, 50), P50_LIMIT_MS, detail),
        _figure(f"{name}, p99", percentile(took, 99), P99_LIMIT_MS, detail),
    ]


def deploy(cluster: ControlPlane, fleet: Fleet) -> None:
    """Run every service of the fleet, and let the responder restart it."""
    cluster.api.create_namespace(fleet.namespace)
    cluster.api.grant(fleet.namespace, "responder", _RIGHTS, {"kind": "User", "name": RESPONDER})
    for name in fleet.services:
        cluster.api.create_deployment(fleet.namespace, name, wait=False)
    for name in fleet.services:
        cluster.api.wait_available(fleet.namespace, name)


async def wait_completed(responder: Responder, count: int) -> None:
    """Wait until this many runs are over, all of them well; raises ServiceError when one is not."""

    async def over() -> bool:
        ended = "select count(*) from runs where ended_at is not null"
        return await responder.count(ended) >= count

    await responder.wait_for(over, f"run {count} is not over", seconds=_RUN_SECONDS)
    if await responder.count("select count(*) from runs where status = 'completed'") < count:
        raise ServiceError(f"a run did not end well\n{responder.process.log_tail()}")


async def _incident(responder: Responder, already: int) -> float:
    """Tell that a service is down and wait until its run is over; the time of sending in seconds since the epoch."""
    service = f"service-{already:03}"
    body = service_down(service)
    sent = time.time()
    await responder.deliver(body)
    await wait_completed(responder, already + 1)
    return sent


def _first_calls(cluster: ControlPlane) -> dict[str, float]:
    """When the API server received the first call that changed each Deployment, in seconds since the epoch."""
    cluster.audit_events(user=RESPONDER)
    first: dict[str, float] = {}
    for line in (cluster.folder / "audit.log").read_text().splitlines():
        entry = json.loads(line)
        target, ours = entry.get("objectRef", {}), entry["user"].get("username") == RESPONDER
        if not ours or target.get("resource") != "deployments" or "dryRun" in entry["requestURI"]:
            continue
        received = datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp()
        name = target["name"]
        first[name] = min(received, first.get(name, received))
    return first


async def _stages(responder: Responder, sent: dict[str, float]) -> dict[str, float]:
    """The median milliseconds from sending to each stage, as the service's own records have them."""
    rows = await responder.database.fetch(_STAGES)
    names = [name for name in rows[0].keys() if name != "service"]  # noqa: SIM118 - a record iterates over values
    return {
        name: round(statistics.median((row[name].timestamp() - sent[row["service"]]) * 1000 for row in rows), 1)
        for name in names
    }


def _figure(name: str, value: float, limit: float, detail: Detail) -> Figure:
    return Figure(name=name, value=value, limit=limit, sense=Sense.AT_MOST, unit="ms", detail=detail)
