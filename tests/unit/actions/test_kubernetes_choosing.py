"""Which pods a step reads, and which rights that takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.kubernetes.choosing import worst_first
from hdr_responder.actions.kubernetes.logs import Logs, LogsParameters, LogsResult
from hdr_responder.actions.kubernetes.pods import Pods, PodsParameters, last_end, why_not_ready
from hdr_responder.actions.kubernetes.top import Top, TopParameters, heaviest_first
from hdr_responder.domain.ports.kubernetes import ContainerState, Ended, ObjectMeta, ObjectRef, Pod, PodState, PodUsage
from hdr_responder.domain.workloads import Workload

NEURAL_HDR = Workload(cluster="eu-1", namespace="video", kind="deployment", name="neural-hdr")
NAMESPACE = {"cluster": "eu-1", "namespace": "video"}


def pod_state(name: str = "neural-hdr-1", **changes: Any) -> PodState:
    """A pod whose only container runs."""
    plain = Pod(
        namespace="video",
        name=name,
        owner="ReplicaSet/neural-hdr-5d4f8",
        containers=("app",),
        phase=changes.pop("phase", "Running"),
        ready=changes.pop("ready", True),
        restarts=changes.pop("restarts", 0),
    )
    ref = ObjectRef(resource="pods", namespace="video", name=name)
    meta = ObjectMeta(ref=ref, uid=name, resource_version="1", generation=0, labels={}, annotations={})
    state = PodState(
        pod=plain,
        meta=meta,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        node="node-1",
        reason="",
        deleted=False,
        default_container="app",
        containers=(container(),),
    )
    return replace(state, **changes)


def container(**changes: Any) -> ContainerState:
    return replace(ContainerState(name="app", state="running", ready=True, restarts=0), **changes)


def ended(reason: str, code: int, minute: int = 0) -> Ended:
    return Ended(reason=reason, exit_code=code, at=datetime(2026, 1, 1, 0, minute, tzinfo=UTC))


class TestChoice:
    @pytest.mark.parametrize(
        "given",
        [
            {"workload": NEURAL_HDR},
            {"workload": NEURAL_HDR, "cluster": None, "namespace": None},
            NAMESPACE,
            {**NAMESPACE, "workload": None},
            {**NAMESPACE, "labels": {"app": "neural-hdr", "app.kubernetes.io/part-of": "", "a.b/C_d": "v1.2_X"}},
        ],
    )
    def test_one_way(self, given: dict[str, Any]) -> None:
        params = PodsParameters.model_validate(given)
        assert PodsParameters.model_validate(params.model_dump(mode="json")) == params, "as a plan stores it"
        LogsParameters.model_validate(given)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({}, "must choose the pods"),
            ({"cluster": "eu-1"}, "must choose the pods"),
            ({"namespace": "video"}, "must choose the pods"),
            ({"labels": {"app": "x"}}, "must choose the pods"),
            ({"workload": NEURAL_HDR, "namespace": "video"}, "either workload or namespace .*: namespace too"),
            ({"workload": NEURAL_HDR, "labels": {"app": "x"}}, "either workload or namespace .*: labels too"),
            ({"workload": NEURAL_HDR, **NAMESPACE}, "either workload or namespace .*: cluster, namespace too"),
        ],
    )
    def test_no_other(self, given: dict[str, Any], said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            PodsParameters.model_validate(given)

    @pytest.mark.parametrize(
        "value",
        [
            "../../x",
            "a/b",
            "x;drop table y",
            "'; select pg_sleep(9)--",
            "$(reboot)",
            "`id`",
            "a=b,c!=d",
            "a,b",
            "*",
            "{{.}}",
            "${alert.labels}",
            "\n",
            "video\n",
            "\x00",
            "é",
            "a" * 300,
            "..",
            ".",
            "-a",
            " a",
        ],
    )
    def test_hostile_names_and_labels_are_refused(self, value: str) -> None:
        for given in ({"namespace": value}, {"labels": {"app": value}}, {"labels": {f"{value}=": "x"}}):
            with pytest.raises(ValidationError):
                PodsParameters.model_validate(NAMESPACE | given)

    @pytest.mark.parametrize("key", ["", "a,b", "a in (b)", "!a", "a=b", "/a", "x/", "x/y/z", "a\nb", "é"])
    def test_hostile_keys_of_labels_are_refused(self, key: str) -> None:
        with pytest.raises(ValidationError):
            PodsParameters.model_validate({**NAMESPACE, "labels": {key: "x"}})


class TestRights:
    def test_a_namespace_takes_none_on_workloads(self) -> None:
        params = LogsParameters.model_validate(NAMESPACE)
        assert [str(each) for each in Logs().permissions(params)] == [
            "kubernetes:eu-1 list pods in video",
            "kubernetes:eu-1 get pods/log in video",
        ]

    def test_a_workload_is_looked_up(self) -> None:
        assert [str(each) for each in Pods().permissions(PodsParameters(workload=NEURAL_HDR))] == [
            "kubernetes:eu-1 get apps/deployments in video",
            "kubernetes:eu-1 list pods in video",
        ]
        assert [str(each) for each in Top().permissions(TopParameters(workload=NEURAL_HDR))][-1] == (
            "kubernetes:eu-1 list metrics.k8s.io/pods in video"
        )

    def test_what_an_earlier_step_gives_is_not_known_yet(self) -> None:
        assert Pods().permissions(PodsParameters.model_construct(cluster="eu-1")) == ()


class TestWhyNotReady:
    @pytest.mark.parametrize(
        ("state", "why"),
        [
            (pod_state(), ""),
            (pod_state(ready=False, phase="Succeeded"), ""),
            (pod_state(ready=False, reason="Evicted", phase="Failed"), "Evicted"),
            (pod_state(ready=False, deleted=True), "Terminating"),
            (
                pod_state(ready=False, containers=(container(state="waiting", why="CrashLoopBackOff"),)),
                "CrashLoopBackOff",
            ),
            (
                pod_state(
                    ready=False,
                    containers=(
                        container(name="init", initial=True, state="terminated", ended=ended("Completed", 0)),
                        container(state="waiting", ready=False, why="ContainerCreating"),
                        container(name="two", state="terminated", ended=ended("Error", 3)),
                    ),
                ),
                "Error (exit code 3)",
            ),
            (
                pod_state(
                    ready=False,
                    containers=(
                        container(name="init", initial=True, state="waiting", why="ImagePullBackOff"),
                        container(state="waiting", ready=False, why="PodInitializing"),
                    ),
                ),
                "ImagePullBackOff",
            ),
            (
                pod_state(ready=False, containers=(container(state="waiting", ready=False, why="ContainerCreating"),)),
                "ContainerCreating",
            ),
            (pod_state(ready=False, containers=(container(ready=False),)), "not ready: app"),
            (pod_state(ready=False, phase="Unknown", containers=()), "Unknown"),
        ],
    )
    def test_in_the_words_of_the_cluster(self, state: PodState, why: str) -> None:
        assert why_not_ready(state) == why

    def test_the_run_that_ended_last(self) -> None:
        state = pod_state(
            containers=(
                container(name="init", initial=True, ended=ended("Completed", 0, 59)),
                container(last_ended=ended("OOMKilled", 137, 5)),
                container(name="two", ended=ended("Error", 1, 7), last_ended=ended("Error", 2, 3)),
            )
        )
        assert last_end(state) == ended("Error", 1, 7)
        assert last_end(pod_state()) is None


def test_logs_that_a_run_kept_before_they_told_so_much_are_still_read() -> None:
    kept = {"lines": 1, "matched": 1, "artifacts": ["a"], "pods": ["neural-hdr-1"], "skipped": []}
    assert LogsResult.model_validate(kept).cut == []


def test_the_worst_pods_come_first() -> None:
    stopped = pod_state("stopped", ready=False, restarts=9, containers=(container(state="waiting"),))
    pods = [
        pod_state("done", phase="Succeeded", ready=False),
        pod_state("fine"),
        pod_state("restarted", restarts=2),
        pod_state("unready", ready=False, restarts=1),
        pod_state("unready-too", ready=False, restarts=3),
        pod_state("leaving", deleted=True),
        stopped,
    ]
    names = [each.pod.name for each in worst_first(pods)]
    assert names == ["stopped", "leaving", "unready-too", "unready", "restarted", "fine", "done"]


def test_the_heaviest_pods_come_first() -> None:
    pods = [
        PodUsage(name="b", cpu_cores=0.5, memory_bytes=10),
        PodUsage(name="a", cpu_cores=0.5, memory_bytes=10),
        PodUsage(name="c", cpu_cores=0.1, memory_bytes=99),
    ]
    assert [each.name for each in heaviest_first(pods, "memory")] == ["c", "a", "b"]
    assert [each.name for each in heaviest_first(pods, "cpu")] == ["a", "b", "c"]
