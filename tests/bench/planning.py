"""How long it takes from a playbook's text to a plan with every guard's verdict.

In every round the document is read, checked and compiled anew, planned for an incident, and all guards are asked, as
when a run is planned. What the process has learnt before it keeps, as a service does; ``first_ms`` is for documents
that it never saw.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hdr_responder.actions.registry import registry
from hdr_responder.documents.calendar import EMPTY
from hdr_responder.documents.catalogue import load
from hdr_responder.documents.compiling import Library, compile_playbook
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.documents.source import parse_sources
from hdr_responder.domain.alerts import AlertStatus, Occurrence, Presence
from hdr_responder.domain.guards import GuardFacts, PauseState, TargetHistory, TrackRecord
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.reach import Reach
from hdr_responder.domain.runs import Mode, Plan, Run, RunStatus
from hdr_responder.domain.survey import Survey
from hdr_responder.engine import guards
from hdr_responder.engine.planner import Automation, Planner
from tests.bench.figures import Figure, Sense, percentile
from tests.bench.machine import wait_until_quiet
from tests.bench.written import ROOT, TEN_STEPS, version
from tests.services.processes import ServiceError

LIMIT_MS = 5.0
_NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


async def measure(*, quick: bool) -> list[Figure]:
    """Measure one document again and again, and others that come once."""
    rounds = 50 if quick else 500
    work, text = _work(), TEN_STEPS.read_text("utf-8")
    _milliseconds(work, text)
    await wait_until_quiet()
    took = [_milliseconds(work, text) for _ in range(rounds)]
    first = [_milliseconds(work, version(text, number)) for number in range(rounds)]
    detail = {
        "rounds": rounds,
        "p99_ms": round(percentile(took, 99), 2),
        "first_ms": round(statistics.median(first), 2),
    }
    return [
        Figure(
            name="ten steps from text to plan and verdicts, p50",
            value=statistics.median(took),
            limit=LIMIT_MS,
            sense=Sense.AT_MOST,
            unit="ms",
            detail=detail,
        )
    ]


def _milliseconds(work: Callable[[str], int], text: str) -> float:
    begun = time.perf_counter()
    steps = work(text)
    took = time.perf_counter() - begun
    if steps != 10:
        raise ServiceError(f"{steps} steps were planned")
    return took * 1000


def _work() -> Callable[[str], int]:
    """Read, compile, plan and ask; the number of steps of the plan."""
    actions, empty = registry(), Path(__file__).with_name("documents") / "playbooks"
    documents = load(ROOT / "config", empty, actions)
    planner = Planner(services=documents.services, automation=Automation(environment="staging", cap=Mode.AUTO))
    incident, alert = _incident(), _alert()

    def work(text: str) -> int:
        (source,), _ = parse_sources(text, TEN_STEPS.name)
        model = Playbook.model_validate(source.data)
        playbook, findings = compile_playbook(model, Library({}, actions))
        if playbook is None:
            raise ServiceError("; ".join(map(str, findings)))
        plan = planner.plan(playbook, incident, [alert])
        verdicts = guards.ask(_question(plan, incident, model))
        return len(plan.steps) if verdicts else 0

    return work


def _question(plan: Plan, incident: Incident, model: Playbook) -> guards.Question:
    run = Run(
        id=uuid.uuid4(),
        incident_id=incident.id,
        episode=1,
        playbook=plan.playbook,
        mode=plan.mode,
        status=RunStatus.HELD,
        plan=plan,
        created_at=_NOW,
    )
    history = (
        TargetHistory(key=t.key, effect_group=t.effect_group, held_by_run=None, last_ended_at=_NOW - timedelta(hours=1))
        for t in plan.targets
    )
    facts = GuardFacts(
        now=_NOW,
        pause=PauseState(engaged=False),
        hold=None,
        targets=tuple(history),
        limits=(),
        track_record=TrackRecord(),
        commander=None,
        incident_open=True,
        alerts_firing=1,
        uncertain=False,
        last_alert_at=_NOW,
    )
    return guards.Question(
        run=run,
        incident=incident,
        rules=model.guards,
        facts=facts,
        cap=Mode.AUTO,
        survey=Survey(presence=Presence.FIRING),
        calendar=EMPTY,
        environment="staging",
        reach=Reach(namespaces=frozenset({"hdr-empire"})),
    )


def _incident() -> Incident:
    return Incident(
        id=1,
        key="prod-eu/neural-hdr/HdrServiceDown",
        cluster="prod-eu",
        service="neural-hdr",
        problem="HdrServiceDown",
        title="Neural-HDR is down",
        priority=Priority.P2,
        priority_rule="down",
        priority_reason="The service is down.",
        status=IncidentStatus.TRIGGERED,
        started_at=_NOW,
        opened_at=_NOW,
    )


def _alert() -> Occurrence:
    labels = {"alertname": "HdrServiceDown", "severity": "critical", "cluster": "prod-eu", "service": "neural-hdr"}
    return Occurrence(
        source="default",
        fingerprint="f1",
        labels=labels | {"database": "hdr_empire", "namespace": "hdr-empire"},
        annotations={"summary": "Neural-HDR does not answer."},
        generator_url="http://prometheus:9090/graph",
        status=AlertStatus.FIRING,
        starts=(_NOW,),
        ends_at=None,
        seen_firing=True,
        first_received_at=_NOW,
        last_received_at=_NOW,
    )
