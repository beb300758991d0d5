"""Records and notifications for the lanes' tests, in the shapes that the store gives them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hdr_responder.domain.alerts import AlertStatus, Occurrence
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.ports.records import IncidentRecord
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import (
    GuardVerdict,
    Mode,
    Plan,
    PlannedStep,
    PlannedTarget,
    Run,
    RunStatus,
    Step,
    StepStatus,
    Verification,
)

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
HOSTILE = "<!channel> <!here> <@U012ABCDEF> @everyone & <https://evil.example|click> *b* `c` \x1b[31m\u202e\n"


def make_incident(**changes: Any) -> Incident:
    incident = Incident(
        id=142,
        key="k",
        cluster="prod",
        service="neural-hdr",
        problem="HighErrorRate",
        title="5xx above 2 %",
        priority=Priority.P1,
        priority_rule="customer-facing",
        priority_reason="tier 1 service and severity critical",
        status=IncidentStatus.TRIGGERED,
        started_at=NOW - timedelta(minutes=3),
        opened_at=NOW,
        alerts_total=1,
        alerts_firing=1,
    )
    return replace(incident, **changes)


def make_alert(number: int = 0, *, labels: dict[str, str] | None = None, **annotations: str) -> Occurrence:
    return Occurrence(
        source="default",
        fingerprint=f"{number:016x}",
        labels=labels or {"alertname": "HighErrorRate", "pod": f"pod-{number}"},
        annotations=annotations,
        generator_url="",
        status=AlertStatus.FIRING,
        starts=(NOW,),
        ends_at=None,
        seen_firing=True,
        first_received_at=NOW,
        last_received_at=NOW,
    )


def make_plan(*, mode: Mode = Mode.AUTO, summary: str = "Restart the workers", count: int = 1) -> Plan:
    steps = tuple(
        PlannedStep(
            id=f"step{i}",
            action="kubernetes.rollout_restart",
            summary=summary,
            mutates=True,
            parameters={},
            target=PlannedTarget(key=f"t{i}", effect_group="restart", title="Deployment vfx/neural-hdr"),
        )
        for i in range(count)
    )
    return Plan(
        playbook="restart-workers",
        digest="d",
        summary=summary,
        mode=mode,
        mode_reason="as the playbook says",
        params={},
        steps=steps,
        verify=("the alert resolves",),
        verdicts=(
            GuardVerdict(guard="cooldown", allowed=False, reason="it ran 3 min ago"),
            GuardVerdict(guard="budget", allowed=True, reason="1 of 3 used"),
        ),
        document={},
        context={},
    )


def make_run(status: RunStatus = RunStatus.RUNNING, **changes: Any) -> Run:
    run = Run(
        id=uuid.UUID(int=7),
        incident_id=142,
        episode=1,
        playbook="restart-workers",
        mode=Mode.AUTO,
        status=status,
        plan=make_plan(),
        created_at=NOW,
    )
    return replace(run, **changes)


def make_step(run: Run, position: int = 0, status: StepStatus = StepStatus.SUCCEEDED, **changes: Any) -> Step:
    step = Step(
        run_id=run.id,
        position=position,
        step_id=f"step{position}",
        action="kubernetes.rollout_restart",
        status=status,
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=72),
    )
    return replace(step, **changes)


def make_record(incident: Incident | None = None, **parts: Any) -> IncidentRecord:
    record = IncidentRecord(incident=incident or make_incident(), alerts=(make_alert(),), runs=(), artifacts=())
    return replace(record, **parts)


def hostile_record() -> IncidentRecord:
    """An incident of 100 alerts in which every text from outside is long and full of markup."""
    text = HOSTILE + "<&>" * 1700
    labels = {f"label_{HOSTILE}_{i}": text for i in range(30)} | {"alertname": text}
    plan = make_plan(summary=text, count=40).model_copy(
        update={
            "playbook": text,
            "mode_reason": text,
            "verdicts": tuple(GuardVerdict(guard=f"guard-{i}", allowed=False, reason=text) for i in range(12)),
        }
    )
    runs = []
    for i in range(12):
        status = RunStatus.AWAITING_APPROVAL if i % 2 else RunStatus.FAILED
        run = make_run(
            status,
            id=uuid.UUID(int=i + 1),
            playbook=text,
            plan=plan,
            reason=text,
            requested_by=text,
            created_at=NOW + timedelta(seconds=i),
            verification=Verification.FAILED,
        )
        runs.append((run, tuple(make_step(run, n, StepStatus.FAILED, error=text, undone=text) for n in range(40))))
    incident = make_incident(
        title=text,
        cluster=text,
        service=text,
        problem=text,
        priority_rule=text,
        priority_reason=text,
        status=IncidentStatus.MITIGATED,
        mitigated_at=NOW,
        acknowledged_by=text,
        acknowledged_at=NOW,
        commander=text,
        episode=7,
        alerts_total=100,
        alerts_firing=100,
        lower_bound=True,
    )
    alerts = tuple(
        make_alert(i, labels=labels, summary=text, runbook_url=f"https://runbooks.example/<!here>|x&y {i}")
        for i in range(100)
    )
    return IncidentRecord(incident=incident, alerts=alerts, runs=tuple(runs), artifacts=())


def make_notification(
    kind: NotificationKind, *, lane: Lane = Lane.SLACK, attempts: int = 1, number: int = 1, **payload: Any
) -> Notification:
    return Notification(
        lane=lane,
        kind=kind,
        incident_id=None if kind is NotificationKind.TEST else 142,
        created_at=datetime.now(UTC),
        due_at=datetime.now(UTC),
        payload=payload,
        attempts=attempts,
        id=number,
    )
