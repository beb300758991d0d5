"""The fleet's own documents: every fact of the manual that they carry (ids in the tests' names and rows)."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from hdr_responder.documents.escalation import EscalationPolicy
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.documents.source import load_source
from hdr_responder.documents.triage import Triage
from hdr_responder.domain.priorities import Priority

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture(scope="module")
def services() -> ServiceCatalogue:
    return ServiceCatalogue.model_validate(load_source(CONFIG / "services.yaml").data)


@pytest.fixture(scope="module")
def triage() -> Triage:
    return Triage.model_validate(load_source(CONFIG / "triage.yaml").data)


@pytest.fixture(scope="module")
def escalation() -> EscalationPolicy:
    return EscalationPolicy.model_validate(load_source(CONFIG / "escalation.yaml").data)


def test_they_have_no_mistakes(services: ServiceCatalogue, triage: Triage, escalation: EscalationPolicy) -> None:
    assert [*services.findings(), *triage.findings(), *escalation.findings()] == []
    assert {s.owner for s in services.services} <= set(escalation.groups)


@pytest.mark.parametrize(
    ("fact", "name", "tier", "workload", "replicas"),
    [
        ("S01", "neural-hdr", "core", "deployment/neural-hdr", 3),
        ("S02", "nano-swarm-hdr", "core", "deployment/nano-swarm-hdr", 5),
        ("S03", "omniscient-hdr", "core", "deployment/omniscient-hdr", 3),
        ("S04", "reality-hdr", "core", "deployment/reality-hdr", 3),
        ("S05", "quantum-hdr", "core", "deployment/quantum-hdr", 3),
        ("S06", "dream-hdr", "core", "deployment/dream-hdr", 2),
        ("S07", "void-blade-hdr", "security", "deployment/void-blade-hdr", 3),
        ("S08", "integration-layer", "platform", "deployment/integration-layer", 3),
        ("S09", "command-interface", "platform", "deployment/command-interface", 3),
        ("S10", "dashboard", "application", "deployment/dashboard", None),
        ("S11", "quantum-explorer", "application", "deployment/quantum-explorer", None),
        ("S12", "consciousness-workbench", "application", "deployment/consciousness-workbench", None),
        ("S13", "postgresql", "data", None, 3),
        ("S14", "redis", "data", None, 6),
        ("S15", "load-balancer", "platform", "deployment/nginx-ingress", None),
        ("S16", "object-storage", "data", None, None),
        ("S17", "observability", "observability", None, None),
    ],
)
def test_services(
    services: ServiceCatalogue, fact: str, name: str, tier: str, workload: str | None, replicas: int | None
) -> None:
    service = services.identify({"app": name})
    assert service is not None, fact
    assert (service.name, service.tier, service.workload, service.replicas) == (name, tier, workload, replicas)


def test_s13_s14_s15_are_critical_and_every_hdr_service_needs_the_stores(services: ServiceCatalogue) -> None:
    for name in ("postgresql", "redis", "load-balancer"):
        service = services.by_name(name)
        assert service is not None
        assert service.critical
    for service in services.services:
        if service.tier in ("core", "security"):
            assert {"postgresql", "redis"} <= set(service.depends_on), service.name


def test_s20_start_order(services: ServiceCatalogue) -> None:
    order = [s.name for s in services.start_order]
    tiers = [
        ["postgresql"],
        ["redis"],
        ["void-blade-hdr"],
        ["neural-hdr", "nano-swarm-hdr", "omniscient-hdr", "reality-hdr", "quantum-hdr", "dream-hdr"],
        ["integration-layer"],
        ["command-interface"],
        ["dashboard", "quantum-explorer", "consciousness-workbench"],
    ]
    for before, after in pairwise(tiers):
        assert max(order.index(n) for n in before) < min(order.index(n) for n in after)


def test_s15_s22_pods_and_ingress_are_found_by_their_labels(services: ServiceCatalogue) -> None:
    nginx = services.identify({"app": "nginx"})
    assert nginx is not None
    workload = nginx.workload_in("prod")
    assert workload is not None
    assert (nginx.name, workload.namespace) == ("load-balancer", "ingress-nginx")
    grafana = services.identify({"app": "grafana"})
    assert grafana is not None
    assert grafana.namespace == "monitoring"


@pytest.mark.parametrize(
    ("fact", "labels", "priority"),
    [
        ("A01", {"alertname": "HdrServiceDown", "severity": "critical"}, "P1"),
        ("A02", {"alertname": "HdrPostgresDown", "severity": "critical"}, "P1"),
        ("A03", {"alertname": "HdrSecurityBreach", "severity": "critical"}, "P1"),
        ("A04", {"alertname": "HdrDataLoss", "severity": "critical"}, "P1"),
        ("A05", {"alertname": "HdrDiskFull", "severity": "critical"}, "P1"),
        ("A10", {"alertname": "HdrHighErrorRate", "severity": "warning"}, "P3"),
        ("A11", {"alertname": "HdrSlowResponses", "severity": "warning"}, "P3"),
        ("A12", {"alertname": "HdrPodMemoryHigh", "severity": "warning"}, "P3"),
        ("A13", {"alertname": "HdrBackupFailed", "severity": "critical"}, "P3"),
        ("A14", {"alertname": "HdrCertificateExpiring", "severity": "warning"}, "P3"),
        ("M06 critical", {"alertname": "HdrHighErrorRate", "severity": "critical"}, "P2"),
        ("P02", {"alertname": "HdrPostgresBlocked", "severity": "critical"}, "P2"),
        ("P04", {"alertname": "HdrCapacity", "severity": "info"}, "P4"),
        ("unknown", {"alertname": "Somebody's"}, "P3"),
    ],
)
def test_alert_classes_have_their_priority(triage: Triage, fact: str, labels: dict[str, str], priority: str) -> None:
    decision = triage.decide(labels)
    assert decision.priority == priority, (fact, decision)
    assert decision.reason


def test_a02_both_ways_to_see_the_database_down_are_one_problem(triage: Triage) -> None:
    one = triage.decide({"alertname": "HdrPostgresDown"})
    other = triage.decide({"alertname": "HdrServiceDown", "service": "postgresql"})
    assert one.problem == other.problem


def test_a_severity_that_rises_stays_in_its_incident(triage: Triage) -> None:
    for name in ("HdrHighErrorRate", "HdrPostgresBlocked"):
        problems = {triage.decide({"alertname": name, "severity": s}).problem for s in ("warning", "critical")}
        assert len(problems) == 1
    disk = [("HdrDiskHigh", "warning"), ("HdrDiskHigh", "critical"), ("HdrDiskFull", "critical")]
    assert len({triage.decide({"alertname": n, "severity": s, "instance": "n1"}).problem for n, s in disk}) == 1


def test_p01_to_p04_response_and_escalation(triage: Triage) -> None:
    rows = {p: (triage.respond_within(p), triage.escalate_after(p)) for p in Priority}
    assert rows == {
        Priority.P1: (timedelta(minutes=15), timedelta(0)),
        Priority.P2: (timedelta(minutes=30), timedelta(hours=1)),
        Priority.P3: (timedelta(hours=2), timedelta(hours=4)),
        Priority.P4: (timedelta(days=1), None),
    }


def test_p10_and_who_is_paged(escalation: EscalationPolicy) -> None:
    assert escalation.acknowledge_within == timedelta(minutes=5)
    assert [escalation.page_after(p) for p in Priority] == [timedelta(0), timedelta(minutes=5), None, None]
