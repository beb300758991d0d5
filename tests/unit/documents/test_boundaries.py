"""What documents literally name must be listed in the catalogue; settings must know what the catalogue lists."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hdr_responder.actions.registry import registry
from hdr_responder.documents.boundaries import TargetNames
from hdr_responder.documents.catalogue import load
from hdr_responder.documents.problems import DocumentError
from hdr_responder.domain.reach import Place, Reach

CONFIG = Path(__file__).parents[3] / "config"
PING = {"id": "ping", "action": "postgres.ping", "with": {"target": "hdr_empire"}}
LOGS = {"id": "logs", "action": "kubernetes.logs", "with": {"workload": "${params.workload}"}}
ELSEWHERE = {"cluster": "prod-eu", "namespace": "kube-system", "kind": "deployment", "name": "coredns"}


def playbook(name: str = "one", **parts: Any) -> dict[str, Any]:
    head = {"apiVersion": "hdr-responder/v1", "kind": "Playbook", "metadata": {"name": name, "summary": "S."}}
    return {**head, "manual": True, **parts}


def problems(folder: Path, *playbooks: dict[str, Any], targets: TargetNames | None = None) -> list[str]:
    (folder / "playbooks").mkdir()
    for document in playbooks:
        path = folder / "playbooks" / f"{document['metadata']['name']}.yaml"
        path.write_text(json.dumps(document, indent=1), "utf-8")
    try:
        load(CONFIG, folder / "playbooks", registry(), targets)
    except DocumentError as error:
        return [str(problem).removeprefix(str(folder / "playbooks")) for problem in error.problems]
    return []


def line_of(document: dict[str, Any], text: str) -> int:
    (number,) = [i for i, line in enumerate(json.dumps(document, indent=1).splitlines(), 1) if text in line]
    return number


@pytest.mark.parametrize(
    ("document", "where", "what"),
    [
        (playbook(steps=[{**PING, "with": {"target": "payroll"}}]), '"payroll"', "no service lists this database"),
        (
            playbook(
                params={"server": {"type": "string", "default": "payroll"}},
                steps=[{**PING, "with": {"target": "${params.server}"}}],
            ),
            '"payroll"',
            "no service lists this database",
        ),
        (
            playbook(params={"server": "payroll"}, steps=[{**PING, "with": {"target": "${params.server}"}}]),
            '"payroll"',
            "",
        ),
        (
            playbook(
                params={"workload": {"type": "workload", "default": "kube-system/deployment/coredns"}}, steps=[LOGS]
            ),
            '"kube-system/deployment/coredns"',
            "no service lists this namespace, so it may not be touched (got 'kube-system'; expected one that"
            " config/services.yaml lists: hdr-empire, ingress-nginx, monitoring)",
        ),
        (playbook(steps=[{**LOGS, "with": {"workload": ELSEWHERE}}]), '"workload": {', "this namespace"),
        (
            playbook(steps=[PING], verify={"all": [{"postgres.reachable": {"target": "payroll"}}]}),
            '"target": "payroll"',
            "this database",
        ),
        (
            playbook(steps=[{"id": "both", "parallel": [PING, {**PING, "id": "b", "with": {"target": "payroll"}}]}]),
            '"payroll"',
            "this database",
        ),
    ],
    ids=["step", "declared param", "plain param", "workload param", "workload", "check", "parallel"],
)
def test_what_is_written_and_not_listed_is_told_at_its_place(
    tmp_path: Path, document: dict[str, Any], where: str, what: str
) -> None:
    (told,) = problems(tmp_path, document)
    assert told.startswith(f"/one.yaml:{line_of(document, where)}:"), told
    assert what in told


@pytest.mark.parametrize("given", ["payroll", "kube-system/deployment/coredns"])
def test_what_a_call_gives_is_told_at_the_call(tmp_path: Path, given: str) -> None:
    params = {"server": {"type": "string"}, "workload": {"type": "workload"}}
    called = playbook("called", params=params, steps=[{**PING, "with": {"target": "${params.server}"}}, LOGS])
    right = {"server": "hdr_empire", "workload": "deployment/neural-hdr"}
    wrong = right | {("workload" if "/" in given else "server"): given}
    caller = playbook("caller", steps=[{"id": "go", "call": "called", "with": wrong}])
    (told,) = problems(tmp_path, caller, called)
    assert told.startswith(f"/caller.yaml:{line_of(caller, given)}:"), told


def test_what_is_listed_is_fine(tmp_path: Path) -> None:
    params = {"workload": {"type": "workload", "default": "monitoring/deployment/grafana"}}
    assert problems(tmp_path, playbook(params=params, steps=[PING, LOGS])) == []


def test_a_database_that_the_settings_do_not_know(tmp_path: Path) -> None:
    """Only where the settings are at hand; what they know and no service lists is no mistake."""
    known = TargetNames(databases=frozenset({"hdr_empire", "more"}), caches=frozenset({"cache", "hdr_cache"}))
    assert problems(tmp_path, targets=known) == []
    shutil.rmtree(tmp_path / "playbooks")
    (told, *_) = problems(
        tmp_path, targets=TargetNames(databases=frozenset({"hdr_umpire"}), caches=frozenset({"cache"}))
    )
    assert "services.yaml:" in told
    assert "unknown targets.postgres entry (got 'hdr_empire'; did you mean 'hdr_umpire'?)" in told


def test_without_a_list_nothing_may_be_touched() -> None:
    places = [Place(kind="namespace", name="a"), Place(kind="database", name="b"), Place(kind="cache", name="c")]
    assert Reach().protected([*places, *places]) == tuple(places)
    assert [str(place) for place in places] == ["namespace a", "database b", "Redis server c"]
    named = Reach(namespaces=frozenset({"a"}), databases=frozenset({"b"}), caches=frozenset({"c"}))
    assert named.protected(places) == ()
    assert named.protected([Place(kind="namespace", name="")]), "a whole cluster is never listed"
