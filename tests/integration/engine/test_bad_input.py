"""What automation cannot work with is said clearly on the timeline and in the channel, and goes to a person; the
incident exists either way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.ports.systems import Systems
from tests.fakes.everywhere import EVERYWHERE
from tests.integration.engine.alerts import alert, delivery
from tests.integration.engine.cells import playbook
from tests.integration.engine.conftest import OpenWorkshop
from tests.integration.engine.workshop import Workshop
from tests.services.ports import free_port


async def assert_told(workshop: Workshop, says: str) -> None:
    """On the timeline, in the channel, escalated and paged once; nothing is left locked."""
    assert any(says in t for t in await workshop.told()), await workshop.told()
    assert any(says in line for line in workshop.console)
    assert len(await workshop.told("escalated")) == 1
    assert await workshop.pages() == 1
    assert (await workshop.incident())["status"] == "triggered"
    assert await workshop.rows("select 1 from target_locks") == []


async def fire(workshop: Workshop, **more: Any) -> None:
    await workshop.receive_body(delivery([alert(starts_at=workshop.clock.now(), **more)]))
    await workshop.intake()
    await workshop.settle()


async def test_a_parameter_that_does_not_resolve(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop)
    await assert_told(workshop, "set-cell cannot be planned")
    assert any("cell" in t for t in await workshop.told("not_planned"))
    assert await workshop.rows("select 1 from runs") == []


async def test_a_target_that_does_not_exist(open_cells: OpenWorkshop) -> None:
    workshop = await open_cells()
    await fire(workshop, cell="nowhere")
    await assert_told(workshop, "cell nowhere does not exist")
    assert (await workshop.run())["status"] == "failed"


async def test_a_step_parameter_of_a_wrong_value(open_cells: OpenWorkshop) -> None:
    step = {"id": "change", "action": "cell.set", "with": {"cell": "a", "value": "${int(alert.labels['size'])}"}}
    workshop = await open_cells(playbook(steps=[step], params={}, verify={"all": [{"cell.is": {"cell": "a"}}]}))
    await fire(workshop, size="large")
    await assert_told(workshop, "cannot be planned")


async def test_a_condition_that_cannot_be_evaluated_stops_the_run(open_cells: OpenWorkshop) -> None:
    """Errors are not answers."""
    step = {"id": "change", "when": "alert.labels['absent'] == 'x'", "action": "cell.set", "with": {"cell": "a"}}
    workshop = await open_cells(playbook(steps=[step], params={}, verify={"all": [{"cell.is": {"cell": "a"}}]}))
    await fire(workshop, cell="a")
    assert (await workshop.run())["status"] == "failed"
    assert await workshop.cells.effects() == []
    await assert_told(workshop, "Step change: failed")


async def test_an_unknown_service_has_no_workload_to_act_on(open_with: OpenWorkshop) -> None:
    workshop = await open_with()
    await fire(workshop, name="HdrServiceDown", service="nobody-knows")
    await assert_told(workshop, "restart-service cannot be planned")


async def test_a_cluster_that_nothing_is_mapped_to_is_never_changed(open_with: OpenWorkshop) -> None:
    workshop = await open_with()
    await fire(workshop, name="HdrServiceDown")
    await assert_told(workshop, "no targets.kubernetes.prod-eu is configured")
    assert (await workshop.run())["status"] == "failed"


async def test_a_cluster_that_does_not_answer(open_with: OpenWorkshop, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{free_port()}'}}}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: x}}]\n"
    )
    cluster = KubernetesAdapter.connect("prod-eu", config, timeout=2.0, namespaces=EVERYWHERE)
    try:
        workshop = await open_with(systems=Systems(kubernetes={"prod-eu": cluster}))
        await fire(workshop, name="HdrServiceDown")
        assert (await workshop.run())["status"] == "held", "it is asked again every minute"
        await assert_told(workshop, "cannot look at what it would change")
    finally:
        await cluster.close()


async def test_a_database_that_is_not_configured(open_with: OpenWorkshop) -> None:
    workshop = await open_with()
    await fire(workshop, name="HdrPostgresBlocked", service="postgresql", database="hdr_empire")
    await assert_told(workshop, "no targets.postgres.hdr_empire is configured")


async def test_a_database_that_no_service_lists(open_with: OpenWorkshop) -> None:
    """Whatever a label says, and whether or not it is configured."""
    workshop = await open_with()
    await fire(workshop, name="HdrPostgresBlocked", service="postgresql", database="nowhere")
    await assert_told(workshop, "database nowhere is not listed in config/services.yaml")


async def test_an_action_that_this_version_does_not_know_any_more(open_cells: OpenWorkshop) -> None:
    """A run planned by another version: it ends with a person, wherever it stands."""
    forget = "update runs set plan = jsonb_set(plan, '{document,steps,0,action}', '\"cell.gone\"')"
    workshop = await open_cells(playbook(verify={"within": "1m", "all": [{"cell.is": {"cell": "b"}}]}))
    await fire(workshop, cell="a")
    assert (await workshop.run())["status"] == "verifying"
    await workshop.pool.execute(forget)
    await workshop.pass_time(10)
    assert (await workshop.run())["verification"] == "inconclusive"
    assert any("cannot be verified" in t for t in await workshop.told("escalated"))
    await workshop.engine.operations.pause(by="ann")
    await fire(workshop, cell="b", service="redis")
    await workshop.pool.execute(forget)
    await workshop.engine.operations.resume(by="ann")
    await workshop.settle()
    (run,) = await workshop.rows("select status from runs where incident_id = 2")
    assert run["status"] == "failed"
    assert await workshop.rows("select 1 from target_locks") == []


async def test_an_undo_that_this_version_does_not_know_any_more_goes_to_a_person(open_cells: OpenWorkshop) -> None:
    steps = [{"id": "more", "action": "cell.set", "with": {"cell": "a"}, "for": "1h"}]
    workshop = await open_cells(playbook(steps=steps))
    await fire(workshop, cell="a")
    await workshop.pool.execute("update runs set plan = jsonb_set(plan, '{document,steps,0,action}', '\"cell.gone\"')")
    workshop.clock.advance(3600)
    await workshop.settle()
    assert any("could not be taken back" in t for t in await workshop.told("escalated"))
