"""Records to store, with everything that a test does not care about filled in."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hdr_responder.adapters.store.database import PostgresStore
from hdr_responder.domain.alerts import AlertStatus, Occurrence
from hdr_responder.domain.incidents import Incident, IncidentStatus
from hdr_responder.domain.notifications import Lane, Notification, NotificationKind
from hdr_responder.domain.ports.store import Transaction
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode, Plan, PlannedStep, PlannedTarget, Run, RunStatus, Step

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def incident(key: str = "k1", **values: object) -> Incident:
    sample = Incident(
        key=key,
        cluster="prod",
        service="neural-hdr",
        problem="HdrServiceDown",
        title="HDR service is down",
        priority=Priority.P1,
        priority_rule="down",
        priority_reason="the service does not answer",
        status=IncidentStatus.TRIGGERED,
        started_at=NOW,
        opened_at=NOW,
    )
    return replace(sample, **values)  # type: ignore[arg-type]


def occurrence(fingerprint: str = "f1", **values: object) -> Occurrence:
    sample = Occurrence(
        source="am",
        fingerprint=fingerprint,
        labels={"alertname": "HdrServiceDown", "severity": "critical"},
        annotations={"summary": "down"},
        generator_url="http://prometheus/graph",
        status=AlertStatus.FIRING,
        starts=(NOW,),
        ends_at=None,
        seen_firing=True,
        first_received_at=NOW,
        last_received_at=NOW,
    )
    return replace(sample, **values)  # type: ignore[arg-type]


def plan(*keys: str, group: str = "restart") -> Plan:
    return Plan(
        playbook="restart",
        digest="d",
        summary="restart it",
        mode=Mode.AUTO,
        mode_reason="as written",
        params={"fresh": 1},
        steps=tuple(
            PlannedStep(
                id=f"s{position}",
                action="kubernetes.rollout_restart",
                summary="restart",
                mutates=True,
                parameters={"name": key},
                target=PlannedTarget(key=key, effect_group=group, title=key),
            )
            for position, key in enumerate(keys)
        ),
        verify=(),
        document={},
        context={},
    )


def run(incident_id: int, *keys: str, **values: object) -> Run:
    sample = Run(
        id=uuid.uuid4(),
        incident_id=incident_id,
        episode=1,
        playbook="restart",
        mode=Mode.AUTO,
        status=RunStatus.HELD,
        plan=plan(*keys),
        created_at=NOW,
        requested_by="anna",
    )
    return replace(sample, **values)  # type: ignore[arg-type]


def step(of: Run, position: int = 0, **values: object) -> Step:
    sample = Step(run_id=of.id, position=position, step_id=f"s{position}", action="kubernetes.rollout_restart")
    return replace(sample, **values)  # type: ignore[arg-type]


def notification(incident_id: int | None, kind: NotificationKind, **values: object) -> Notification:
    sample = Notification(lane=Lane.SLACK, kind=kind, incident_id=incident_id, created_at=NOW, due_at=NOW)
    return replace(sample, **values)  # type: ignore[arg-type]


async def stored_incident(tx: Transaction, key: str = "k1", **values: object) -> Incident:
    new = incident(key, **values)
    await tx.incidents.insert([new])
    return new


async def stored_run(store: PostgresStore, *keys: str, **values: object) -> Run:
    """A run of an incident of its own."""
    async with store.transaction() as tx:
        opened = await stored_incident(tx, key=uuid.uuid4().hex)
        new = run(opened.id, *keys, **values)
        assert await tx.runs.insert(new, [step(new, position) for position in range(len(keys))])
    return new
