"""Ends a responder with SIGKILL while each of many runs stands at a point of its own, starts another, and looks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.crash_points import HELPS, IN_VAIN, Point, Seen, hold_of
from tests.acceptance.stage import Records, Stage, stage
from tests.services.kubernetes import ControlPlane

FEWEST_CALLS, MOST_CALLS = 20, 80
"""Calls to the API server that a worker gets to make before it is ended again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What was there just after a kill, by workload, and what was left in the end."""

    at_kill: Mapping[str, Seen]
    records: Records


async def crash_at(
    control_plane: ControlPlane, database_url: str, folder: Path, points: Mapping[str, Point]
) -> Aftermath:
    """End one worker at all these points at once, each reached by the run of a workload of its own."""
    async with stage(control_plane, database_url, folder, list(points)) as on:
        await _reach(on, points)
        await on.kill()
        at_kill = seen(await on.records(), on)
        await on.start()
        return Aftermath(at_kill=at_kill, records=await on.settled())


async def crash_again_and_again(
    control_plane: ControlPlane, database_url: str, folder: Path, *, runs: int, kills: int, seed: int
) -> tuple[Mapping[str, str], Records]:
    """End one worker after the other, each after some calls, its takeovers included; the alerts by workload."""
    chance = random.Random(seed)
    alerts = {f"again-{seed}-{n:02}": IN_VAIN if n % 3 == 0 else HELPS for n in range(runs)}
    async with stage(control_plane, database_url, folder, list(alerts)) as on:
        await on.deliver(alerts)
        for _ in range(kills):
            await on.gate.after(chance.randint(FEWEST_CALLS, MOST_CALLS)).wait()
            await on.kill()
            await on.start()
        return alerts, await on.settled()


async def _reach(on: Stage, points: Mapping[str, Point]) -> None:
    """Bring every run to its point: first to the gate, then, all together, to the commits that are held."""
    gated = {w: p for w, p in points.items() if p.at}
    held = {w: on.gate.hold(hold_of(p.at, w)) for w, p in points.items() if p.at}
    telling = {w: on.gate.hold(hold_of(p.telling, w)) for w, p in points.items() if p.telling}
    await on.deliver({w: p.alert for w, p in gated.items()})
    await on.arrived({points[w].name: hold for w, hold in held.items()})
    await on.commits.add((w, p.commit) for w, p in points.items() if p.commit)
    commits = {w: (w, p.commit) for w, p in points.items() if p.commit and not p.telling}
    planned = {w: p.alert for w, p in points.items() if p.commit in {"run:planned", "run:running"}}
    await on.deliver(planned)
    await on.commits.all_waiting({commits[w] for w in planned})
    for workload in gated.keys() & commits.keys():
        held[workload].released.set()
    opened = {w: p.alert for w, p in points.items() if p.commit == "incident:opened"}
    await on.commits.all_waiting({commit for w, commit in commits.items() if w not in opened})
    await on.deliver(opened)
    await on.commits.all_waiting(set(commits.values()))
    for workload in telling:
        held[workload].released.set()
    await on.arrived({points[w].name: hold for w, hold in telling.items()})


def seen(records: Records, on: Stage) -> dict[str, Seen]:
    """Return where each workload's run stands."""
    found = {}
    for workload in on.workloads:
        run = records.runs.get(workload, {})
        own = [s for s in records.steps if str(s["run_id"]) == run.get("run")]
        found[workload] = Seen(
            run=run.get("status"),
            steps=sum(1 for s in own if s["status"] == "succeeded"),
            begun=any(s["status"] == "started" for s in own),
            undone=sum(1 for s in own if s["undone"] is not None),
            effects=tuple(m.effect for m in records.mutations if m.workload == workload and m.effect),
            told=tuple(t.reason for t in records.tales if t.workload == workload),
        )
    return found
