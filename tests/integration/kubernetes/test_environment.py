"""Environment variables set and put back to the letter, against a real control plane."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Seen, Undone
from hdr_responder.actions.kubernetes.environment import SetEnv, SetEnvParameters
from hdr_responder.actions.kubernetes.marks import STEP
from hdr_responder.adapters.kubernetes import KubernetesAdapter
from hdr_responder.domain.workloads import WorkloadKind
from hdr_responder.errors import ConflictError, FencedError, NotFoundError
from tests.integration.kubernetes.cases.releases import change_container
from tests.integration.kubernetes.steps import grant_for, perform, prepare, responder, step, workload
from tests.integration.kubernetes.templating import container, deployment, replica_sets, template
from tests.integration.kubernetes.test_actions import pod_set
from tests.services.kubernetes import RESPONDER, ControlPlane

pytestmark = pytest.mark.service

ENV = SetEnv()
SECRET = {"name": "DB_USER", "valueFrom": {"secretKeyRef": {"name": "db", "key": "user"}}}


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesAdapter]:
    adapter = responder(control_plane)
    yield adapter
    await adapter.close()


def env_params(namespace: str, values: dict[str, Any] | None = None, **more: Any) -> SetEnvParameters:
    written = {"workload": workload(namespace), "values": values or {"WORKER_THREADS": 8}, **more}
    return SetEnvParameters.model_validate(written)


def variables(control_plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = container(control_plane, namespace).get("env", [])
    return found


def patch_env(control_plane: ControlPlane, namespace: str, entries: list[dict[str, Any]]) -> None:
    """Somebody writes the whole environment, duplicates and all."""
    patch = [{"op": "add", "path": "/spec/template/spec/containers/0/env", "value": entries}]
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
    control_plane.api.request("PATCH", path, patch, content_type="application/json-patch+json")


class TestSetEnv:
    @pytest.mark.parametrize(
        "before",
        [
            [],
            [{"name": "WORKER_THREADS", "value": "4"}],
            [SECRET, {"name": "WORKER_THREADS", "value": "4"}, {"name": "Z", "value": "$(DB_USER)"}],
            [{"name": "POOL"}, SECRET],
        ],
        ids=["none", "present", "between", "empty"],
    )
    async def test_sets_and_puts_back_to_the_letter(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, before: list[dict[str, Any]]
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr")
        if before:
            patch_env(control_plane, namespace, before)
            control_plane.api.wait_available(namespace, "neural-hdr")
        original = template(control_plane, namespace)
        kept = replica_sets(control_plane, namespace)
        params = env_params(namespace, {"WORKER_THREADS": 8, "POOL": "20", "COMPRESSION_ENABLED": True})
        grant_for(control_plane, ENV, params)
        ctx = step(cluster)
        state, result = await perform(ENV, ctx, params)
        assert await ENV.execute(ctx, params, state) == result
        after = {each["name"]: each for each in variables(control_plane, namespace)}
        assert after["WORKER_THREADS"] == {"name": "WORKER_THREADS", "value": "8"}
        assert after["POOL"] == {"name": "POOL", "value": "20"}
        assert after["COMPRESSION_ENABLED"] == {"name": "COMPRESSION_ENABLED", "value": "true"}
        assert [each for each in after.values() if "valueFrom" in each] == [each for each in before if each == SECRET]
        assert result.changed == ["WORKER_THREADS", "POOL", "COMPRESSION_ENABLED"]
        control_plane.api.wait_available(namespace, "neural-hdr")
        assert await ENV.undo(ctx, params, state) is Undone.UNDONE
        assert await ENV.undo(ctx, params, state) is Undone.UNDONE
        assert template(control_plane, namespace) == original
        control_plane.api.wait_available(namespace, "neural-hdr")
        assert len(replica_sets(control_plane, namespace)) == len(kept) + 1, "the revision from before was taken up"

    @pytest.mark.parametrize("kind", ["statefulset", "daemonset"])
    async def test_other_kinds(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, kind: WorkloadKind
    ) -> None:
        control_plane.api.request("POST", f"/apis/apps/v1/namespaces/{namespace}/{kind}s", pod_set(kind))
        original = template(control_plane, namespace, kind)
        params = SetEnvParameters(workload=workload(namespace, kind=kind), values={"WORKER_THREADS": "8"})
        grant_for(control_plane, ENV, params)
        ctx = step(cluster)
        state, _ = await perform(ENV, ctx, params)
        changed = template(control_plane, namespace, kind)["spec"]["containers"][0]
        assert changed["env"] == [{"name": "WORKER_THREADS", "value": "8"}]
        assert await ENV.undo(ctx, params, state) is Undone.UNDONE
        assert template(control_plane, namespace, kind) == original

    async def test_what_is_so_already_restarts_nothing(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        deployment(control_plane, namespace, env=[{"name": "WORKER_THREADS", "value": "8"}])
        params = env_params(namespace)
        grant_for(control_plane, ENV, params)
        ctx = step(cluster)
        before = replica_sets(control_plane, namespace)
        state, result = await perform(ENV, ctx, params)
        assert (result.changed, result.unchanged) == ([], ["WORKER_THREADS"])
        assert result.summary == "nothing to set; WORKER_THREADS had the value already"
        control_plane.api.wait_available(namespace, "neural-hdr")
        names = [
            [each["metadata"]["name"] for each in kept] for kept in (before, replica_sets(control_plane, namespace))
        ]
        assert names[0] == names[1]
        assert (await ENV.observe(ctx, params, state)).seen is Seen.TOOK_EFFECT
        assert await ENV.undo(ctx, params, state) is Undone.NOTHING_TO_UNDO

    @pytest.mark.parametrize(
        ("entries", "match"),
        [
            ([{**SECRET, "name": "WORKER_THREADS"}], "takes WORKER_THREADS from elsewhere"),
            ([{"name": "WORKER_THREADS", "value": each} for each in "12"], "has WORKER_THREADS more than once"),
            ([{"name": "WORKER_THREADS", "value": "amqp://me:hunter2@queue"}], "what looks like a secret"),
        ],
        ids=["filled", "repeated", "secret"],
    )
    async def test_refuses_what_it_could_not_put_back(
        self,
        control_plane: ControlPlane,
        namespace: str,
        cluster: KubernetesAdapter,
        entries: list[dict[str, Any]],
        match: str,
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr")
        params = env_params(namespace)
        grant_for(control_plane, ENV, params)
        ctx = step(cluster)
        state = await prepare(ENV, ctx, params)
        patch_env(control_plane, namespace, entries)
        with pytest.raises(ConflictError, match=match) as caught:
            await ENV.dry_run(step(cluster), params)
        assert "hunter2" not in str(caught.value)
        # The same that appears only after the step looked.
        with pytest.raises(ConflictError, match="was changed since"):
            await ENV.execute(ctx, params, state)
        assert (await ENV.observe(ctx, params, state)).seen is Seen.UNKNOWN
        assert await ENV.undo(ctx, params, state) is Undone.DRIFTED
        assert variables(control_plane, namespace) == entries

    async def test_refuses_where_no_pod_would_be_replaced(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        deployment(control_plane, namespace)
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
        control_plane.api.merge_patch(path, {"spec": {"paused": True}})
        params = env_params(namespace)
        grant_for(control_plane, ENV, params)
        with pytest.raises(ConflictError, match="is paused"):
            await ENV.dry_run(step(cluster), params)

    async def test_which_container_is_never_guessed(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        deployment(control_plane, namespace)
        side = [{"name": "app"}, {"name": "side", "image": "registry.example/app:side"}]
        control_plane.api.request(
            "PATCH",
            f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr",
            {"spec": {"template": {"spec": {"containers": side, "initContainers": [{"name": "init", "image": "i"}]}}}},
            content_type="application/strategic-merge-patch+json",
        )
        params = env_params(namespace)
        grant_for(control_plane, ENV, params)
        with pytest.raises(ConflictError, match=r"several containers \((app, side|side, app)\)"):
            await ENV.dry_run(step(cluster), params)
        for missing in ("init", "other"):
            with pytest.raises(NotFoundError, match=f"has no container {missing}"):
                await ENV.dry_run(step(cluster), env_params(namespace, container=missing))
        await perform(ENV, step(cluster), env_params(namespace, container="side"))
        found = {each["name"]: each.get("env") for each in template(control_plane, namespace)["spec"]["containers"]}
        assert found == {"app": None, "side": [{"name": "WORKER_THREADS", "value": "8"}]}

    async def test_undo_leaves_what_somebody_changed_since(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        deployment(control_plane, namespace, env=[{"name": "WORKER_THREADS", "value": "4"}])
        params = env_params(namespace, {"WORKER_THREADS": 8, "POOL": 20})
        grant_for(control_plane, ENV, params)
        ctx = step(cluster)
        state, _ = await perform(ENV, ctx, params)
        change_container(control_plane, namespace, {"env": [{"name": "OTHER", "value": "x"}]})
        change_container(control_plane, namespace, {"env": [{"name": "POOL", "value": "30"}]})
        there = variables(control_plane, namespace)
        assert await ENV.undo(ctx, params, state) is Undone.DRIFTED
        assert variables(control_plane, namespace) == there
        change_container(control_plane, namespace, {"env": [{"name": "POOL", "value": "20"}]})
        assert await ENV.undo(ctx, params, state) is Undone.UNDONE
        left = {each["name"]: each["value"] for each in variables(control_plane, namespace)}
        assert left == {"WORKER_THREADS": "4", "OTHER": "x"}

    async def test_a_worker_that_lost_the_run_changes_nothing(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        original = deployment(control_plane, namespace)
        params = env_params(namespace)
        grant_for(control_plane, ENV, params)
        ctx = step(cluster)
        state = await prepare(ENV, ctx, params)
        await ENV.claim(step(cluster, run_id=ctx.fence.run_id, token=2), params)
        with pytest.raises(FencedError):
            await ENV.execute(ctx, params, state)
        assert template(control_plane, namespace) == original

    async def test_results_and_events_tell_names_alone(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        deployment(control_plane, namespace)
        params = env_params(namespace, {"THREAT_SCAN_INTERVAL": "1000"})
        grant_for(control_plane, ENV, params)
        ctx = step(cluster)
        state, result = await perform(ENV, ctx, params)
        for undone in (False, True, True):
            await ENV.announce(ctx, params, state, undone=undone)
        events = control_plane.api.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
        ours = {each["reason"]: each["message"] for each in events if each["reportingComponent"] == "hdr-responder"}
        assert ours == {
            "EnvironmentSet": "hdr-responder set THREAT_SCAN_INTERVAL in the environment of container app for INC-1",
            "EnvironmentSetUndone": (
                "hdr-responder put back THREAT_SCAN_INTERVAL in the environment of container app for INC-1"
            ),
        }
        assert "1000" not in result.model_dump_json()

    async def test_marks_the_workload_and_not_its_template(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        deployment(control_plane, namespace)
        params = env_params(namespace)
        grant_for(control_plane, ENV, params)
        ctx = step(cluster)
        await perform(ENV, ctx, params)
        assert control_plane.api.deployment(namespace, "neural-hdr")["metadata"]["annotations"][STEP] == ctx.step_key
        assert "annotations" not in template(control_plane, namespace)["metadata"]
        patches = control_plane.audit_events(user=RESPONDER, verb="patch", namespace=namespace)
        assert [event.field_manager for event in patches] == ["hdr-responder"] * 2


class TestHostileValues:
    """Text that means something elsewhere is text here, or is refused."""

    @pytest.mark.parametrize(
        "value",
        [
            "../../x",
            "a/b",
            "x;drop table y",
            "'; select pg_sleep(9)--",
            "`id`",
            "a=b,c!=d",
            "*",
            "{{.}}",
            "${alert.labels}",
            "é",
            "",
            " ",
            "$HOME $",
            "x" * 300,
        ],
    )
    async def test_values_are_taken_literally(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, value: str
    ) -> None:
        original = deployment(control_plane, namespace)
        params = env_params(namespace, {"WORKER_THREADS": value})
        grant_for(control_plane, ENV, params)
        ctx = step(cluster)
        state, _ = await perform(ENV, ctx, params)
        [entry] = variables(control_plane, namespace)
        assert (entry["name"], entry.get("value", "")) == ("WORKER_THREADS", value)
        assert await ENV.undo(ctx, params, state) is Undone.UNDONE
        assert template(control_plane, namespace) == original

    @pytest.mark.parametrize(
        "value",
        ["$(reboot)", "$(DB_PASSWORD)", "$$x", "\n", "a\x00b", "x" * 1001, "redis://:hunter2@cache/0", 1.5, None],
    )
    def test_values_that_would_not_arrive_as_written_are_refused(self, value: Any) -> None:
        with pytest.raises(ValidationError):
            env_params("any", {"WORKER_THREADS": value})

    @pytest.mark.parametrize(
        "name",
        [
            *(
                "../../x",
                "a/b",
                "a=b",
                "a b",
                "$(x)",
                "`id`",
                "*",
                "{{.}}",
                "\n",
                "a\n",
                "\x00",
                "é",
                "1st",
                "",
                "x" * 300,
            ),
            *("DB_PASSWORD", "API_TOKEN", "AWS_SECRET_ACCESS_KEY", "apikey", "GOOGLE_CREDENTIALS", "MY_PWD"),
        ],
    )
    def test_names_are_those_of_variables_and_of_no_secret(self, name: str) -> None:
        with pytest.raises(ValidationError):
            env_params("any", {name: "1"})

    @pytest.mark.parametrize("name", ["../../x", "a/b", "App", "a_b", "$(x)", "*", "é", "a\n", "\x00", "", "x" * 64])
    def test_containers_are_named_as_kubernetes_names_them(self, name: str) -> None:
        with pytest.raises(ValidationError):
            env_params("any", container=name)

    @pytest.mark.parametrize("name", ["../../x", "a/b", "a?fieldManager=x", "a=b,c!=d", "*", "{{.}}", "\n", "x" * 300])
    async def test_no_name_leaves_its_place_in_an_address(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter, name: str
    ) -> None:
        original = deployment(control_plane, namespace)
        with pytest.raises(ValidationError):
            SetEnvParameters(workload=workload(namespace, name), values={"WORKER_THREADS": "8"})
        assert template(control_plane, namespace) == original


class TestSurvey:
    async def test_knows_what_a_restart_takes_away(
        self, control_plane: ControlPlane, namespace: str, cluster: KubernetesAdapter
    ) -> None:
        control_plane.api.create_deployment(namespace, "neural-hdr", replicas=2)
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/neural-hdr"
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
        control_plane.api.merge_patch(path, {"spec": {"strategy": strategy}})
        params = env_params(namespace)
        grant_for(control_plane, ENV, params)
        found = await ENV.survey(step(cluster).systems, params)
        assert found.impact is not None
        assert (found.impact.unavailable, found.impact.healthy) == (1, 2)


def test_what_is_stored_can_be_read_again() -> None:
    """A worker that takes the run over reads the parameters as they were stored."""
    params = env_params("any", {"WORKER_THREADS": 8, "COMPRESSION_ENABLED": True})
    stored = json.loads(params.model_dump_json())
    assert SetEnvParameters.model_validate(stored) == params
    assert stored["values"] == {"WORKER_THREADS": "8", "COMPRESSION_ENABLED": "true"}
