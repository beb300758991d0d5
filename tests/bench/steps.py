"""How much the engine adds to a step: everything between two actions that do nothing.

The engine works on a real database that syncs to disk. A step of a change commits its start, what was captured and its
outcome, each with the run and the incident locked; a step that reads commits its outcome.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any, ClassVar

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Parameters,
    Permission,
    Read,
    Registry,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
    Undone,
)
from hdr_responder.actions.incident import INCIDENT_ACTIONS
from hdr_responder.actions.registry import registry
from hdr_responder.adapters.store.migrate import migrate
from hdr_responder.adapters.store.pool import open_pool
from hdr_responder.domain.survey import TargetSurvey
from tests.bench.figures import Figure, Sense, percentile
from tests.bench.machine import wait_until_quiet
from tests.integration.engine.workshop import Workshop, open_workshop
from tests.services.postgres import run_postgres
from tests.services.processes import ServiceError, service_folder

LIMIT_MS = 10.0
STEPS = 50
"""As many as a playbook may have."""


class Nothing(Parameters):
    """What it does nothing to."""

    cell: str


class Done(Result):
    """No result."""


class Idle:
    """Notes when it is called."""

    def __init__(self) -> None:
        self.called: list[float] = []

    def note(self) -> None:
        self.called.append(time.perf_counter())


class IdleRead(Idle, Read[Nothing, Done]):
    name = "bench.read"
    summary = "Reads nothing."
    example = "{id: read, action: bench.read, with: {cell: a}}"
    parameters = Nothing
    result = Done

    def permissions(self, params: Nothing) -> tuple[Permission, ...]:
        return ()

    async def execute(self, ctx: StepContext, params: Nothing) -> Done:
        self.note()
        return Done()


class IdleChange(Idle, Mutation[Nothing, Done]):
    name: ClassVar[str] = "bench.change"
    summary = "Changes nothing."
    example = "{id: change, action: bench.change, with: {cell: a}}"
    parameters = Nothing
    result = Done
    undoable = Undo.RESTORES
    holds_fence = True
    destructive = False
    effect_group = "nothing"

    def permissions(self, params: Nothing) -> tuple[Permission, ...]:
        return ()

    def target(self, params: Nothing) -> Target:
        return Target(key=f"bench:{params.cell}", effect_group=self.effect_group, title=params.cell)

    async def survey(self, systems: object, params: Nothing) -> TargetSurvey:
        return TargetSurvey()

    async def dry_run(self, ctx: StepContext, params: Nothing) -> None:
        """Nothing to rehearse."""

    async def claim(self, ctx: StepContext, params: Nothing) -> None:
        """Nothing to fence."""

    async def capture(self, ctx: StepContext, params: Nothing) -> State:
        return {}

    async def execute(self, ctx: StepContext, params: Nothing, state: State) -> Done:
        self.note()
        return Done()

    async def observe(self, ctx: StepContext, params: Nothing, state: State) -> Observed[Done]:
        return Observed(seen=Seen.NO_EFFECT)

    async def undo(self, ctx: StepContext, params: Nothing, state: State) -> Undone:
        return Undone.UNDONE


async def measure(*, quick: bool) -> list[Figure]:
    """Measure the steps of some runs, those of changes and those of reads."""
    rounds = 1 if quick else 5
    change, read = IdleChange(), IdleRead()
    with service_folder("steps") as folder, run_postgres(durable=True) as server:
        url = server.dsn(server.create_database())
        await migrate(url)
        pool = await open_pool(url, max_size=8)
        try:
            actions = Registry((change, read, *INCIDENT_ACTIONS), tuple(registry().checks.values()))
            _write(folder / "playbooks")
            workshop = open_workshop(pool, folder=folder, playbooks=folder / "playbooks", actions=actions)
            await wait_until_quiet()
            changes = [gap for number in range(rounds) for gap in await _gaps(workshop, "Change", change, number)]
            reads = [gap for number in range(rounds) for gap in await _gaps(workshop, "Read", read, number)]
        finally:
            await pool.close()
    return [_figure("engine overhead of a change, p50", changes), _figure("engine overhead of a read, p50", reads)]


async def _gaps(workshop: Workshop, kind: str, action: Idle, number: int) -> list[float]:
    """Run a playbook for an incident of its own; the milliseconds between the calls of its action."""
    action.called.clear()
    service = workshop.documents.services.services[number].name
    await workshop.fire(f"{kind}-{number}", name=f"Bench{kind}", service=service)
    await workshop.intake()
    await workshop.settle()
    if len(action.called) != STEPS:
        raise ServiceError(f"{len(action.called)} of {STEPS} steps were done: {await workshop.told()}")
    return [(then - before) * 1000 for before, then in zip(action.called, action.called[1:], strict=False)]


def _write(folder: Path) -> None:
    folder.mkdir()
    for kind in ("Change", "Read"):
        document: dict[str, Any] = {
            "apiVersion": "hdr-responder/v1",
            "kind": "Playbook",
            "metadata": {"name": kind.lower(), "summary": "Does nothing, often."},
            "match": [f"alertname = Bench{kind}"],
            "priorities": ["P1", "P2", "P3", "P4"],
            "guards": {"mode": "auto", "cooldown": "0s", "budget": {"runs": 100, "per": "1h"}},
            "params": {"cell": "${alert.labels['cell']}"},
            "steps": [_step(kind, number) for number in range(STEPS)],
            "verify": {"all": [{"alert": "resolved"}]},
        }
        (folder / f"{kind.lower()}.yaml").write_text(json.dumps(document))


def _step(kind: str, number: int) -> dict[str, Any]:
    return {"id": f"s{number}", "action": f"bench.{kind.lower()}", "with": {"cell": "${params.cell}"}}


def _figure(name: str, gaps: list[float]) -> Figure:
    detail = {
        "steps": len(gaps),
        "p90_ms": round(percentile(gaps, 90), 2),
        "p99_ms": round(percentile(gaps, 99), 2),
        "least_ms": round(min(gaps), 2),
    }
    value = statistics.median(gaps)
    return Figure(name=name, value=value, limit=LIMIT_MS, sense=Sense.AT_MOST, unit="ms", detail=detail)
