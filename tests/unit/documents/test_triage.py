from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from hdr_responder.documents.escalation import EscalationPolicy
from hdr_responder.documents.source import load_source
from hdr_responder.documents.triage import Triage
from hdr_responder.domain.incidents import TriageDecision
from hdr_responder.domain.priorities import Priority

GOOD = Path(__file__).parents[2] / "documents" / "good"


@pytest.fixture(scope="module")
def triage() -> Triage:
    return Triage.model_validate(load_source(GOOD / "triage.yaml").data)


def test_the_first_match_decides(triage: Triage) -> None:
    labels = {"alertname": "HdrServiceDown", "severity": "warning", "instance": "i"}
    assert triage.decide(labels) == TriageDecision(
        priority=Priority.P1, rule="down", reason="The service is down.", problem="HdrServiceDown"
    )


def test_a_problem_may_be_made_of_labels(triage: Triage) -> None:
    decision = triage.decide({"alertname": "X", "severity": "warning", "instance": "node-1"})
    assert (decision.problem, decision.reason) == ("load of node-1", "A threshold is crossed.")


def test_an_alert_without_the_label_still_gets_its_incident(triage: Triage) -> None:
    decision = triage.decide({"alertname": "X", "severity": "warning"})
    assert decision.problem == "X"
    assert "the alert has no label 'instance'" in decision.reason


def test_what_no_rule_knows_gets_the_default(triage: Triage) -> None:
    decision = triage.decide({})
    assert decision == TriageDecision(
        priority=Priority.P4, rule="default", reason="No rule knows it.", problem="unknown"
    )


def test_priorities_say_when_people_must_act(triage: Triage) -> None:
    assert triage.respond_within(Priority.P1) == timedelta(minutes=15)
    assert triage.escalate_after(Priority.P1) == timedelta(0)
    assert triage.escalate_after(Priority.P4) is None


def test_escalation_says_who_is_paged_when() -> None:
    policy = EscalationPolicy.model_validate(load_source(GOOD / "escalation.yaml").data)
    assert [policy.page_after(p) for p in Priority] == [timedelta(0), timedelta(minutes=5), None, None]
    assert policy.acknowledge_within == timedelta(minutes=5)
    assert policy.incidents.reopen_window == timedelta(hours=1)
    assert policy.watchdog is not None
    assert policy.watchdog.matches({"alertname": "Watchdog"})
    assert not policy.watchdog.matches({"alertname": "HdrServiceDown"})
