"""Every guard is wired: it blocks the start, also after a restart and also when it cannot decide; people are told; and
the run starts by itself when the cause ends, or goes to a person when that takes too long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from hdr_responder.documents.guard_rules import Guards
from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.survey import GitOpsOwner, HoldNote, Impact, TargetSurvey
from hdr_responder.engine import guards
from hdr_responder.errors import ForbiddenError, UnavailableError
from hdr_responder.settings import Settings
from tests.integration.engine.catalogues import listing
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import NOW, Workshop

Act = Callable[[Workshop], Awaitable[object]]
HOUR = 3600


async def nothing(_: Workshop) -> None:
    """No cause, or no end."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """``cause`` makes the guard refuse, ``end`` ends the cause; ``says`` is part of the reason."""

    guard: str
    says: str
    cause: Act = nothing
    end: Act = nothing
    rules: dict[str, Any] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)
    """Health probes by service; the alert's service depends on PostgreSQL."""
    calendar: dict[str, Any] = field(default_factory=dict)
    """Freezes and windows of the calendar."""
    waits: int = 0
    """Minutes that the run may wait for the cause's end before its hour begins."""
    settings: dict[str, Any] = field(default_factory=dict)
    """``automation.budgets`` of the settings."""
    where: dict[str, Any] = field(default_factory=dict)
    """More parameters of the step."""
    labels: dict[str, str] = field(default_factory=dict)
    """More labels of the alert."""
    reads: tuple[str, ...] = ()
    """Keys of the document's ``guards`` that the guard reads."""


async def run_id(workshop: Workshop) -> Any:
    (row,) = await workshop.rows("select id from runs where status in ('held', 'awaiting_approval')")
    return row["id"]


def approves(*people: str) -> Act:
    async def act(workshop: Workshop) -> None:
        for person in people:
            await workshop.engine.operations.approve(await run_id(workshop), by=person)

    return act


def after(seconds: float) -> Act:
    async def act(workshop: Workshop) -> None:
        workshop.answers.presence = Presence.FIRING
        workshop.clock.advance(seconds)

    return act


async def paused(workshop: Workshop) -> None:
    await workshop.engine.operations.pause(by="ann", reason="database work")


async def resumed(workshop: Workshop) -> None:
    await workshop.engine.operations.resume(by="ann")


async def held(workshop: Workshop) -> None:
    await workshop.engine.operations.hold("neural-hdr", timedelta(minutes=10), by="ann")


async def hold_ended(workshop: Workshop) -> None:
    await workshop.engine.operations.hold("neural-hdr", timedelta(0), by="ann")


async def commanded(workshop: Workshop) -> None:
    """The incident has a commander before anything is planned."""
    await workshop.engine.operations.lead(1, by="bob")


async def uncertain(workshop: Workshop) -> None:
    await workshop.pool.execute("update alerts set uncertain = true")


def answers(presence: Presence) -> Act:
    async def act(workshop: Workshop) -> None:
        workshop.answers.presence = presence
        if presence is Presence.FIRING:
            workshop.clock.advance(60)

    return act


async def old_news(workshop: Workshop) -> None:
    await workshop.pool.execute("update alerts set last_received_at = last_received_at - interval '11 min'")


async def listed_after_a_restart(workshop: Workshop) -> None:
    """The catalogue lists one more namespace, and the service starts anew with it."""
    workshop.options["config"] = listing(workshop.options["folder"], "kube-system")
    workshop.engine = workshop.peer().engine
    workshop.clock.advance(60)


async def fresh_news(workshop: Workshop) -> None:
    workshop.clock.advance(60)
    await workshop.fire("a")
    await workshop.intake()


async def ran_before(workshop: Workshop) -> None:
    """Another incident's run on the same target has just ended."""
    await workshop.fire("a", service="redis")
    await workshop.intake()
    await workshop.engine.starter.plan_incident(2)
    (row,) = await workshop.rows("select id from runs")
    await workshop.engine.starter.start_run(row["id"])
    await workshop.engine.executor.run(row["id"])
    await workshop.engine.verifier.verify(row["id"])
    assert (await workshop.run())["status"] == "completed"
    await workshop.pool.execute("delete from pgqueuer where entrypoint <> 'plan' or payload = '2'")


async def did_not_help_before(workshop: Workshop) -> None:
    """Another incident's run on the same target has just ended without helping."""
    await ran_before(workshop)
    await workshop.pool.execute("update runs set status = 'failed', verification = 'failed'")


async def works_elsewhere(workshop: Workshop) -> None:
    """Another incident's run works on the target, and does not come to an end by itself."""
    await ran_before(workshop)
    await workshop.pool.execute("update runs set status = 'verifying', ended_at = null, next_check_at = 'infinity'")
    await workshop.pool.execute("insert into target_locks (target_key, run_id) select 'cell:a', id from runs")


async def work_elsewhere_ends(workshop: Workshop) -> None:
    sql = "update runs set next_check_at = null where status = 'verifying' returning id"
    (row,) = await workshop.pool.fetch(sql)
    await workshop.engine.verifier.verify(row["id"])


def finds(**found: Any) -> Act:
    """A step finds this at its target before the run starts; a minute goes by."""

    async def act(workshop: Workshop) -> None:
        workshop.cells.surveyed = TargetSurvey(**found)
        workshop.answers.presence = Presence.FIRING
        workshop.clock.advance(60)

    return act


async def finds_no_answer(workshop: Workshop) -> None:
    workshop.cells.surveyed = UnavailableError("the cluster cannot be reached")


def database_is(value: int | None) -> Act:
    async def act(workshop: Workshop) -> None:
        await workshop.cells.set("b", value)
        workshop.answers.presence = Presence.FIRING
        workshop.clock.advance(60)

    return act


ALL_OF_TWO = Impact(unavailable=2, healthy=2)
ONE_OF_TWO = Impact(unavailable=1, healthy=2)
ARGO = GitOpsOwner(name="Argo CD application video", reverts=True)
ONCE = {"runs": 1, "per": "10m"}
DATABASE_PROBE = {"postgresql": {"cell.is": {"cell": "b", "value": 1}}}

UNTIL_6_10 = {"name": "year-end", "reason": "holidays", "from": "2026-11-20T00:00", "until": "2026-11-24T06:10"}

CASES = {
    "protected": Case(
        guard="protected",
        says="namespace kube-system is not listed in config/services.yaml: nothing there may be touched",
        where={"namespace": "${alert.labels['namespace']}"},
        labels={"namespace": "kube-system"},
        end=listed_after_a_restart,
    ),
    "freeze": Case(
        guard="freeze",
        says="change freeze year-end until 2026-11-24 06:10 UTC (holidays)",
        calendar={"freezes": [UNTIL_6_10 | {"allows": "nothing"}]},
        end=after(601),
    ),
    "freeze approved": Case(
        guard="freeze",
        says="a person may approve it",
        calendar={"freezes": [UNTIL_6_10 | {"services": ["neural-hdr"]}]},
        end=approves("ann"),
    ),
    "freeze over": Case(
        guard="freeze",
        says="a person may approve it",
        calendar={"freezes": [UNTIL_6_10 | {"environments": ["development"]}]},
        end=after(601),
    ),
    "window": Case(
        guard="window",
        says="window mornings opens at 2026-11-24 06:10 UTC",
        calendar={"windows": [{"name": "mornings", "schedule": "10 6 * * *", "lasts": "1h"}]},
        rules={"window": "mornings"},
        end=after(601),
        waits=10,
        reads=("window",),
    ),
    "maintenance": Case(
        guard="maintenance",
        says="maintenance window night until 2026-11-24 06:10 UTC",
        calendar={"windows": [{"name": "night", "schedule": "0 5 * * *", "lasts": "1h10m", "maintenance": True}]},
        end=after(601),
        waits=10,
    ),
    "hold annotation": Case(
        guard="hold_annotation",
        says="cell a is held by its annotation: disk is moved",
        cause=finds(hold=HoldNote(reason="disk is moved")),
        end=finds(),
    ),
    "hold annotation over": Case(
        guard="hold_annotation",
        says="until 2026-11-24 06:02 UTC",
        cause=finds(hold=HoldNote(reason="", until=NOW + timedelta(minutes=2))),
        end=after(60),
    ),
    "hold annotation unread": Case(
        guard="hold_annotation",
        says="whether an annotation holds cell a is not known (the cluster cannot be reached)",
        cause=finds_no_answer,
        end=finds(),
    ),
    "blast radius": Case(
        guard="blast_radius",
        says="cell.set would take away 2 of 2 healthy replicas of cell a, at most 1 may be",
        rules={"blast_radius": {"max_unavailable": 1}},
        cause=finds(impact=ALL_OF_TWO),
        end=finds(impact=ONE_OF_TWO),
        reads=("blast_radius",),
    ),
    "blast radius as a share": Case(
        guard="blast_radius",
        says="would take away 1 of 2 healthy replicas of cell a, at most 0 (34%) may be",
        rules={"blast_radius": {"max_unavailable": "34%"}},
        cause=finds(impact=ONE_OF_TWO),
        end=finds(impact=Impact(unavailable=1, healthy=3)),
    ),
    "blast radius unread": Case(
        guard="blast_radius",
        says="what cell.set would take away of cell a is not known (the cluster cannot be reached)",
        rules={"blast_radius": {"max_unavailable": 5}},
        cause=finds_no_answer,
        end=finds(impact=ALL_OF_TWO),
    ),
    "dependency": Case(
        guard="dependency",
        says="postgresql is down (cell b is 0)",
        rules={"dependency": {"max_hold": "2h"}},
        health=DATABASE_PROBE,
        cause=database_is(0),
        end=database_is(1),
        reads=("dependency",),
    ),
    "gitops": Case(
        guard="gitops",
        says="Argo CD application video owns cell a: the change would be reverted",
        cause=finds(owner=ARGO),
        end=approves("ann"),
    ),
    "gitops unread": Case(
        guard="gitops",
        says="whether a GitOps controller owns cell a is not known",
        cause=finds_no_answer,
        end=finds(),
    ),
    "pause": Case(guard="pause", says="database work", cause=paused, end=resumed),
    "hold ended": Case(guard="hold", says="held by ann", cause=held, end=hold_ended),
    "hold over": Case(guard="hold", says="held by ann", cause=held, end=after(601)),
    "approval by mode": Case(
        guard="approval", says="waits for 1 approval", rules={"mode": "approve"}, end=approves("ann"), reads=("mode",)
    ),
    "approval by two": Case(
        guard="approval",
        says="waits for 2 approvals of group sre",
        rules={"mode": "approve", "approval": {"approvers": 2, "group": "sre"}},
        end=approves("oncall@example.com", "secondary@example.com"),
        reads=("approval",),
    ),
    "approval by priority": Case(
        guard="approval",
        says="approval is required for P2",
        rules={"approval": {"required_for": ["P2"]}},
        end=approves("ann"),
    ),
    "approval under command": Case(guard="approval", says="bob has command", cause=commanded, end=approves("ann")),
    "approval of uncertain news": Case(guard="approval", says="may be old news", cause=uncertain, end=approves("ann")),
    "staleness by age, approved": Case(
        guard="staleness", says="over 10m", cause=old_news, end=approves("ann"), reads=("max_age",)
    ),
    "staleness by age, fresh news": Case(guard="staleness", says="over 10m", cause=old_news, end=fresh_news),
    "staleness, silenced": Case(
        guard="staleness",
        says="silenced or inhibited",
        cause=answers(Presence.SUPPRESSED),
        end=answers(Presence.FIRING),
    ),
    "staleness, absent": Case(
        guard="staleness", says="does not know", cause=answers(Presence.ABSENT), end=answers(Presence.FIRING)
    ),
    "cooldown": Case(
        guard="cooldown",
        says="rests for another 5m",
        rules={"cooldown": "5m", "budget": {"runs": 2, "per": "1h"}},
        cause=ran_before,
        end=after(301),
        reads=("cooldown",),
    ),
    "budget": Case(
        guard="budget",
        says="the target had 1 run in the last 10m",
        rules={"budget": ONCE},
        cause=ran_before,
        end=after(601),
        reads=("budget",),
    ),
    "budget of the playbook": Case(
        guard="playbook_budget",
        says="playbook set-cell had 1 run in the last 10m",
        rules={"playbook_budget": ONCE},
        cause=ran_before,
        end=after(601),
        reads=("playbook_budget",),
    ),
    "budget of the effect": Case(
        guard="effect_budget",
        says="effect set had 1 run in the last 10m",
        settings={"effects": {"set": ONCE}},
        cause=ran_before,
        end=after(601),
    ),
    "budget of the fleet": Case(
        guard="fleet_budget",
        says="the whole fleet had 1 run in the last 10m",
        settings={"fleet": ONCE},
        cause=ran_before,
        end=after(601),
    ),
    "breaker rests": Case(
        guard="breaker",
        says="the last run on cell:a failed or did not help: automation rests for another 10m",
        rules={"breaker": {"after": 1, "pause": "10m", "person_after": 2}},
        cause=did_not_help_before,
        end=after(601),
        reads=("breaker",),
    ),
    "breaker asks": Case(
        guard="breaker",
        says="the last run on cell:a failed or did not help: only a person's word starts another",
        rules={"breaker": {"after": 1, "person_after": 1}},
        cause=did_not_help_before,
        end=approves("ann"),
    ),
    "approval of a poor record": Case(
        guard="approval",
        says="verified in 0 of its last 1 runs, below 50%",
        rules={"autonomy": {"floor": "50%", "of_last": 4, "at_least": 1}},
        cause=did_not_help_before,
        end=approves("ann"),
        reads=("autonomy",),
    ),
    "target": Case(guard="target", says="is working on cell:a", cause=works_elsewhere, end=work_elsewhere_ends),
}
"""`resolved` ends a run instead of holding it; its cases are below."""

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def test_every_guard_and_every_rule_has_a_case() -> None:
    proved = {case.guard for case in CASES.values()} | {"resolved"}
    assert proved == {guard.__name__ for guard in guards.GUARDS}
    assert {key for case in CASES.values() for key in case.reads} == set(Guards.model_fields)


async def refused(open_cells: OpenWorkshop, case: Case) -> Workshop:
    """An incident whose run the guard has refused."""
    settings = Settings.model_validate({"automation": {"budgets": case.settings}})
    steps = [{"id": "change", "action": "cell.set", "with": {"cell": "${params.cell}", **case.where}}]
    workshop = await open_cells(
        playbook(guards=case.rules, steps=steps), health=case.health, calendar=case.calendar, settings=settings
    )
    await workshop.fire("a", **case.labels)
    await workshop.intake()
    await case.cause(workshop)
    already = len(await workshop.cells.effects())
    await workshop.settle()
    (run,) = await workshop.rows("select status, reason, expires_at from runs where incident_id = 1")
    assert run["status"] in {"held", "awaiting_approval"}
    assert f"{case.guard}: " in run["reason"]
    assert case.says in run["reason"]
    assert run["expires_at"] is not None
    assert len(await workshop.cells.effects()) == already
    return workshop


async def started(workshop: Workshop) -> bool:
    return bool(await workshop.rows("select 1 from runs where incident_id = 1 and started_at is not null"))


@every_case
async def test_a_refusal_is_told_everywhere_once(open_cells: OpenWorkshop, case: Case) -> None:
    workshop = await refused(open_cells, case)
    for _ in range(3):
        await workshop.engine.starter.start_run(await run_id(workshop))
    await workshop.settle()
    told = [t for k in ("guard_refused", "approval_asked") for t in await workshop.told(k) if case.says in t]
    assert len(told) == 1
    assert workshop.refusals(case.guard) == 1
    assert any(case.says in line for line in workshop.console)


@every_case
async def test_it_still_refuses_after_a_restart(open_cells: OpenWorkshop, case: Case) -> None:
    workshop = (await refused(open_cells, case)).peer()
    await workshop.sweep()
    await workshop.engine.starter.start_run(await run_id(workshop))
    await workshop.engine.starter.plan_incident(1)
    await workshop.settle()
    assert not await started(workshop)


@every_case
async def test_the_run_starts_by_itself_when_the_cause_ends(open_cells: OpenWorkshop, case: Case) -> None:
    workshop = await refused(open_cells, case)
    already = len(await workshop.cells.effects())
    await case.end(workshop)
    await workshop.settle()
    assert await started(workshop)
    assert len(await workshop.cells.effects()) == already + 1


@every_case
async def test_it_starts_after_a_restart_without_any_job_too(open_cells: OpenWorkshop, case: Case) -> None:
    """Jobs only wake: with the queue emptied, the sweep finds what is due (but not what an event ends)."""
    workshop = await refused(open_cells, case)
    await workshop.pool.execute("delete from pgqueuer")
    await case.end(workshop)
    restarted = workshop.peer()
    workshop.clock.advance(61)
    await restarted.sweep()
    await restarted.settle()
    assert await started(workshop)


@every_case
async def test_what_waits_too_long_expires_and_goes_to_a_person(open_cells: OpenWorkshop, case: Case) -> None:
    workshop = await refused(open_cells, case)
    for _ in range(62 + case.waits):
        workshop.clock.advance(60)
        if case.guard in {"cooldown", "breaker", "hold", *guards.BUDGETS}:
            await case.cause(workshop) if case.guard == "hold" else await workshop.pool.execute(
                "update runs set ended_at = $1, started_at = $1 where incident_id = 2", workshop.clock.now()
            )
        await workshop.pool.execute("update alerts set last_received_at = last_received_at + interval '1 min'")
    await workshop.sweep()
    await workshop.settle()
    (run,) = await workshop.rows("select status, reason from runs where incident_id = 1")
    assert run["status"] == "expired", run
    assert any("in time" in t for t in await workshop.told("escalated"))
    assert not await started(workshop)


@pytest.mark.parametrize("guard", [g.__name__ for g in guards.GUARDS])
async def test_a_guard_that_cannot_decide_refuses(
    open_cells: OpenWorkshop, guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect in one guard: nothing starts until it is gone, and people see why."""

    def broken(_: guards.Question) -> Any:
        raise KeyError("a defect")

    broken.__name__ = guard
    whole = guards.GUARDS
    monkeypatch.setattr(guards, "GUARDS", tuple(broken if g.__name__ == guard else g for g in whole))
    workshop = await open_cells()
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    assert (await workshop.run())["status"] in {"held", "awaiting_approval"}
    assert f"{guard}: it could not be decided (KeyError)" in (await workshop.run())["reason"]
    monkeypatch.setattr(guards, "GUARDS", whole)
    workshop.clock.advance(60)
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


@pytest.mark.parametrize("table", ["pause", "holds", "target_locks", "run_targets"])
async def test_facts_that_cannot_be_read_block(open_cells: OpenWorkshop, table: str) -> None:
    """The database cannot answer one of the guards' questions: the run waits with that reason, then goes on."""
    workshop = await open_cells()
    await workshop.fire("a")
    await workshop.intake()
    await workshop.engine.starter.plan_incident(1)
    run = (await workshop.run())["id"]
    await workshop.pool.execute(f"alter table {table} rename to gone")
    await workshop.engine.starter.start_run(run)
    assert not await started(workshop)
    assert "facts: what the guards ask could not be read" in (await workshop.run())["reason"]
    assert workshop.refusals("facts") == 1
    await workshop.pool.execute(f"alter table gone rename to {table}")
    workshop.clock.advance(61)
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_only_members_of_the_group_may_approve(open_cells: OpenWorkshop) -> None:
    workshop = await refused(open_cells, CASES["approval by two"])
    with pytest.raises(ForbiddenError):
        await workshop.engine.operations.approve(await run_id(workshop), by="mallory@example.com")
    await workshop.engine.operations.approve(await run_id(workshop), by="oncall@example.com")
    await workshop.engine.operations.approve(await run_id(workshop), by="oncall@example.com")
    await workshop.settle()
    assert not await started(workshop), "one person's word counts once"
    assert "waits for 1 approval of" in (await workshop.run())["reason"]


async def test_one_who_denied_cannot_be_counted_and_ends_the_run(open_cells: OpenWorkshop) -> None:
    workshop = await refused(open_cells, CASES["approval by mode"])
    await workshop.engine.operations.deny(await run_id(workshop), by="ann")
    await workshop.settle()
    assert (await workshop.run())["status"] == "denied"
    assert await workshop.cells.effects() == []


async def test_an_approval_is_not_a_pass_for_other_guards(open_cells: OpenWorkshop) -> None:
    workshop = await refused(open_cells, CASES["approval by mode"])
    await paused(workshop)
    await workshop.engine.operations.approve(await run_id(workshop), by="ann")
    await workshop.settle()
    assert not await started(workshop)
    await resumed(workshop)
    await workshop.settle()
    assert await workshop.cells.effects() == ["a"]


async def test_a_priority_raised_while_it_waits_asks_for_the_approval_of_the_new_one(
    open_cells: OpenWorkshop,
) -> None:
    workshop = await open_cells(playbook(guards={"approval": {"required_for": ["P1"]}}))
    await paused(workshop)
    await workshop.fire("a")
    await workshop.intake()
    await workshop.settle()
    await workshop.pool.execute("update incidents set priority = 'P1'")
    await resumed(workshop)
    await workshop.settle()
    assert "approval is required for P1" in (await workshop.run())["reason"]
    assert not await started(workshop)


async def test_resolved_ends_what_waits(open_cells: OpenWorkshop) -> None:
    workshop = await refused(open_cells, CASES["pause"])
    workshop.clock.advance(60)
    await workshop.fire("a", ends_at=workshop.clock.now(), starts_at=workshop.clock.now())
    await workshop.intake()
    await workshop.settle()
    run = await workshop.run()
    assert run["status"] == "cancelled"
    assert "none of the incident's alerts fires" in run["reason"]
    await resumed(workshop)
    await workshop.settle()
    assert await workshop.cells.effects() == []


async def test_resolved_by_hand_ends_what_waits(open_cells: OpenWorkshop) -> None:
    workshop = await refused(open_cells, CASES["approval by mode"])
    await workshop.engine.operations.resolve(1, by="ann")
    await workshop.settle()
    assert (await workshop.run())["status"] == "cancelled"
    assert await workshop.cells.effects() == []


async def test_the_alert_that_was_planned_for_is_asked_about(open_cells: OpenWorkshop) -> None:
    """Fresh news only: another alert of the incident that fires says nothing about this one."""
    workshop = await open_cells(playbook(match=['alertname = "HdrCell"', 'cell = "b"']))
    await workshop.fire("a", "b")
    await workshop.intake()
    (own,) = await workshop.rows("select fingerprint from alerts where labels ->> 'cell' = 'b'")
    workshop.answers.presence = Presence.FIRING
    workshop.answers.by_fingerprint[own["fingerprint"]] = Presence.ABSENT
    await workshop.settle()
    assert workshop.answers.asked == [own["fingerprint"]]
    assert "staleness" in (await workshop.run())["reason"]
    assert await workshop.cells.effects() == []


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.guard in guards.BUDGETS], ids=lambda c: c.guard
)
async def test_a_used_up_budget_is_told_to_a_person(open_cells: OpenWorkshop, case: Case) -> None:
    workshop = await refused(open_cells, case)
    assert any("stopped by a budget" in t for t in await workshop.told("escalated"))
