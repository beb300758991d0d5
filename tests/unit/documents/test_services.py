from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.domain.workloads import Workload


def _catalogue(*services: dict[str, Any]) -> ServiceCatalogue:
    common = {"title": "T", "tier": "core", "owner": "sre", "namespace": "hdr-empire"}
    return ServiceCatalogue.model_validate(
        {
            "apiVersion": "hdr-responder/v1",
            "kind": "ServiceCatalogue",
            "identified_by": ["service", "deployment", "app"],
            "services": [common | s for s in services],
        }
    )


FLEET = _catalogue(
    {"name": "app", "depends_on": ["neural", "db"]},
    {"name": "neural", "depends_on": ["db"], "workload": "deployment/neural-hdr"},
    {"name": "db", "aliases": ["postgres"]},
    {"name": "ingress", "aliases": ["nginx"], "workload": "ingress-nginx/deployment/nginx"},
)


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"service": "db"}, "db"),
        ({"app": "nginx"}, "ingress"),
        ({"service": "postgres", "deployment": "neural"}, "db"),
        ({"service": "unheard-of", "deployment": "neural"}, "neural"),
        ({"service": "", "app": "postgres"}, "db"),
    ],
)
def test_a_service_is_found_by_the_first_label_that_names_one(labels: dict[str, str], name: str) -> None:
    found = FLEET.identify(labels)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("labels", [{}, {"service": "unheard-of"}, {"job": "db"}, {"service": ""}])
def test_an_unknown_service_is_none(labels: dict[str, str]) -> None:
    assert FLEET.identify(labels) is None


def test_by_name_knows_names_and_not_aliases() -> None:
    assert FLEET.by_name("db") is FLEET.services[2]
    assert FLEET.by_name("postgres") is None
    assert FLEET.by_name("") is None


def test_the_start_order_puts_dependencies_first_and_else_keeps_the_list() -> None:
    assert [s.name for s in FLEET.start_order] == ["db", "neural", "app", "ingress"]


def test_a_workload_needs_a_cluster() -> None:
    neural, ingress, db = FLEET.services[1], FLEET.services[3], FLEET.services[2]
    assert neural.workload_in("c") == Workload(
        cluster="c", namespace="hdr-empire", kind="deployment", name="neural-hdr"
    )
    assert ingress.values("c").workload == Workload(
        cluster="c", namespace="ingress-nginx", kind="deployment", name="nginx"
    )
    assert neural.workload_in(None) is None
    assert db.workload_in("c") is None


def test_circles_of_any_length_are_found_once() -> None:
    circle = _catalogue(
        {"name": "a", "depends_on": ["b"]},
        {"name": "b", "depends_on": ["c"]},
        {"name": "c", "depends_on": ["a"]},
        {"name": "d", "depends_on": ["a", "d"]},
    )
    assert sorted(f.message for f in circle.findings()) == [
        "circular dependency: a -> b -> c -> a",
        "circular dependency: d -> d",
    ]
    assert len(circle.start_order) == 4
