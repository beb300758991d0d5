"""What `deploy/` and the pages ship is taken by the programs it is for."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hdr_responder.actions.contract import Permission
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.adapters.postgres_target import PostgresTarget
from hdr_responder.adapters.store.migrate import migrate
from hdr_responder.domain.ports.postgres import READ_ROLE, SIGNAL_ROLE, Need, Safety
from tests.integration.kubernetes.steps import responder
from tests.services.kubernetes import RESPONDER, ControlPlane
from tests.services.postgres import PostgresServer, run_postgres
from tests.services.tools import require_built, require_program
from tests.unit.docs.markdown import FILES, ROOT, Block, blocks

DEPLOY = ROOT / "deploy"
SNIPPETS = [b for f in FILES for b in blocks(f) if b.language == "yaml" and "receivers:" in b.body]


def run(*argv: object) -> str:
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.service
def test_alertmanager_takes_the_configuration() -> None:
    assert "SUCCESS" in run(require_built("alertmanager", "amtool"), "check-config", DEPLOY / "alertmanager.yaml")


@pytest.mark.service
@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_alertmanager_takes_the_examples(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(block.body, encoding="utf-8")
    assert "SUCCESS" in run(require_built("alertmanager", "amtool"), "check-config", path)


@pytest.mark.service
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (["alertname=HdrServiceDown", "severity=critical", "service=neural-hdr"], "hdr-responder,team-ops"),
        (["alertname=HdrHighErrorRate", "severity=warning"], "hdr-responder,team-ops-warning"),
        (["alertname=Watchdog", "severity=none"], "outside-monitor,hdr-responder"),
        (["alertname=HdrResponderDown", "severity=critical", "service=hdr-responder"], "team-ops-critical"),
    ],
    ids=["critical", "warning", "watchdog", "itself"],
)
def test_alerts_go_where_they_should(labels: list[str], receivers: str) -> None:
    amtool = require_built("alertmanager", "amtool")
    found = run(amtool, "config", "routes", "test", f"--config.file={DEPLOY / 'alertmanager.yaml'}", *labels)
    assert found.strip() == receivers


@pytest.mark.service
def test_prometheus_takes_the_rules_and_they_fire_as_they_should() -> None:
    promtool, folder = require_program("promtool"), DEPLOY / "prometheus"
    assert "SUCCESS" in run(promtool, "check", "rules", folder / "hdr-responder.rules.yaml")
    assert "SUCCESS" in run(promtool, "check", "config", "--syntax-only", folder / "scrape.yaml")
    assert "SUCCESS" in run(promtool, "test", "rules", folder / "hdr-responder.rules.test.yaml")


@pytest.fixture(scope="module")
def granted_server() -> Any:
    """A server of its own, since roles are the whole server's."""
    with run_postgres(max_connections=20) as server:
        for name in ("store.sql", "role.sql"):
            server.run_script((DEPLOY / "postgres" / name).read_text("utf-8"))
        yield server


def as_user(server: PostgresServer, user: str, database: str) -> str:
    return server.dsn(database).replace("//postgres@", f"//{user}@")


@pytest.mark.service
async def test_the_store_s_role_can_bring_the_schema(granted_server: PostgresServer) -> None:
    url = as_user(granted_server, "hdr_responder", "hdr_responder")
    assert "hdr_responder@" in url
    await migrate(url)
    owner = granted_server.execute(
        "select tableowner from pg_tables where tablename = 'incidents'", database="hdr_responder"
    )
    assert owner.strip() == "hdr_responder"


@pytest.mark.service
async def test_the_target_s_role_can_look_and_signal_and_nothing_else(granted_server: PostgresServer) -> None:
    granted_server.execute("create table secrets (x text)")
    target = PostgresTarget("t", as_user(granted_server, "hdr_responder_target", "postgres"))
    assert await target.missing([Need(READ_ROLE), Need(SIGNAL_ROLE)]) == ()
    safety = Safety(blocking_for=timedelta(seconds=5), protected_applications=(), protected_roles=())
    assert (await target.blocking(safety)).roots == ()
    assert await target.judge([], safety) == ()
    asked = "select has_table_privilege('hdr_responder_target', 'secrets', 'select')"
    assert granted_server.execute(asked).strip() == "f"
    assert granted_server.execute("select rolsuper from pg_roles where rolname = 'hdr_responder_target'").strip() == "f"


@pytest.mark.service
async def test_kubernetes_takes_the_role_and_grants_its_rights_and_no_others(
    control_plane: ControlPlane, namespace: str
) -> None:
    documents = list(YAML(typ="safe").load_all((DEPLOY / "kubernetes/rbac.yaml").read_text("utf-8")))
    role = next(d for d in documents if d["kind"] == "Role" and d["metadata"]["namespace"] == "hdr-empire")
    control_plane.api.grant(namespace, "hdr-responder", role["rules"], {"kind": "User", "name": RESPONDER})
    adapter = responder(control_plane)
    try:
        for rule in role["rules"]:
            for resource in rule["resources"]:
                await ask(adapter, namespace, f"{rule['apiGroups'][0]}/{resource}".lstrip("/"), rule["verbs"])
        assert not await may(adapter, namespace, "delete", "pods")
        assert not await may(adapter, namespace, "get", "secrets")
        assert not await may(adapter, "default", "get", "apps/deployments")
    finally:
        await adapter.close()


async def ask(adapter: KubernetesAdapter, namespace: str, resource: str, verbs: list[str]) -> None:
    every = ["get", "list", "create", "patch", "delete", "update", "deletecollection"]
    answers = {verb: await may(adapter, namespace, verb, resource) for verb in every}
    assert {verb for verb, allowed in answers.items() if allowed} == set(verbs), resource


async def may(adapter: KubernetesAdapter, namespace: str, verb: str, resource: str) -> bool:
    right = Permission(system="kubernetes", scope="test", verb=verb, resource=resource, namespace=namespace)
    return await adapter.may(right)
