"""``rbac`` prints what to grant: a part or all of it, always alike, and never quietly less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hdr_responder.actions.contract import Permission
from hdr_responder.cli.grants import Account, cluster_yaml, postgres_sql, redis_acl
from tests.unit.cli.command_line import ROOT
from tests.unit.cli.conftest import Run


def right(system: str, verb: str, resource: str = "", namespace: str = "", scope: str = "x") -> Permission:
    return Permission(system=system, scope=scope, verb=verb, resource=resource, namespace=namespace)  # type: ignore[arg-type]


def test_the_committed_role_is_what_it_prints(run: Run) -> None:
    ended = run("rbac", "--kind", "kubernetes", "--cluster", "prod-eu")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (ROOT / "deploy/kubernetes/rbac.yaml").read_text("utf-8")
    assert ended.out == run("rbac", "--cluster", "prod-eu").out, "with a cluster it is about clusters"


def test_all_systems_are_printed_one_after_the_other(run: Run) -> None:
    out = run("rbac").out
    assert out.startswith(run("rbac", "--kind", "kubernetes").out)
    assert out.endswith(run("rbac", "--kind", "postgres").out)
    assert "grant pg_read_all_stats, pg_signal_backend to hdr_responder_target;" in out


def test_who_holds_the_rights_can_be_named(run: Run) -> None:
    documents = list(YAML(typ="safe").load_all(run("rbac", "--kind", "kubernetes", "--account", "ops/responder").out))
    assert {d["metadata"]["name"] for d in documents} == {"ops", "responder"}
    assert "to watcher;" in run("rbac", "--kind", "postgres", "--role", "watcher").out


@pytest.mark.parametrize(
    "arguments",
    [("--account", "a b"), ("--account", "one"), ("--role", "x; drop role y"), ("--role", "X"), ("--kind", "nfs")],
)
def test_names_that_are_none_are_mistakes_in_the_command_line(run: Run, arguments: tuple[str, str]) -> None:
    assert run("rbac", *arguments).code == 2


def test_an_unknown_cluster_names_the_known_ones(run: Run) -> None:
    ended = run("rbac", "--cluster", "prod-us")
    assert ended.code == 1
    assert "configured: prod-eu" in ended.err


def test_json_says_who_needs_what(run: Run) -> None:
    answer = json.loads(run("rbac", "--kind", "postgres", "--json").out)
    assert (answer["complete"], answer["untold"], answer["out_of_reach"]) == (True, [], [])
    signal = next(r for r in answer["rights"] if r["verb"] == "pg_signal_backend")
    assert signal["scope"] == "hdr_empire"
    assert signal["needed_by"] == ["terminate-blocking-query: terminate (postgres.terminate_blocker)"]


def test_rules_are_grouped_by_resource_and_in_order() -> None:
    rights = [
        right("kubernetes", "patch", "apps/deployments", "shop"),
        right("kubernetes", "get", "apps/deployments", "shop"),
        right("kubernetes", "get", "pods/log", "shop"),
        right("kubernetes", "create", "batch/jobs", "edge"),
        right("kubernetes", "create", "pods/exec", "shop"),
    ]
    account = Account(namespace="ops", name="responder")
    printed = cluster_yaml("x", rights, account)
    assert printed == cluster_yaml("x", rights[::-1], account)
    roles = {d["metadata"]["namespace"]: d["rules"] for d in YAML(typ="safe").load_all(printed) if d["kind"] == "Role"}
    assert roles == {
        "edge": [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}],
        "shop": [
            {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
        ],
    }


def test_privileges_of_databases() -> None:
    rights = [
        right("postgres", "pg_monitor"),
        right("postgres", "execute", "pg_catalog.pg_reload_conf()"),
        right("postgres", "select", "pg_stat_statements"),
        right("postgres", "alter system", "work_mem"),
        right("postgres", "owner", "public.orders"),
        right("postgres", "maintain", "public.orders"),
    ]
    as_owner = (
        "execute format('grant %I to ours', (select pg_get_userbyid(relowner) from pg_class"
        " where oid = 'public.orders'::regclass));"
    )
    lines = [line for line in postgres_sql("main", rights, "ours").splitlines() if not line.startswith("--")]
    assert lines == [
        "grant pg_monitor to ours;",
        "grant execute on function pg_catalog.pg_reload_conf() to ours;",
        "grant select on table pg_stat_statements to ours;",
        "grant alter system on parameter work_mem to ours;",
        f"do $do$ begin {as_owner} end $do$;",
        "do $do$ begin if current_setting('server_version_num')::int >= 170000 then"
        f" execute 'grant maintain on table public.orders to ours'; else {as_owner} end if; end $do$;",
    ]


def test_commands_and_keys_of_redis() -> None:
    asked = (("unlink", "stale:*"), ("del", "~old:*"), ("scan", ""), ("config|set", ""))
    rights = [right("redis", verb, keys) for verb, keys in asked]
    (line,) = [line for line in redis_acl("cache", rights, "ours").splitlines() if not line.startswith("#")]
    assert line == "ACL SETUSER ours resetkeys resetchannels ~old:* ~stale:* -@all +config|set +del +scan +unlink"


def test_what_cannot_be_told_is_said_and_fails(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never quietly less: the rest is printed, and the exit code says that it is not all."""
    from hdr_responder.actions.kubernetes.replicas import Available

    monkeypatch.setattr(Available, "permissions", lambda _, params: params.mood)
    ended = run("rbac", "--kind", "kubernetes")
    assert ended.code == 1
    assert "NOT COMPLETE: service neural-hdr: health (kubernetes.available): its rights depend on 'mood'" in ended.err
    assert "kind: Role" in ended.out
    assert json.loads(run("rbac", "--json").out)["complete"] is False
