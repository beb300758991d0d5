"""The rights of documents: every way in is walked through, what is not known beforehand is not left out in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hdr_responder.actions.alerts import AlertCheck
from hdr_responder.actions.contract import (
    Check,
    Parameters,
    Permission,
    Read,
    Registry,
    Result,
    StepContext,
)
from hdr_responder.actions.registry import registry
from hdr_responder.documents.catalogue import load
from hdr_responder.documents.rights import Needs, needed_rights
from hdr_responder.domain.workloads import Workload

EU, US = "prod-eu", "prod-us"
LOGS = {"id": "logs", "action": "kubernetes.logs", "with": {"workload": "${params.workload}"}}
STATUS = {"id": "status", "action": "kubernetes.rollout_status", "with": {"workload": "${params.workload}"}}
BLOCKERS = {"id": "blockers", "action": "postgres.blocking_chain", "with": {"target": "${params.server}"}}
SERVICES = (
    {"name": "neural", "namespace": "hdr", "workload": "deployment/neural", "aliases": ["neural-hdr"]},
    {"name": "store", "namespace": "data", "workload": "statefulset/store", "databases": ["main", "other"]},
    {"name": "edge", "namespace": "edge"},
)


class PickParameters(Parameters):
    resource: str
    namespace: str
    cluster: str
    verb: str = "get"


class Nothing(Result):
    pass


class Pick(Read[PickParameters, Nothing]):
    """Its rights depend on parameters that say what it does, beside where."""

    name = "kubernetes.pick"
    summary = "Picks."
    example = ""
    parameters = PickParameters
    result = Nothing

    def permissions(self, params: PickParameters) -> tuple[Permission, ...]:
        where = {"scope": params.cluster, "namespace": params.namespace}
        return (Permission(system="kubernetes", verb=params.verb, resource=params.resource, **where),)

    async def execute(self, ctx: StepContext, params: PickParameters) -> Nothing:
        return Nothing()


def known() -> Registry:
    return Registry((Pick(), *registry().actions.values()), tuple(registry().checks.values()))


def playbook(name: str = "one", **parts: Any) -> dict[str, Any]:
    head = {"apiVersion": "hdr-responder/v1", "kind": "Playbook", "metadata": {"name": name, "summary": "S."}}
    starts = {} if {"match", "schedule", "called"} & parts.keys() else {"manual": True}
    parts.pop("called", None)
    return {**head, **starts, **parts}


def needs(folder: Path, *playbooks: dict[str, Any], clusters: tuple[str, ...] = (EU,)) -> Needs:
    config = folder / "config"
    config.mkdir()
    (folder / "playbooks").mkdir()
    common = {"title": "T", "tier": "core", "owner": "sre"}
    head = {"apiVersion": "hdr-responder/v1", "kind": "ServiceCatalogue", "identified_by": ["service", "app"]}
    (config / "services.yaml").write_text(json.dumps(head | {"services": [common | s for s in SERVICES]}))
    for name in ("triage.yaml", "escalation.yaml"):
        text = (Path(__file__).parents[2] / "documents/good" / name).read_text("utf-8")
        (config / name).write_text(text)
    for document in playbooks:
        (folder / "playbooks" / f"{document['metadata']['name']}.yaml").write_text(json.dumps(document))
    return needed_rights(load(config, folder / "playbooks", known()), known(), clusters)


def told(found: Needs, system: str = "kubernetes") -> set[str]:
    return {str(right).partition(":")[2] for right in found.of(system)}


def test_every_workload_of_the_catalogue_in_every_cluster(tmp_path: Path) -> None:
    document = playbook(params={"workload": "${service.workload}"}, steps=[STATUS])
    assert told(needs(tmp_path, document, clusters=(EU, US))) == {
        "prod-eu get apps/deployments in hdr",
        "prod-eu get apps/statefulsets in data",
        "prod-us get apps/deployments in hdr",
        "prod-us get apps/statefulsets in data",
    }


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (['service = "neural"'], {"hdr"}),
        (['service = "neural-hdr"'], {"hdr"}),
        (['service =~ "neural|store"'], {"hdr", "data"}),
        (['service != "neural"'], {"hdr", "data"}),
        (['alertname = "A"'], {"hdr", "data"}),
        (['app = "neural"'], {"hdr", "data"}),
        ([['service = "store"'], ['service = "edge"']], {"data"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_only_services_that_the_matchers_let_in(tmp_path: Path, match: Any, expected: set[str]) -> None:
    """A matcher on another label does not tell the service; one that lets in what nobody knows lets in all."""
    document = playbook(match=match, priorities=["P1"], params={"workload": "${service.workload}"}, steps=[STATUS])
    assert {right.namespace for right in needs(tmp_path, document).of("kubernetes")} == expected


def test_checks_reactions_and_probes_count(tmp_path: Path) -> None:
    params = {"workload": "${service.workload}", "server": "main"}
    verify = {"all": [{"kubernetes.isolated": {"workload": "${params.workload}"}}]}
    found = needs(
        tmp_path,
        playbook(
            params=params,
            steps=[STATUS],
            verify=verify,
            on_failure=[{"action": "postgres.blocking_chain", "with": {"target": "${params.server}"}}],
        ),
    )
    assert "prod-eu list networking.k8s.io/networkpolicies in hdr" in told(found)
    assert told(found, "postgres") == {"main pg_read_all_stats"}
    by = {who for users in found.rights.values() for who in users}
    assert by == {
        "one: status (kubernetes.rollout_status)",
        "one: verify (kubernetes.isolated)",
        "one: on_failure (postgres.blocking_chain)",
    }


def test_called_playbooks_count_with_what_the_call_gives(tmp_path: Path) -> None:
    called = playbook("called", called=True, params={"workload": {"type": "workload"}}, steps=[STATUS])
    step = {"id": "each", "for_each": ["hdr/daemonset/a", "data/deployment/b"], "call": "called"}
    caller = playbook("caller", steps=[{**step, "with": {"workload": "${item}"}}])
    found = needs(tmp_path, called, caller)
    assert told(found) == {"prod-eu get apps/daemonsets in hdr", "prod-eu get apps/deployments in data"}
    assert {who for users in found.rights.values() for who in users} == {
        "caller > called: status (kubernetes.rollout_status)"
    }


@pytest.mark.parametrize(
    "params",
    [
        {"server": "${alert.labels['database']}"},
        {"server": {"type": "string"}},
        {"server": "x-${incident.problem}"},
    ],
    ids=["label", "person", "text"],
)
def test_a_target_that_only_a_run_knows_may_be_any_listed_one(tmp_path: Path, params: dict[str, Any]) -> None:
    found = needs(tmp_path, playbook(match=['alertname = "A"'], priorities=["P1"], params=params, steps=[BLOCKERS]))
    assert told(found, "postgres") == {"main pg_read_all_stats", "other pg_read_all_stats"}
    assert found.untold == ()


def test_a_workload_that_only_a_run_knows_may_be_any_of_the_catalogue(tmp_path: Path) -> None:
    document = playbook(params={"workload": {"type": "workload"}}, steps=[STATUS])
    assert told(needs(tmp_path, document)) == {
        "prod-eu get apps/deployments in hdr",
        "prod-eu get apps/statefulsets in data",
    }


def test_of_a_workload_that_is_partly_known_the_rest_may_be_any(tmp_path: Path) -> None:
    given = {"cluster": "${incident.cluster}", "namespace": "${alert.labels['namespace']}", "name": "x"}
    step = {**STATUS, "with": {"workload": {**given, "kind": "daemonset"}}}
    found = needs(tmp_path, playbook(match=['alertname = "A"'], priorities=["P1"], steps=[step]))
    assert told(found) == {f"prod-eu get apps/daemonsets in {name}" for name in ("hdr", "data", "edge")}


def pick(**given: str) -> dict[str, Any]:
    where = {"namespace": "hdr", "cluster": "${incident.cluster}", "resource": "pods"}
    step = {"id": "pick", "action": "kubernetes.pick", "with": where | given}
    return playbook(match=['alertname = "A"'], priorities=["P1"], steps=[LOOK, step])


LOOK = {"id": "look", "action": "postgres.blocking_chain", "with": {"target": "main"}}


def test_literal_parameters_decide(tmp_path: Path) -> None:
    assert told(needs(tmp_path, pick(verb="list"))) == {"prod-eu list pods in hdr"}


@pytest.mark.parametrize("verb", ["${steps.look.summary}", "${alert.labels['verb']}"])
def test_a_default_does_not_stand_for_what_a_run_gives(tmp_path: Path, verb: str) -> None:
    found = needs(tmp_path, pick(verb=verb))
    assert told(found) == set()
    assert found.untold == ("one: pick (kubernetes.pick): its rights depend on 'verb', which only a run knows",)


def test_a_check_that_does_not_say_which_rights_it_needs_is_none() -> None:
    class Silent(AlertCheck):
        permissions = Check.permissions

    with pytest.raises(TypeError, match="permissions"):
        Silent()  # type: ignore[abstract]


def test_nothing_is_granted_where_nothing_may_be_touched(tmp_path: Path) -> None:
    found = needs(tmp_path, pick(namespace="${'kube-' + 'system'}"))
    assert told(found) == set()
    (outside,) = found.out_of_reach
    assert outside == "one: pick (kubernetes.pick): kubernetes:prod-eu get pods in kube-system"


def test_what_cannot_be_planned_needs_nothing(tmp_path: Path) -> None:
    """Service ``edge`` has no workload, so its incidents cannot be planned for, whatever else the playbook does."""
    where = {"namespace": "edge", "cluster": EU, "resource": "pods"}
    steps = [STATUS, {"id": "pick", "action": "kubernetes.pick", "with": where}]
    match = ['service = "edge"']
    document = playbook(match=match, priorities=["P1"], params={"workload": "${service.workload}"}, steps=steps)
    assert told(needs(tmp_path, document)) == set()


def test_the_order_is_always_the_same(tmp_path: Path) -> None:
    one = playbook("a", params={"workload": "${service.workload}"}, steps=[LOGS, STATUS])
    two = playbook("b", params={"server": "main"}, steps=[BLOCKERS])
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    first = needs(tmp_path / "x", one, two)
    second = needs(tmp_path / "y", two, one)
    assert list(first.rights) == list(second.rights) == sorted(first.rights, key=str)


def test_workloads_are_those_of_the_incident_s_cluster(tmp_path: Path) -> None:
    literal = Workload(cluster=US, namespace="hdr", kind="deployment", name="x").model_dump()
    found = needs(tmp_path, playbook(steps=[{**STATUS, "with": {"workload": literal}}]))
    assert found.scopes("kubernetes") == (US,)
