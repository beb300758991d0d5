"""Two processes on one database under 200 incidents on 20 targets: one run at a time on each, and none over the budget.

The witness is the API server's audit log.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.acceptance.proving import Mutation, fires, make_documents, make_workloads, mutations, tales
from tests.acceptance.responder import Responder
from tests.integration.engine.alerts import delivery
from tests.services.kubernetes import ADMIN, RESPONDER, ControlPlane
from tests.services.waiting import eventually

TARGETS = [f"shared-{number:02}" for number in range(20)]
PROBLEMS = [f"Restart{number}" for number in range(10)]
BUDGET = 3
"""Runs per target, as in documents/two_workers."""
BUSY_SECONDS = 90

_LEFT = """
    select i.service || ' ' || r.status || ' ' || r.reason as what
    from runs r join incidents i on i.id = r.incident_id
    where r.status in ('running', 'verifying', 'awaiting_approval')
        or (r.status = 'held' and not r.plan @> '{"verdicts": [{"guard": "budget", "allowed": false}]}')
    union all select 'a delivery' from deliveries where status = 'received'
    union all select 'an incident without a run' from incidents i
        where not exists (select from runs r where r.incident_id = i.id)
"""
_RUNS = """
    select r.id::text as run, i.service, r.status, r.verification, r.reason, r.started_at, r.ended_at
    from runs r join incidents i on i.id = r.incident_id
    order by r.started_at
"""


@pytest.mark.timeout(300)
async def test_no_two_runs_on_a_target_at_once_and_none_over_its_budget(
    control_plane: ControlPlane, database_url: str, folder: Path
) -> None:
    workers = make_workers(control_plane, database_url, folder)
    try:
        await asyncio.to_thread(workers[0].start)
        await asyncio.gather(
            asyncio.to_thread(workers[1].start), asyncio.to_thread(make_workloads, control_plane, TARGETS)
        )
        began = datetime.now(UTC)
        await storm(workers, ends_at=None)
        async with workers[0].database() as connection:
            await nothing_left(connection)
            busy = [dict(row) for row in await connection.fetch(_RUNS)]
            await storm(workers, ends_at=datetime.now(UTC))
            await everything_ended(connection)
            runs = [dict(row) for row in await connection.fetch(_RUNS)]
            steps = [dict(row) for row in await connection.fetch("select * from steps")]
    finally:
        for worker in workers:
            await asyncio.to_thread(worker.process.kill)
    done = [m for m in await asyncio.to_thread(mutations, control_plane) if m.workload in TARGETS and m.at > began]

    assert {m.user for m in done} == {RESPONDER, ADMIN}, "both took their part"
    assert len(runs) == len(TARGETS) * len(PROBLEMS)
    assert_no_overlap(done, runs)
    assert_within_budget(done, runs)
    assert_recorded(done, steps)
    told = await asyncio.to_thread(tales, control_plane)
    events = Counter((t.workload, t.reason) for t in told if t.workload in TARGETS and t.at > began)
    assert events == dict.fromkeys(itertools.product(TARGETS, ("Restarted", "Scaled")), BUDGET)
    assert_refused_by_name(busy)
    assert {r["status"] for r in runs} == {"completed", "cancelled"}


def make_workers(control_plane: ControlPlane, database_url: str, folder: Path) -> list[Responder]:
    """Make two that are different users of the cluster, so that the audit log tells who did what."""
    environ = make_documents(folder, "two_workers", TARGETS) | {"HDR_DATABASE__URL": database_url}
    made = []
    for user, kubeconfig in ((RESPONDER, control_plane.responder_kubeconfig), (ADMIN, control_plane.admin_kubeconfig)):
        (folder / user).mkdir()
        made.append(Responder(folder / user, environ | {"HDR_KUBERNETES__KUBECONFIG": str(kubeconfig)}))
    return made


async def storm(workers: Sequence[Responder], *, ends_at: datetime | None) -> None:
    """Deliver every problem of every target by itself: to the one worker, to the other, or to both."""
    receivers = itertools.cycle([workers[:1], workers[1:], workers[:1], workers[1:], workers])
    bodies = [
        (receiver, delivery([fires(problem, target, ends_at=ends_at)]))
        for (problem, target), receiver in zip(itertools.product(PROBLEMS, TARGETS), receivers, strict=False)
    ]
    answers = await asyncio.gather(*(worker.deliver(body) for receiver, body in bodies for worker in receiver))
    assert set(answers) == {200}


async def nothing_left(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Wait until all that the budget leaves to do is done."""
    left: list[str] = []

    async def nothing() -> bool:
        left[:] = [row["what"] for row in await connection.fetch(_LEFT)]
        incidents = await connection.fetchval("select count(*) from incidents")
        return not left and incidents == len(TARGETS) * len(PROBLEMS)

    try:
        await eventually(nothing, seconds=BUSY_SECONDS)
    except TimeoutError as error:
        raise AssertionError(f"{len(left)} left: {left[:5]}") from error


async def everything_ended(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    async def ended() -> bool:
        return not await connection.fetchval("select count(*) from runs where ended_at is null")

    await eventually(ended, seconds=BUSY_SECONDS)


def assert_no_overlap(done: Sequence[Mutation], runs: Sequence[Mapping[str, Any]]) -> None:
    """Each run has its target from its first call to its last, and by the records from its start to its end."""
    for target in TARGETS:
        calls = [m.run for m in done if m.workload == target]
        assert "" not in calls
        turns = [run for run, _ in itertools.groupby(calls)]
        assert len(turns) == len(set(turns)), f"{target}: calls of several runs are mixed"
        started = [r for r in runs if r["service"] == target and r["started_at"]]
        assert turns == [r["run"] for r in started]
        for earlier, later in itertools.pairwise(started):
            assert earlier["ended_at"] <= later["started_at"]


def assert_within_budget(done: Sequence[Mutation], runs: Sequence[Mapping[str, Any]]) -> None:
    """As many runs as the budget allows did their work, and no more."""
    started = Counter(r["service"] for r in runs if r["started_at"])
    assert started == dict.fromkeys(TARGETS, BUDGET)
    assert all(r["verification"] == "verified" for r in runs if r["started_at"])
    effects: dict[str, Counter[str]] = defaultdict(Counter)
    for mutation in done:
        if mutation.effect:
            effects[mutation.workload][mutation.effect] += 1
    assert effects == {target: Counter(restarted=BUDGET, scaled=BUDGET) for target in TARGETS}


def assert_recorded(done: Sequence[Mutation], steps: Sequence[Mapping[str, Any]]) -> None:
    """No change without a record of its start, made before."""
    started = {(str(s["run_id"]), s["step_id"]): s["started_at"] for s in steps}
    assert [m for m in done if m.step and not started[(m.run, m.step)] <= m.at] == []


def assert_refused_by_name(busy: Sequence[Mapping[str, Any]]) -> None:
    held = [r for r in busy if r["status"] == "held"]
    assert len(held) == len(TARGETS) * (len(PROBLEMS) - BUDGET)
    assert [r["reason"] for r in held if not re.search("budget: .*3 runs in the last 1h", r["reason"])] == []
