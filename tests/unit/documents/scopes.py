"""One scope with values for the expression tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hdr_responder.documents.expressions import Scope
from hdr_responder.documents.scope import (
    AlertValues,
    IncidentValues,
    ScopeValues,
    StepOutcome,
    StepValues,
    base_scope,
    params_scope,
    step_scope,
)
from hdr_responder.domain.workloads import Workload
from tests.unit.documents.example_actions import Pod, ReleaseResult, Revision

WORKLOAD = Workload(cluster="prod-eu", namespace="hdr-empire", kind="deployment", name="neural-hdr")
ALERT = AlertValues(
    labels={"alertname": "HdrServiceDown", "pod": "p-1", "evil": "${params.count} {{x}}"},
    annotations={"summary": "down"},
    status="firing",
    fingerprint="f1",
    starts_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
INCIDENT = IncidentValues(
    ref="INC-1", title="down", service=None, priority="P1", cluster="prod-eu", problem="HdrServiceDown"
)
RELEASE = ReleaseResult(
    age=timedelta(minutes=3),
    ratio=0.5,
    previous=Revision(number=7, at=ALERT.starts_at),
    pods=(Pod(name="p-1", restarts=4, age=timedelta(minutes=90)), Pod(name="p-2", restarts=0, age=timedelta(days=2))),
)
EMPTY = ReleaseResult(age=None, ratio=None, previous=None)


def scope() -> Scope:
    params = params_scope({"workload": "workload", "fresh": "duration", "count": "int"})
    return base_scope().with_names(params | step_scope("release", ReleaseResult))


def values(release: ReleaseResult | None = RELEASE) -> dict[str, object]:
    outcome = StepOutcome.OK if release else StepOutcome.SKIPPED
    return ScopeValues(
        incident=INCIDENT,
        alert=ALERT,
        alerts=(ALERT,),
        params={"workload": WORKLOAD, "fresh": timedelta(minutes=30), "count": 3},
        steps={"release": StepValues(outcome=outcome, result=release)},
    ).mapping()
