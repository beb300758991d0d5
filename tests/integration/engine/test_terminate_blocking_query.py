"""The main job on a real database: the root of the chain ends, the sessions behind it move on, the record tells it."""

from __future__ import annotations

from datetime import timedelta

from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.adapters.rehearsal import DATABASE, blocked_database
from hdr_responder.domain.ports.postgres import Safety
from hdr_responder.domain.ports.store import Job
from hdr_responder.domain.ports.systems import Systems
from tests.integration.engine.conftest import OpenWorkshop
from tests.services.postgres import run_postgres
from tests.services.waiting import eventually

BLOCKED = 3


async def test_the_blocker_is_terminated_and_the_waiting_sessions_finish(open_with: OpenWorkshop) -> None:
    with run_postgres() as server:
        async with blocked_database(server.dsn("postgres")) as blocked:
            target = PostgresTarget(DATABASE, blocked.url)
            workshop = await open_with(systems=Systems(postgres={DATABASE: target}))

            async def long_enough() -> bool:
                found = await target.blocking(
                    Safety(blocking_for=timedelta(seconds=5), protected_applications=(), protected_roles=())
                )
                return any(not root.refusal for root in found.roots)

            await eventually(long_enough)
            await workshop.receive("08")
            await workshop.intake()
            await workshop.settle(without=[Job.VERIFY, Job.NOTIFY_CONSOLE])
            assert await blocked.root_is_gone()

            async def all_finished() -> bool:
                return await blocked.finished() == BLOCKED

            await eventually(all_finished)
            await workshop.pass_time(10)

    (run,) = await workshop.rows("select status, verification, reason from runs")
    assert (run["status"], run["verification"]) == ("completed", "verified"), run
    (incident,) = await workshop.rows("select status, priority from incidents")
    assert incident == {"status": "mitigated", "priority": "P2"}
    kinds = await workshop.timeline()
    wanted = ["opened", "planned", "run_started", "artifact", "step_ended", "step_started", "step_ended", "verifying"]
    assert [k for k in kinds if k in wanted] == wanted
    assert kinds[-2:] == ["run_ended", "mitigated"]
    assert await workshop.rows("select 1 from target_locks") == []
    assert any("verified" in line for line in workshop.console)
