"""What Kubernetes actions decide from what they see, without a cluster."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from hdr_responder.actions.kubernetes import KUBERNETES_ACTIONS, KUBERNETES_CHECKS
from hdr_responder.actions.kubernetes.bounds import MAXIMUM, MINIMUM, REPLICAS, Move
from hdr_responder.actions.kubernetes.logs import belongs, containers_of, in_trouble_first
from hdr_responder.actions.kubernetes.policies import NOTHING, allowing, deny_all
from hdr_responder.actions.kubernetes.replicas import ReplicasParameters, exactly
from hdr_responder.actions.kubernetes.rollouts import progress
from hdr_responder.actions.kubernetes.scaling import Scale, ScaleParameters, ScaleToZeroParameters
from hdr_responder.domain.ports.kubernetes import (
    Autoscaler,
    NetworkPolicy,
    ObjectMeta,
    ObjectRef,
    Pod,
    Requirement,
    Selector,
    WorkloadState,
)
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConflictError

NEURAL_HDR = Workload(cluster="eu-1", namespace="video", kind="deployment", name="neural-hdr")


def meta(resource: str = "apps/deployments", **changes: Any) -> ObjectMeta:
    ref = ObjectRef(resource=resource, namespace="video", name="neural-hdr")
    plain = ObjectMeta(ref=ref, uid="uid-1", resource_version="7", generation=2, labels={}, annotations={})
    return replace(plain, **changes)


def state(**changes: Any) -> WorkloadState:
    """A workload whose three replicas are rolled out."""
    settled = WorkloadState(
        meta=meta(),
        selector=Selector(labels={"app": "neural-hdr"}),
        pod_labels={"app": "neural-hdr", "tier": "video"},
        template_annotations=None,
        host_network=False,
        replicas=3,
        desired=3,
        total=3,
        updated=3,
        available=3,
        observed_generation=2,
    )
    return replace(settled, **changes)


def autoscaler(low: int, high: int, *, controller: str | None = None) -> Autoscaler:
    found = meta("autoscaling/horizontalpodautoscalers", uid="uid-2", controller=controller)
    return Autoscaler(meta=found, min_replicas=low, max_replicas=high)


class TestProgress:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, "done"),
            ({"observed_generation": 1, "stalled": "of the rollout before"}, "progressing"),
            ({"stalled": "timed out"}, "failed"),
            ({"updated": 2}, "progressing"),
            ({"total": 4}, "progressing"),
            ({"available": 2}, "progressing"),
            ({"partition": 2, "updated": 1}, "done"),
            ({"partition": 2, "updated": 0}, "progressing"),
            ({"partition": 5, "updated": 0}, "done"),
        ],
    )
    def test_judges(self, changes: dict[str, Any], expected: str) -> None:
        assert progress(state(**changes)).state == expected


class TestScale:
    def plan(self, workload: WorkloadState, found: Autoscaler | None = None, **how: int) -> tuple[Move, ...]:
        params = ScaleParameters(workload=NEURAL_HDR, **{"maximum": 8, **how})
        return Scale().plan(params, workload, found).moves

    def test_without_an_autoscaler_the_replicas_move(self) -> None:
        assert self.plan(state(), by=2) == (Move(pointer=REPLICAS, before=3, after=5),)

    def test_under_an_autoscaler_its_minimum_moves(self) -> None:
        assert self.plan(state(), autoscaler(1, 6), by=2) == (Move(pointer=MINIMUM, before=1, after=5),)

    def test_the_maximum_moves_where_it_is_in_the_way(self) -> None:
        moves = self.plan(state(), autoscaler(2, 4), to=7)
        assert moves == (Move(pointer=MINIMUM, before=2, after=7), Move(pointer=MAXIMUM, before=4, after=7))

    @pytest.mark.parametrize(
        ("workload", "found", "how", "reason"),
        [
            (state(), None, {"by": 6}, "9 replicas would be beyond the maximum of 8"),
            (state(), None, {"to": 3}, "has 3 replicas already"),
            (state(), None, {"by": -3}, "0 replicas would be below the minimum of 1"),
            (state(), None, {"by": -1, "minimum": 3}, "2 replicas would be below the minimum of 3"),
            (state(), autoscaler(5, 9), {"to": 5}, "has 5 replicas already"),
            (state(replicas=8), autoscaler(2, 4), {"by": -4}, "0 replicas would be below the minimum of 1"),
            (state(replicas=0), autoscaler(1, 9), {"to": 4}, "scaled to zero"),
            (state(), autoscaler(1, 9, controller="ScaledObject/queue"), {"by": 1}, "controlled by ScaledObject/queue"),
        ],
    )
    def test_refuses(self, workload: WorkloadState, found: Autoscaler | None, how: dict[str, int], reason: str) -> None:
        with pytest.raises(ConflictError, match=reason):
            self.plan(workload, found, **how)

    def test_fewer(self) -> None:
        assert self.plan(state(), by=-1) == (Move(pointer=REPLICAS, before=3, after=2),)
        assert self.plan(state(), autoscaler(1, 6), to=2) == (Move(pointer=MAXIMUM, before=6, after=2),)
        moves = self.plan(state(), autoscaler(2, 6), to=1)
        assert moves == (Move(pointer=MAXIMUM, before=6, after=1), Move(pointer=MINIMUM, before=2, after=1))

    def test_fewer_never_raise_a_maximum_that_the_autoscaler_has_yet_to_act_on(self) -> None:
        moves = self.plan(state(replicas=8, desired=8), autoscaler(2, 5), by=-1)
        assert moves == (Move(pointer=MAXIMUM, before=5, after=4),)

    def test_more_never_lower_a_minimum_that_the_autoscaler_has_yet_to_act_on(self) -> None:
        assert self.plan(state(), autoscaler(5, 9), by=1) == (Move(pointer=MINIMUM, before=5, after=6),)

    @given(low=st.integers(1, 20), more=st.integers(0, 20), present=st.integers(1, 40), to=st.integers(1, 40))
    def test_an_autoscalers_bounds_stay_in_order(self, low: int, more: int, present: int, to: int) -> None:
        before = {MINIMUM: low, MAXIMUM: low + more}
        settled = min(max(present, low), low + more)
        assume(to != settled)
        moves = self.plan(state(replicas=present, desired=present), autoscaler(low, low + more), to=to, maximum=40)
        after = before | {move.pointer: move.after for move in moves}
        assert 1 <= after[MINIMUM] <= after[MAXIMUM]
        assert after[MINIMUM if to > settled else MAXIMUM] == to
        assert all(move.before == before[move.pointer] for move in moves)

    @pytest.mark.parametrize(
        ("kind", "seen", "found", "how", "taken"),
        [
            ("deployment", state(), None, {"by": 2}, None),
            ("deployment", state(), None, {"to": 4}, None),
            ("deployment", state(), None, {"by": -2}, 2),
            ("deployment", state(), autoscaler(1, 9), {"to": 1}, 2),
            ("deployment", state(), None, {"by": -5}, 3),
            ("deployment", state(available=2), None, {"to": 2}, 0),
            ("statefulset", state(available=2), None, {"to": 2}, 1),
            ("deployment", state(available=0), None, {"by": -1}, 0),
        ],
    )
    def test_what_it_takes_away(
        self, kind: Any, seen: WorkloadState, found: Autoscaler | None, how: dict[str, int], taken: int | None
    ) -> None:
        where = NEURAL_HDR.model_copy(update={"kind": kind})
        impact = Scale().impact(ScaleParameters(workload=where, maximum=9, **how), seen, found)
        assert (impact.taken if impact else None) == taken

    def test_a_number_that_an_earlier_step_gives_takes_all_that_it_may(self) -> None:
        params = ScaleParameters.model_construct(workload=NEURAL_HDR)
        impact = Scale().impact(params, state(), None)
        assert impact is not None
        assert impact.taken == 2

    def test_adding_needs_a_maximum_and_taking_away_none(self) -> None:
        with pytest.raises(ValidationError, match="give the maximum"):
            ScaleParameters(workload=NEURAL_HDR, by=1)
        assert ScaleParameters(workload=NEURAL_HDR, by=-1).wanted(3) == 2

    @pytest.mark.parametrize("how", [{}, {"to": 2, "by": 1}, {"to": 9}, {"by": 0}, {"to": 2, "minimum": 3}])
    def test_parameters_that_make_no_sense(self, how: dict[str, int]) -> None:
        with pytest.raises(ValidationError):
            ScaleParameters(workload=NEURAL_HDR, **{"maximum": 8, **how})

    def test_a_daemonset_has_nothing_to_scale(self) -> None:
        with pytest.raises(ValidationError, match="daemonset"):
            ScaleToZeroParameters(workload=NEURAL_HDR.model_copy(update={"kind": "daemonset"}))


class TestReplicas:
    @pytest.mark.parametrize(
        ("changes", "wanted", "holds"),
        [
            ({}, 3, True),
            ({}, 2, False),
            ({"available": 2}, 3, None),
            ({"desired": 0, "total": 2, "available": 1}, 0, None),
            ({"desired": 0, "total": 0, "available": 0}, 0, True),
        ],
    )
    def test_exactly(self, changes: dict[str, Any], wanted: int, holds: bool | None) -> None:
        assert exactly(state(**changes), wanted).holds is holds

    @pytest.mark.parametrize("how", [{}, {"equals": 1, "at_least": 1}, {"at_least": 0}])
    def test_parameters_that_make_no_sense(self, how: dict[str, int]) -> None:
        with pytest.raises(ValidationError):
            ReplicasParameters(workload=NEURAL_HDR, **how)


class TestPods:
    def pod(self, name: str, *, owner: str | None = None, ready: bool = True, restarts: int = 0) -> Pod:
        return Pod(
            namespace="video",
            name=name,
            owner=owner,
            containers=("app", "proxy"),
            phase="Running",
            ready=ready,
            restarts=restarts,
        )

    @pytest.mark.parametrize(
        ("kind", "owner", "ours"),
        [
            ("deployment", "ReplicaSet/neural-hdr-5f56956cd7", True),
            ("deployment", "ReplicaSet/neural-hdr-canary-5f56956cd7", False),
            ("deployment", "StatefulSet/neural-hdr", False),
            ("deployment", None, False),
            ("statefulset", "StatefulSet/neural-hdr", True),
            ("statefulset", "StatefulSet/neural", False),
            ("daemonset", "DaemonSet/neural-hdr", True),
        ],
    )
    def test_belonging(self, kind: str, owner: str | None, ours: bool) -> None:
        assert belongs(self.pod("x", owner=owner), NEURAL_HDR.model_copy(update={"kind": kind})) is ours

    def test_those_in_trouble_come_first(self) -> None:
        pods = [self.pod("a"), self.pod("b", restarts=2), self.pod("c", ready=False)]
        assert [pod.name for pod in in_trouble_first(pods)] == ["c", "b", "a"]

    def test_one_container_or_all(self) -> None:
        pods = [self.pod("a")]
        assert [name for _, name in containers_of(pods, None)] == ["app", "proxy"]
        assert [name for _, name in containers_of(pods, "proxy")] == ["proxy"]


class TestIsolate:
    @pytest.mark.parametrize("labels", [{}, {"app": "x"}, {"hdr-responder.io/fence": "x"}])
    def test_the_inert_policy_selects_no_pod(self, labels: dict[str, str]) -> None:
        assert not NOTHING.selects(labels)

    def test_the_selector_is_taken_as_it_is(self) -> None:
        pods = Selector(labels={"app": "x"}, requirements=(Requirement(key="tier", operator="In", values=("a", "b")),))
        assert deny_all(pods) == {
            "podSelector": {
                "matchLabels": {"app": "x"},
                "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}],
            },
            "policyTypes": ["Ingress", "Egress"],
        }

    @pytest.mark.parametrize(
        ("pods", "allows", "told"),
        [
            (Selector(), True, ["neural-hdr"]),
            (Selector(labels={"tier": "video"}), True, ["neural-hdr"]),
            (Selector(labels={"tier": "web"}), True, []),
            (Selector(), False, []),
        ],
    )
    def test_policies_that_still_allow(self, pods: Selector, allows: bool, told: list[str]) -> None:
        policy = NetworkPolicy(meta=meta(), pods=pods, isolates_ingress=True, isolates_egress=False, allows=allows)
        assert allowing([policy], state()) == told


@pytest.mark.parametrize(
    ("operator", "values", "labels", "selected"),
    [
        ("In", ("a", "b"), {"tier": "a"}, True),
        ("In", ("a",), {}, False),
        ("NotIn", ("a",), {}, True),
        ("NotIn", ("a",), {"tier": "a"}, False),
        ("Exists", (), {"tier": ""}, True),
        ("DoesNotExist", (), {"tier": ""}, False),
        ("Gt", ("1",), {"tier": "2"}, False),
    ],
)
def test_label_requirements(operator: str, values: tuple[str, ...], labels: dict[str, str], selected: bool) -> None:
    wanted = Selector(requirements=(Requirement(key="tier", operator=operator, values=values),))
    assert wanted.selects(labels) is selected


@pytest.mark.parametrize("action", KUBERNETES_ACTIONS, ids=lambda action: action.name)
def test_an_actions_example_uses_it(action: Any) -> None:
    example = YAML(typ="safe").load(StringIO(action.example))
    assert example["action"] == action.name
    where = {"workload": NEURAL_HDR, "cluster": "eu-1", "namespace": "video"}
    known = {name: value for name, value in where.items() if name in example["with"]}
    params = action.parameters.model_validate({**example["with"], **known})
    assert all(right.scope == "eu-1" and right.namespace == "video" for right in action.permissions(params))


@pytest.mark.parametrize("check", KUBERNETES_CHECKS, ids=lambda check: check.name)
def test_a_checks_example_uses_it(check: Any) -> None:
    [(name, params)] = YAML(typ="safe").load(StringIO(check.example)).items()
    assert name == check.name
    check.parameters.model_validate({**params, "workload": NEURAL_HDR})
