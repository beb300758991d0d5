"""Health probes: what they may say, and what their parameters are for one cluster."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.actions.kubernetes.replicas import AvailableParameters
from hdr_responder.actions.postgres.health import ReachableParameters
from hdr_responder.actions.registry import registry
from hdr_responder.documents.expressions import ExpressionError
from hdr_responder.documents.health import compile_probes
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.domain.workloads import Workload


def catalogue(*services: dict[str, Any]) -> ServiceCatalogue:
    common = {"title": "T", "tier": "core", "owner": "sre", "namespace": "hdr-empire"}
    document = {"apiVersion": "hdr-responder/v1", "kind": "ServiceCatalogue", "identified_by": ["service"]}
    return ServiceCatalogue.model_validate(document | {"services": [common | s for s in services]})


FLEET = catalogue(
    {"name": "dashboard", "depends_on": ["layer"]},
    {"name": "layer", "depends_on": ["neural", "db"], "workload": "deployment/layer"},
    {
        "name": "neural",
        "depends_on": ["db"],
        "workload": "deployment/neural-hdr",
        "health": {"kubernetes.available": "${service.workload}"},
    },
    {"name": "db", "health": {"postgres.reachable": "hdr_empire"}},
)


def test_probes_are_compiled_for_services_that_declare_one() -> None:
    probes, findings = compile_probes(FLEET, registry())
    assert findings == []
    assert sorted(probes) == ["db", "neural"]
    assert probes["db"].parameters(None) == ReachableParameters(target="hdr_empire")
    workload = Workload(cluster="eu-1", namespace="hdr-empire", kind="deployment", name="neural-hdr")
    assert probes["neural"].parameters("eu-1") == AvailableParameters(workload=workload)


def test_a_workload_needs_a_cluster() -> None:
    with pytest.raises(ExpressionError):
        compile_probes(FLEET, registry())[0]["neural"].parameters(None)


def test_below_is_everything_that_a_service_depends_on_once() -> None:
    assert [s.name for s in FLEET.below("dashboard")] == ["layer", "neural", "db"]
    assert [s.name for s in FLEET.below("db")] == []
    assert FLEET.below("unheard-of") == ()


def test_below_ends_in_a_circle() -> None:
    circle = catalogue({"name": "a", "depends_on": ["b"]}, {"name": "b", "depends_on": ["a"]})
    assert [s.name for s in circle.below("a")] == ["b"]


@pytest.mark.parametrize(
    ("health", "message"),
    [
        ({"kubernetes.availble": "${service.workload}"}, "unknown check"),
        ({"kubernetes.available": "${service.workload}"}, "unknown name"),
        ({"postgres.reachable": {"tarqet": "x"}}, "unknown key"),
        ({"postgres.reachable": "${alert.labels['x']}"}, "unknown name"),
        ({"postgres.unblocked": {"target": "x", "sessions": []}}, "tells no service's health"),
        ({"kubernetes.isolated": "${service.workload}"}, "tells no service's health"),
    ],
)
def test_a_probe_is_checked(health: dict[str, Any], message: str) -> None:
    probes, findings = compile_probes(catalogue({"name": "db", "health": health}), registry())
    assert probes == {}
    assert [f for f in findings if message in f.message], findings
