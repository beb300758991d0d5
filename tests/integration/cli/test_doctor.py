"""The doctor on real services: what works, what does not and whose fault it is, and test messages through a service."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.slack import FakeSlack
from tests.integration.cli.conftest import Desk
from tests.integration.cli.printed import ACCOUNT, apply, catalogue_in, token_of
from tests.services.kubernetes import ControlPlane
from tests.services.ports import free_port
from tests.services.postgres import PostgresServer
from tests.services.waiting import eventually
from tests.unit.cli.command_line import ROOT, environment, run_process

pytestmark = pytest.mark.service

TOKENS = {"HDR_ALERTMANAGER__TOKENS": '["a-token"]'}
AWAY = "http://127.0.0.1:1"
ALERTMANAGER = "{route: {receiver: nobody}, receivers: [{name: nobody}]}"


def found(out: str) -> dict[str, dict[str, Any]]:
    return {finding["what"]: finding for finding in json.loads(out)["findings"]}


def only_postgres(folder: Path) -> dict[str, str]:
    """Settings without clusters: a configuration folder with one target database."""
    folder.mkdir()
    for document in ("services.yaml", "triage.yaml", "escalation.yaml"):
        (folder / document).write_text((ROOT / "config" / document).read_text())
    (folder / "responder.yaml").write_text("targets: {postgres: {hdr_empire: {}}, redis: {cache: {}}}\n")
    return {"HDR_CONFIG__DIR": str(folder), **TOKENS}


async def test_all_is_well(
    desk: Desk, tmp_path: Path, redis_url: str, alertmanager_factory: Any, prometheus_factory: Any
) -> None:
    settings = only_postgres(tmp_path / "conf") | {
        "HDR_TARGETS__POSTGRES__HDR_EMPIRE__URL": desk.url,
        "HDR_REDIS__URL": redis_url,
        "HDR_ALERTMANAGER__URL": alertmanager_factory(ALERTMANAGER).url,
        "HDR_PROMETHEUS__URL": prometheus_factory("global: {}\n").url,
    }
    ended = desk.run("doctor", "--json", **settings)
    answers = found(ended.out)
    assert ended.code == 0, ended
    assert {what for what, f in answers.items() if f["status"] == "ok"} == {
        *("database", "redis", "alertmanager", "prometheus", "postgres hdr_empire", "lane console")
    }
    assert "pg_read_all_stats, pg_signal_backend" in answers["postgres hdr_empire"]["detail"]
    assert answers["lane slack"]["status"] == "not configured"
    plain = desk.run("doctor", **settings)
    assert len(plain.out.splitlines()) == len(answers)
    assert "\x1b" not in plain.out


async def test_what_cannot_be_reached_exits_with_3_and_shows_no_secret(desk: Desk, tmp_path: Path) -> None:
    settings = only_postgres(tmp_path / "conf") | {
        "HDR_TARGETS__POSTGRES__HDR_EMPIRE__URL": "postgresql://me:s3cr3t-one@127.0.0.1:1/x",
        "HDR_REDIS__URL": "redis://:s3cr3t-two@127.0.0.1:1/0",
        "HDR_ALERTMANAGER__URL": AWAY,
        "HDR_PROMETHEUS__URL": AWAY,
    }
    ended = desk.run("doctor", "--json", **settings)
    failed = {what for what, f in found(ended.out).items() if f["status"] == "failed" and f["unreachable"]}
    assert ended.code == 3
    assert failed == {"redis", "alertmanager", "prometheus", "postgres hdr_empire", "postgres hdr_empire excess"}
    assert "check HDR_REDIS__URL" in ended.out
    assert "s3cr3t" not in ended.out + ended.err


async def test_missing_roles_and_tokens_are_misconfigurations(
    desk: Desk, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    postgres_server.execute("create role doctor_unprivileged login")
    try:
        url = desk.url.replace("postgres@", "doctor_unprivileged@")
        settings = only_postgres(tmp_path / "conf") | {"HDR_TARGETS__POSTGRES__HDR_EMPIRE__URL": url}
        ended = desk.run("doctor", "--json", **(settings | {"HDR_ALERTMANAGER__TOKENS": ""}))
    finally:
        postgres_server.execute("drop role doctor_unprivileged")
    answers = found(ended.out)
    assert ended.code == 1
    assert (
        "rights that our role lacks: pg_read_all_stats, pg_signal_backend" in answers["postgres hdr_empire"]["detail"]
    )
    assert "HDR_ALERTMANAGER__TOKENS" in answers["serving"]["detail"]


async def test_a_database_without_our_schema(tmp_path: Path, database_url: str) -> None:
    settings = only_postgres(tmp_path / "conf") | {"HDR_DATABASE__URL": database_url}
    ended = run_process(tmp_path, "doctor", "--json", variables=settings)
    assert ended.code == 1
    assert "run hdr-responder migrate" in found(ended.out)["database"]["detail"]
    assert run_process(tmp_path, "migrate", variables=settings).out.startswith("The schema is at revision ")
    assert run_process(tmp_path, "doctor", variables=settings).code == 0


async def test_wrong_documents_are_told(desk: Desk, tmp_path: Path) -> None:
    settings = only_postgres(tmp_path / "conf")
    (tmp_path / "conf" / "triage.yaml").write_text("kind: Triage\n")
    ended = desk.run("doctor", "--json", **settings)
    assert ended.code == 1
    assert "hdr-responder check" in found(ended.out)["documents"]["detail"]


async def test_rights_on_clusters(desk: Desk, control_plane: ControlPlane) -> None:
    admin = desk.run("doctor", "--json", HDR_KUBERNETES__KUBECONFIG=str(control_plane.admin_kubeconfig), **TOKENS)
    answer = found(admin.out)["cluster prod-eu"]
    assert (admin.code, answer["status"]) == (0, "ok"), answer
    assert " rights that the playbooks need" in answer["detail"]
    none = control_plane.kubeconfig("nobody", "no-such-token")
    refused = desk.run("doctor", "--json", HDR_KUBERNETES__KUBECONFIG=str(none), **TOKENS)
    assert (refused.code, found(refused.out)["cluster prod-eu"]["unreachable"]) == (1, False)
    assert found(admin.out)["cluster prod-eu excess"]["status"] == "warning"
    assert "* */* in hdr-empire" in found(admin.out)["cluster prod-eu excess"]["detail"]
    strict = desk.run("doctor", "--strict", HDR_KUBERNETES__KUBECONFIG=str(control_plane.admin_kubeconfig), **TOKENS)
    assert strict.code == 1, strict
    lacking = desk.run(
        "doctor", "--json", HDR_KUBERNETES__KUBECONFIG=str(control_plane.kubeconfig("scheduler")), **TOKENS
    )
    assert lacking.code == 1
    assert "create networking.k8s.io/networkpolicies" in found(lacking.out)["cluster prod-eu"]["detail"]


async def test_the_printed_role_is_enough_and_no_more(
    desk: Desk, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    config = catalogue_in(tmp_path, namespace)
    account = ("--account", f"{namespace}/{ACCOUNT}")
    apply(control_plane.api, desk.told("rbac", "--config", str(config), "--kind", "kubernetes", *account))
    kubeconfig = control_plane.kubeconfig(f"printed-{namespace}", token_of(control_plane.api, namespace))
    settings = {"HDR_CONFIG__DIR": str(config), "HDR_KUBERNETES__KUBECONFIG": str(kubeconfig), **TOKENS}

    async def cluster(said: str) -> bool:
        answers = found((await asyncio.to_thread(desk.run, "doctor", "--json", **settings)).out)
        return said in answers["cluster prod-eu"]["detail"] + answers["cluster prod-eu excess"]["detail"]

    await eventually(lambda: cluster("rights that the playbooks needwe may do nothing that no playbook needs"))
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "delete"]},
    ]
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    control_plane.api.grant(namespace, "more", rules, subject)
    too_much = f"take it away: get, list secrets in {namespace}; delete apps/deployments in {namespace}"
    await eventually(lambda: cluster(too_much))
    elsewhere = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system"
    name = f"more-{namespace}"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    control_plane.api.request("POST", f"{elsewhere}/roles", {"metadata": {"name": name}, "rules": rules})
    binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
    control_plane.api.request("POST", f"{elsewhere}/rolebindings", binding)
    try:
        await eventually(lambda: cluster("secrets in kube-system, which no service lists"))
    finally:
        for kind in ("rolebindings", "roles"):
            control_plane.api.request("DELETE", f"{elsewhere}/{kind}/{name}")


async def test_a_database_that_no_service_lists_is_not_asked(desk: Desk, tmp_path: Path) -> None:
    settings = only_postgres(tmp_path / "conf")
    (tmp_path / "conf" / "responder.yaml").write_text(
        "targets: {postgres: {hdr_empire: {}, payroll: {}}, redis: {cache: {}}}\n"
    )
    ended = desk.run("doctor", "--json", **settings, HDR_TARGETS__POSTGRES__PAYROLL__URL="postgresql://127.0.0.1:1/x")
    answer = found(ended.out)["postgres payroll"]
    assert answer["status"] == "not configured"
    assert "no service of config/services.yaml lists it" in answer["detail"]


@pytest.fixture
def service(desk: Desk) -> Iterator[subprocess.Popen[str]]:
    """The service as a process on the desk's database; it has printed that it serves."""
    settings = {
        **TOKENS,
        "HDR_DATABASE__URL": desk.url,
        "HDR_DATABASE__DATA_DIR": str(desk.home),
        "HDR_HTTP__PORT": str(free_port()),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "hdr_responder", "serve"],
        cwd=ROOT,
        env=environment(desk.home, settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    serving = threading.Event()

    def read() -> None:
        for line in process.stderr or ():
            lines.append(line)
            if '"serving"' in line:
                serving.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert serving.wait(60), lines
        yield process
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


async def test_test_messages_go_through_the_running_service(desk: Desk, service: subprocess.Popen[str]) -> None:
    ended = desk.run("doctor", "--send-test", "--json", **TOKENS)
    assert found(ended.out)["test console"]["detail"] == "the message was delivered"
    service.send_signal(signal.SIGTERM)
    out, _ = service.communicate(timeout=60)
    assert service.returncode == 0
    assert "Test message of hdr-responder" in out


async def test_a_test_message_that_nobody_delivers_is_told(desk: Desk) -> None:
    ended = desk.run("doctor", "--send-test", "--wait", "1s", "--json", **TOKENS)
    assert ended.code == 3
    assert "is the service running?" in found(ended.out)["test console"]["detail"]


async def test_lanes_are_proved_without_posting(desk: Desk, fake_slack: FakeSlack) -> None:
    settings = TOKENS | {
        "HDR_SLACK__API_URL": fake_slack.url,
        "HDR_SLACK__BOT_TOKEN": fake_slack.bot_token,
        "HDR_SLACK__CHANNEL": fake_slack.channel.id,
        "HDR_PAGERDUTY__ROUTING_KEY": "not-a-routing-key",
    }
    ended = await asyncio.to_thread(desk.run, "doctor", "--json", **settings)
    answers = found(ended.out)
    assert answers["lane slack"]["status"] == "ok"
    assert answers["slack scopes"]["status"] == "ok"
    assert answers["slack scopes excess"]["status"] == "warning"
    assert "channels:join; files:write; reactions:write" in answers["slack scopes excess"]["detail"]
    assert answers["lane pagerduty"]["status"] == "failed"
    assert fake_slack.messages() == []
    revoked = await asyncio.to_thread(
        desk.run, "doctor", "--json", **(settings | {"HDR_SLACK__BOT_TOKEN": "xoxb-gone"})
    )
    assert found(revoked.out)["lane slack"]["unreachable"] is False
