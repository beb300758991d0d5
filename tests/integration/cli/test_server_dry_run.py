"""`plan --server-dry-run`: a real API server says what it would take, and is left as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.services.kubernetes import ControlPlane
from tests.unit.cli.command_line import ROOT, Ended, run_process

pytestmark = pytest.mark.service

NAME = "neural-hdr"
DOWN = ROOT / "tests" / "deliveries" / "01-service-down-firing.json"


@pytest.fixture
def config(namespace: str, tmp_path: Path) -> Path:
    """The shipped documents for the test's own namespace."""
    folder = tmp_path / "config"
    folder.mkdir()
    for path in (ROOT / "config").glob("*.yaml"):
        text = path.read_text("utf-8").replace("namespace: hdr-empire", f"namespace: {namespace}")
        (folder / path.name).write_text(text, "utf-8")
    return folder


def planned(config: Path, kubeconfig: Path, *more: str) -> Ended:
    arguments = ("plan", "restart-service", "--alert", str(DOWN), "--config", str(config), "--server-dry-run", *more)
    variables = {"HDR_KUBERNETES__KUBECONFIG": str(kubeconfig)}
    return run_process(config.parent, *arguments, variables=variables)


def dry_run(ended: Ended) -> dict[str, Any]:
    (found,) = json.loads(ended.out)["dry_run"]
    assert found["step"] == "restart"
    return dict(found)


def test_a_change_that_the_server_takes(control_plane: ControlPlane, namespace: str, config: Path) -> None:
    control_plane.api.create_deployment(namespace, NAME, replicas=1)
    before = control_plane.api.deployment(namespace, NAME)["metadata"]["generation"]
    ended = planned(config, control_plane.admin_kubeconfig, "--json")
    assert ended.code == 0, ended
    assert dry_run(ended)["ok"] is True
    after = control_plane.api.deployment(namespace, NAME)["metadata"]["generation"]
    assert before == after, "nothing was changed"
    text = planned(config, control_plane.admin_kubeconfig).out
    assert "Dry run    ok       restart: the target would take it" in text


def test_a_target_that_is_not_there(control_plane: ControlPlane, config: Path) -> None:
    ended = planned(config, control_plane.admin_kubeconfig, "--json")
    assert ended.code == 1
    assert (dry_run(ended)["ok"], dry_run(ended)["unreachable"]) == (False, False)


def test_rights_that_are_missing(control_plane: ControlPlane, namespace: str, config: Path) -> None:
    control_plane.api.create_deployment(namespace, NAME, replicas=1)
    ended = planned(config, control_plane.kubeconfig("scheduler"), "--json")
    assert ended.code == 1
    assert "rights are missing: " in dry_run(ended)["detail"]
    assert f"patch apps/deployments in {namespace}" in dry_run(ended)["detail"]


def test_nobody_who_answers(config: Path) -> None:
    nowhere = config / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "none"}}
    document = {"apiVersion": "v1", "kind": "Config", "current-context": "x"}
    nowhere.write_text(json.dumps(document | {"clusters": [cluster], "contexts": [context], "users": [user]}))
    ended = planned(config, nowhere, "--json")
    assert ended.code == 3
    assert dry_run(ended)["unreachable"]
