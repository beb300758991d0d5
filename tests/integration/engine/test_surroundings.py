"""What a run's surroundings say: dependencies that are down, and targets that others look after."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.survey import GitOpsOwner, HoldNote, Impact, TargetSurvey
from hdr_responder.engine.health import HealthDesk
from hdr_responder.settings import Settings
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop

PROBE = {"cell.is": {"cell": "b", "value": 1}}


async def held_for_its_database(open_cells: OpenWorkshop, *, value: int | None = 0, **rules: Any) -> Workshop:
    """The alert's service is neural-hdr; what it depends on is asked by cell ``b``."""
    workshop = await open_cells(playbook(guards=rules), health={"postgresql": PROBE})
    workshop.answers.presence = Presence.FIRING
    await workshop.cells.set("b", value)
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    return workshop


class TestDependency:
    async def test_a_run_waits_no_longer_than_max_hold_and_goes_to_a_person(self, open_cells: OpenWorkshop) -> None:
        workshop = await held_for_its_database(open_cells, dependency={"max_hold": "5m"})
        assert "at most until 06:05 UTC" in (await workshop.run())["reason"]
        await workshop.pass_time(240, step=60)
        assert (await workshop.run())["status"] == "held"
        restarted = workshop.peer()
        restarted.clock.advance(60)
        await restarted.settle()
        run = await restarted.run()
        assert run["status"] == "expired"
        assert "dependency: postgresql is down (cell b is 0), and set-cell waits no longer than 5m" in run["reason"]
        assert any("postgresql is down" in told for told in await restarted.told("escalated"))
        await restarted.cells.set("b", 1)
        restarted.clock.advance(3600)
        await restarted.sweep()
        await restarted.settle()
        assert await restarted.cells.effects() == []

    async def test_patience_begins_anew_when_the_dependency_was_well(self, open_cells: OpenWorkshop) -> None:
        """While something else holds the run, the database comes back and goes down again."""
        workshop = await held_for_its_database(open_cells, dependency={"max_hold": "5m"})
        workshop.cells.surveyed = TargetSurvey(hold=HoldNote(reason="disk is moved"))
        await workshop.cells.set("b", 1)
        await workshop.pass_time(240, step=60)
        await workshop.cells.set("b", 0)
        await workshop.pass_time(240, step=60)
        run = await workshop.run()
        assert run["status"] == "held"
        assert "at most until 06:10 UTC" in run["reason"]

    async def test_no_answer_is_no_proof(self, open_cells: OpenWorkshop) -> None:
        workshop = await held_for_its_database(open_cells, value=None)
        assert await workshop.cells.effects() == ["a"]

    async def test_an_open_incident_of_the_dependency_is_no_proof(self, open_cells: OpenWorkshop) -> None:
        workshop = await open_cells(health={"postgresql": PROBE})
        await workshop.fire("c", service="postgresql", name="HdrOther")
        await workshop.fire("a")
        await workshop.intake()
        await workshop.settle()
        assert await workshop.cells.effects() == ["a"]

    async def test_the_service_itself_is_repaired_although_it_is_down(self, open_cells: OpenWorkshop) -> None:
        workshop = await open_cells(health={"postgresql": PROBE})
        await workshop.cells.set("b", 0)
        await workshop.fire("a", service="postgresql")
        await workshop.intake()
        await workshop.settle()
        assert await workshop.cells.effects() == ["a"]

    async def test_what_is_down_further_below_holds_too(self, open_cells: OpenWorkshop) -> None:
        workshop = await open_cells(health={"postgresql": PROBE})
        await workshop.cells.set("b", 0)
        await workshop.fire("a", service="dashboard")
        await workshop.intake()
        await workshop.settle()
        assert "postgresql is down" in (await workshop.run())["reason"]

    async def test_a_symptom_that_ends_is_released(self, open_cells: OpenWorkshop) -> None:
        workshop = await held_for_its_database(open_cells)
        workshop.clock.advance(30)
        await workshop.fire("a", ends_at=workshop.clock.now(), starts_at=workshop.clock.now())
        await workshop.intake()
        await workshop.settle()
        run = await workshop.run()
        assert (run["status"], await workshop.told("escalated")) == ("cancelled", [])
        assert "none of the incident's alerts fires" in run["reason"]

    async def test_what_a_person_asks_for_is_held_too(self, open_cells: OpenWorkshop) -> None:
        workshop = await held_for_its_database(open_cells)
        run = await workshop.engine.operations.run_playbook(1, "set-cell", by="ann")
        assert run.status == "held"
        assert "postgresql is down" in run.reason

    @pytest.mark.parametrize("action", ["cell.look", "cell.cut_off"])
    async def test_reads_and_what_needs_no_dependency_go_on(self, open_cells: OpenWorkshop, action: str) -> None:
        step = {"id": "change", "action": action, "with": {"cell": "${params.cell}"}}
        workshop = await open_cells(playbook(steps=[step]), health={"postgresql": PROBE})
        await workshop.cells.set("b", 0)
        await workshop.fire("a")
        await workshop.intake()
        await workshop.settle()
        assert (await workshop.run())["started_at"] is not None

    async def test_many_runs_share_one_answer(self, open_cells: OpenWorkshop) -> None:
        workshop = await held_for_its_database(open_cells)
        desk = HealthDesk(
            services=workshop.documents.services,
            registry=workshop.cells.registry(),
            systems=Systems(),
            clock=workshop.clock,
        )
        workshop.cells.reached.clear()
        answers = await asyncio.gather(*(desk.below("neural-hdr", "prod-eu") for _ in range(200)))
        assert {answer[0].healthy for answer in answers} == {False}
        assert workshop.cells.reached == ["check"]
        workshop.clock.advance(5)
        await desk.below("neural-hdr", None)
        assert workshop.cells.reached == ["check", "check"]


class TestTargets:
    async def test_argo_cd_turns_auto_into_a_question(self, open_cells: OpenWorkshop) -> None:
        workshop = await open_cells()
        workshop.cells.surveyed = TargetSurvey(owner=GitOpsOwner(name="Argo CD application video", reverts=True))
        await workshop.fire("a")
        await workshop.intake()
        await workshop.settle()
        assert (await workshop.run())["status"] == "awaiting_approval"
        (asked,) = await workshop.told("approval_asked")
        assert "Argo CD application video owns cell a: the change would be reverted; needs a person's approval" in asked
        assert any(asked in line for line in workshop.console)

    async def test_what_the_controller_leaves_alone_needs_nobody(self, open_cells: OpenWorkshop) -> None:
        workshop = await open_cells()
        workshop.cells.surveyed = TargetSurvey(owner=GitOpsOwner(name="Argo CD application video", reverts=False))
        await workshop.fire("a")
        await workshop.intake()
        await workshop.settle()
        assert await workshop.cells.effects() == ["a"]

    async def test_an_approval_does_not_widen_the_blast_radius(self, open_cells: OpenWorkshop) -> None:
        rules = {"mode": "approve", "blast_radius": {"max_unavailable": "34%"}}
        workshop = await open_cells(playbook(guards=rules))
        workshop.cells.surveyed = TargetSurvey(impact=Impact(unavailable=3, healthy=3))
        await workshop.fire("a")
        await workshop.intake()
        await workshop.settle()
        await workshop.engine.operations.approve((await workshop.run())["id"], by="ann")
        await workshop.settle()
        run = await workshop.run()
        assert run["status"] == "held"
        assert "cell.set would take away 3 of 3 healthy replicas of cell a, at most 1 (34%) may be" in run["reason"]

    async def test_each_target_is_judged(self, open_cells: OpenWorkshop) -> None:
        steps = [
            {"id": "first", "action": "cell.set", "with": {"cell": "${params.cell}"}},
            {"id": "second", "action": "cell.set", "with": {"cell": "c", "value": "${steps.first.value}"}},
        ]
        document = playbook(steps=steps, guards={"blast_radius": {"max_unavailable": "1%"}})
        workshop = await open_cells(document)
        workshop.cells.surveyed = TargetSurvey(impact=Impact(unavailable=1, healthy=3))
        await workshop.fire("a")
        await workshop.intake()
        await workshop.settle()
        reason = (await workshop.run())["reason"]
        assert "of cell a" in reason
        assert "of cell c" in reason

    async def test_observing_says_what_would_have_kept_it(self, open_cells: OpenWorkshop) -> None:
        settings = Settings.model_validate({"automation": {"modes": {"development": "observe"}}})
        workshop = await open_cells(playbook(guards={"blast_radius": {"max_unavailable": "1%"}}), settings=settings)
        workshop.cells.surveyed = TargetSurvey(impact=Impact(unavailable=1, healthy=3))
        await workshop.fire("a")
        await workshop.intake()
        await workshop.settle()
        assert (await workshop.run())["status"] == "observed"
        (observed,) = await workshop.told("observed")
        assert "but blast_radius: cell.set would take away 1 of 3" in observed

    async def test_a_hold_ends_by_the_clock(self, open_cells: OpenWorkshop) -> None:
        workshop = await open_cells()
        until = workshop.clock.now() + timedelta(seconds=30)
        workshop.cells.surveyed = TargetSurvey(hold=HoldNote(reason="", until=until))
        await workshop.fire("a")
        await workshop.intake()
        await workshop.settle()
        assert await workshop.cells.effects() == []
        workshop.clock.advance(30)
        await workshop.settle()
        assert await workshop.cells.effects() == ["a"]
