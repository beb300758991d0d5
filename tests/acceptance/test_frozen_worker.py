"""SIGSTOP inside an action, for longer than the lease: another finishes the run, and the frozen worker acts no more.

The frozen worker and the one that takes over are different users of the cluster, so that the API server's audit log
tells who did what.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.crash_points import HELPS, IN_VAIN, At, call_of, hold_of, whole_effect, whole_tale
from tests.acceptance.proving import NAMESPACE
from tests.acceptance.stage import RUNS, Records, Stage, stage
from tests.services.api_gate import Hold
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.waiting import eventually

TAKEN_OVER_WITHIN = timedelta(seconds=15)

SENT, SENDING, DONE, RECORDING, UNDOING = (
    "frozen-sent",
    "frozen-sending",
    "frozen-done",
    "frozen-recording",
    "frozen-undo",
)
ALERTS = {SENT: HELPS, SENDING: HELPS, DONE: HELPS, RECORDING: HELPS, UNDOING: IN_VAIN}


def holds() -> dict[str, Hold]:
    """Return where each run is when its worker freezes."""
    looked_at_last = Hold(
        what="answer", match=call_of("rolled", SENDING), after=call_of("restart rehearsed", SENDING), skip=2
    )
    return {
        SENT: hold_of(At(call="restarted", what="request"), SENT),
        SENDING: looked_at_last,
        DONE: hold_of(At(call="restarted", what="answer"), DONE),
        RECORDING: hold_of(At(call="restarted", what="answer"), RECORDING),
        UNDOING: hold_of(At(call="policy deleted", what="request"), UNDOING),
    }


@pytest.mark.timeout(300)
async def test_a_frozen_worker_is_replaced_within_15_s_and_does_nothing_when_it_wakes_up(
    control_plane: ControlPlane, database_url: str, folder: Path
) -> None:
    async with stage(control_plane, database_url, folder, list(ALERTS)) as on:
        held = await freeze(on)
        stopped_at = datetime.now(UTC)
        for workload in (SENDING, DONE):  # the answer waits in its socket, to be read first of all
            held[workload].released.set()
        await on.commits.release()
        await taken_over(on)
        assert datetime.now(UTC) - stopped_at < TAKEN_OVER_WITHIN
        finished = await on.settled()
        assert_done_once(finished)

        for workload in (SENT, UNDOING):  # sent long ago, it arrives only now
            held[workload].released.set()
        await refused(on, {"restart": SENT, "delete": UNDOING})
        woken_at = datetime.now(UTC)
        on.responder.process.resume()
        await gave_up(on)
        await serves_again(on)
        after = await on.records()

    assert after == finished, "it wrote nothing"
    late = [m for m in after.mutations if m.user == RESPONDER and m.at > stopped_at]
    told = [t for t in after.tales if t.user == RESPONDER and t.at > stopped_at]
    assert (late, told) == ([], []), "nothing of it was accepted since it froze"
    assert_done_once(after)
    assert woken_at - stopped_at > TAKEN_OVER_WITHIN / 2, "it was frozen for longer than a lease"


async def freeze(on: Stage) -> dict[str, Hold]:
    """Bring one worker into five runs at once, let another stand by, and freeze the first."""
    held = {workload: on.gate.hold(hold) for workload, hold in holds().items()}
    await on.deliver(ALERTS)
    await on.arrived(held)
    on.gate.open()
    other = on.add_responder(on.control_plane.admin_kubeconfig)
    await asyncio.to_thread(other.start)
    commit = (RECORDING, "restart:succeeded")
    await on.commits.add([commit])
    held[RECORDING].released.set()
    await on.commits.all_waiting({commit})
    on.responder.process.suspend()
    return held


async def taken_over(on: Stage) -> None:
    """Wait until the other worker holds every run that the frozen one had."""
    async with on.responder.database() as connection:
        before = {row["service"]: row["fence"] for row in await connection.fetch(RUNS)}

        async def all_() -> bool:
            rows = await connection.fetch(RUNS)
            return all(row["fence"] > before[row["service"]] for row in rows)

        await eventually(all_, seconds=60)


def assert_done_once(records: Records) -> None:
    for workload, alert in ALERTS.items():
        assert records.effects(workload) == whole_effect(alert)
        assert records.tale(workload) == whole_tale(alert)
        assert records.runs[workload]["verification"] == ("failed" if alert == IN_VAIN else "verified")
    assert records.too_early() == []


async def refused(on: Stage, late: dict[str, str]) -> None:
    """Wait until the API server has refused the late calls of the frozen worker."""

    async def all_() -> bool:
        events = await asyncio.to_thread(on.control_plane.audit_events, user=RESPONDER, namespace=NAMESPACE)
        no = [e for e in events if e.code >= 400]
        restarts = [e for e in no if e.name == late["restart"] and "restartedAt" in str(e.body)]
        deletes = [e for e in no if e.verb == "delete" and late["delete"] in e.name]
        return bool(restarts) and bool(deletes)

    await eventually(all_)


async def gave_up(on: Stage) -> None:
    """Wait until the worker that woke up has let go of every run."""

    async def all_() -> bool:
        log = on.responder.process.log_path.read_text()
        return log.count('"run_lost"') + log.count('"undo_lost"') >= len(ALERTS)

    await eventually(all_)


async def serves_again(on: Stage) -> None:
    """Wait until it works as before: it hears of an alert that it knows."""
    await on.deliver({SENT: HELPS})
    async with on.responder.database() as connection:

        async def processed() -> bool:
            return not await connection.fetchval("select count(*) from deliveries where status = 'received'")

        await eventually(processed)
