"""What ``rbac`` prints, on a real API server: the shipped playbooks work with it, and not with a rule less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hdr_responder.actions.contract import Permission
from hdr_responder.cli.grants import postgres_sql, redis_acl
from hdr_responder.errors import ForbiddenError
from tests.integration.cli.printed import ACCOUNT, CLUSTER, Performance, apply, catalogue_in
from tests.integration.kubernetes.steps import create_autoscaler
from tests.services.kubernetes import ControlPlane
from tests.services.postgres import PostgresServer
from tests.unit.cli.command_line import run_process

pytestmark = pytest.mark.service


@pytest.fixture
def printed(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The configuration of one namespace, with the objects that were printed for it and applied."""
    config = catalogue_in(tmp_path, namespace)
    arguments = ("--config", str(config), "--cluster", CLUSTER, "--account", f"{namespace}/{ACCOUNT}")
    ended = run_process(tmp_path, "rbac", *arguments)
    assert (ended.code, ended.err) == (0, "")
    control_plane.api.create_deployment(namespace, "neural-hdr")
    control_plane.api.wait_available(namespace, "neural-hdr")
    return config, apply(control_plane.api, ended.out)


async def test_every_step_of_the_shipped_playbooks_works_under_the_printed_role(
    control_plane: ControlPlane, namespace: str, printed: tuple[Path, list[dict[str, Any]]]
) -> None:
    stage = Performance.of(control_plane, printed[0], namespace)
    (role,) = [document for document in printed[1] if document["kind"] == "Role"]
    try:
        await stage.wait_for(role["rules"][-1], allowed=True)
        done = {name for playbook in stage.playbooks for name in await stage.whole(playbook)}
        create_autoscaler(control_plane, namespace, high=8)
        await stage.whole(stage.documents.playbook("scale-out"))
    finally:
        await stage.cluster.close()
    declared = {step.action.name for playbook in stage.playbooks for step in playbook.actions}
    assert {name for name in declared if name.startswith("kubernetes.")} <= done
    assert {"kubernetes.rollout", "kubernetes.isolated", "kubernetes.released"} <= done


async def test_each_printed_rule_is_needed(
    control_plane: ControlPlane, namespace: str, printed: tuple[Path, list[dict[str, Any]]]
) -> None:
    """Without it some step fails, and says which right it lacks; with it again all work."""
    (role,) = [document for document in printed[1] if document["kind"] == "Role"]
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{ACCOUNT}"
    stage = Performance.of(control_plane, printed[0], namespace)
    try:
        for rule in role["rules"]:
            (resource,) = rule["resources"]
            rest = [other for other in role["rules"] if other != rule]
            control_plane.api.request("PUT", path, {**role, "rules": rest})
            await stage.wait_for(rule, allowed=False)
            await stage.wait_for(rest[-1], allowed=True)
            with pytest.raises(ForbiddenError, match=f"not allowed to .*{resource}"):
                await everything(stage)
        control_plane.api.request("PUT", path, role)
        await stage.wait_for(rule, allowed=True)
        await everything(stage)
    finally:
        await stage.cluster.close()


async def everything(stage: Performance) -> None:
    for playbook in stage.playbooks:
        await stage.whole(playbook)


def test_the_printed_statements_grant_what_they_say(postgres_server: PostgresServer) -> None:
    """On a real server, for every kind of right that an action may declare."""
    role, owner = "rbac_ours", "rbac_owner"
    rights = [
        Permission(system="postgres", scope="main", verb=verb, resource=resource)
        for verb, resource in (
            ("pg_read_all_stats", ""),
            ("pg_signal_backend", ""),
            ("execute", "pg_catalog.pg_reload_conf()"),
            ("select", "rbac.orders"),
            ("usage", "rbac"),
            ("create", "rbac"),
            ("alter system", "work_mem"),
            ("maintain", "rbac.orders"),
            ("owner", "rbac.items"),
        )
    ]
    prepared = [f"create role {name} login" for name in (role, owner)]
    prepared += ["create schema rbac", "create table rbac.orders (x int)", "create table rbac.items (x int)"]
    prepared += ["revoke execute on function pg_catalog.pg_reload_conf() from public"]
    prepared += [f"alter table rbac.items owner to {owner}"]
    held = {
        f"has_function_privilege('{role}', 'pg_catalog.pg_reload_conf()', 'execute')",
        f"has_table_privilege('{role}', 'rbac.orders', 'select')",
        f"has_table_privilege('{role}', 'rbac.orders', 'maintain')",
        f"has_schema_privilege('{role}', 'rbac', 'usage')",
        f"has_schema_privilege('{role}', 'rbac', 'create')",
        f"has_parameter_privilege('{role}', 'work_mem', 'alter system')",
        f"pg_has_role('{role}', 'pg_read_all_stats', 'usage')",
        f"pg_has_role('{role}', 'pg_signal_backend', 'usage')",
        f"pg_has_role('{role}', '{owner}', 'usage')",
    }
    with postgres_server.fresh_database() as url:
        database = url.rpartition("/")[2].partition("?")[0]
        try:
            for statement in prepared:
                postgres_server.execute(statement, database=database)
            lacking = {
                one for one in held if postgres_server.execute(f"select {one}", database=database).strip() == "f"
            }
            assert lacking == held, "none of them is held before"
            for statement in postgres_sql("main", rights, role).splitlines():
                if not statement.startswith("--"):
                    postgres_server.execute(statement, database=database)
            for one in held:
                assert postgres_server.execute(f"select {one}", database=database).strip() == "t", one
            asked = f"select has_table_privilege('{role}', 'rbac.orders', 'insert, update, delete')"
            assert postgres_server.execute(asked, database=database).strip() == "f"
        finally:
            for name in (role, owner):
                postgres_server.execute(f"drop owned by {name} cascade", database=database)
                postgres_server.execute(f"drop role {name}", database=database)


async def test_the_printed_acl_is_one(redis_url: str) -> None:
    rights = [
        Permission(system="redis", scope="cache", verb=verb, resource=resource)
        for verb, resource in (("scan", ""), ("info", ""), ("config|set", ""), ("unlink", "stale:*"))
    ]
    (line,) = [each for each in redis_acl("cache", rights, "ours").splitlines() if not each.startswith("#")]
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        redis: Any = client
        try:
            await redis.execute_command(*line.split())
            (held,) = [each for each in await redis.acl_list() if each.startswith("user ours ")]
            assert "~stale:*" in held
            assert "-@all" in held
            for allowed in (("scan", "0"), ("info",), ("unlink", "stale:a")):
                assert await redis.execute_command("ACL", "DRYRUN", "ours", *allowed) == "OK"
            for refused in (("get", "stale:a"), ("unlink", "fresh:a"), ("flushall",), ("config", "get", "maxmemory")):
                assert await redis.execute_command("ACL", "DRYRUN", "ours", *refused) != "OK"
        finally:
            await redis.execute_command("ACL", "DELUSER", "ours")
