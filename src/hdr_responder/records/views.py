"""Records as others read them: the API's answers, `--json` of the command line and the OpenAPI description share these.

Field names are public: they may be added to, never renamed. Times are UTC in RFC 3339.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from hdr_responder.domain.alerts import AlertStatus, Occurrence
from hdr_responder.domain.deliveries import Delivery
from hdr_responder.domain.guards import Hold
from hdr_responder.domain.incidents import Incident, IncidentStatus, format_ref
from hdr_responder.domain.ports.records import IncidentRecord, Page
from hdr_responder.domain.ports.store import Artifact
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import (
    GuardVerdict,
    Mode,
    Plan,
    PlannedStep,
    Run,
    RunStatus,
    Step,
    StepStatus,
    Verification,
)
from hdr_responder.domain.timeline import EntryKind, TimelineEntry


class View(BaseModel):
    """A record as others read it."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True, use_attribute_docstrings=True)


V = TypeVar("V", bound=View)
T = TypeVar("T")


class ListView(View, Generic[V]):
    """One page of a listing."""

    items: tuple[V, ...]
    next_cursor: str | None
    """Give it as `cursor` to get the next page; null at the end."""


class AlertView(View):
    """One occurrence of an alert, from firing to resolved."""

    source: str
    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    generator_url: str
    status: AlertStatus
    starts_at: datetime
    ends_at: datetime | None
    seen_firing: bool
    """False when only its resolve ever came."""
    uncertain: bool
    """It could not be told whether it is new or a late copy."""
    first_received_at: datetime
    last_received_at: datetime
    received_count: int


class ApprovalView(View):
    """One person's word on a run."""

    person: str
    decision: Literal["approve", "deny"]
    at: datetime


class StepView(View):
    """One action of a run."""

    id: str
    position: int
    action: str
    status: StepStatus
    parameters: dict[str, JsonValue]
    result: dict[str, JsonValue] | None
    error: str | None
    started_at: datetime | None
    ended_at: datetime | None
    undo_at: datetime | None
    """When a temporary change is undone."""
    undone: str | None
    """How its undoing ended."""


class PlanView(View):
    """What a run does, as it was written down before it began."""

    digest: str
    summary: str
    mode: Mode
    mode_reason: str
    params: dict[str, JsonValue]
    steps: tuple[PlannedStep, ...]
    verify: tuple[str, ...]
    verdicts: tuple[GuardVerdict, ...]


class RunSummary(View):
    """One execution of a playbook."""

    id: uuid.UUID
    incident: str
    episode: int
    playbook: str
    mode: Mode
    status: RunStatus
    reason: str
    """Why it stands where it stands."""
    verification: Verification
    requested_by: str | None
    """The person who asked for it; null when an alert did."""
    cancel_requested_by: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    approvals: tuple[ApprovalView, ...]


class RunView(RunSummary):
    """A run with its plan and steps."""

    plan: PlanView
    steps: tuple[StepView, ...]


class ArtifactView(View):
    """Evidence kept with an incident; its bytes are at `/api/v1/incidents/{ref}/artifacts/{id}`."""

    id: uuid.UUID
    run_id: uuid.UUID | None
    step_id: str
    name: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime


class IncidentSummary(View):
    """An incident."""

    ref: str
    title: str
    cluster: str
    service: str
    problem: str
    priority: Priority
    priority_rule: str
    priority_reason: str
    priority_set_by: str | None
    """The person who set the priority; null when triage did."""
    status: IncidentStatus
    started_at: datetime
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    mitigated_at: datetime | None
    resolved_at: datetime | None
    resolved_by: str | None
    closed_at: datetime | None
    paged_at: datetime | None
    commander: str | None
    episode: int
    """How often it has begun, reopenings included."""
    alerts_total: int
    alerts_firing: int
    alerts_lower_bound: bool
    """The counts are lower bounds: Alertmanager left alerts out of its messages."""


class IncidentView(IncidentSummary):
    """An incident with its first 100 alerts, its runs and its artifacts."""

    alerts: tuple[AlertView, ...]
    runs: tuple[RunView, ...]
    artifacts: tuple[ArtifactView, ...]


class TimelineEntryView(View):
    """One entry of an incident's append-only account."""

    id: int
    at: datetime
    kind: EntryKind
    actor: str
    summary: str
    detail: dict[str, JsonValue]
    run_id: uuid.UUID | None


class DeliverySummary(View):
    """One inbound request."""

    id: int
    source: str
    received_at: datetime
    status: str
    error: str | None


class DeliveryView(DeliverySummary):
    """One inbound request with its body as it came: as text, or in base64 where it is not UTF-8."""

    body: str | None
    body_base64: str | None


class PauseView(View):
    """The pause switch, and what was still in flight when it was set."""

    paused: bool
    runs_in_flight: tuple[RunSummary, ...] = ()


class HoldView(View):
    """A service that automation keeps away from."""

    service: str
    until: datetime
    by: str
    reason: str


def page_view(page: Page[T], view: Callable[[T], V]) -> ListView[V]:
    """Return a page with each item as ``view`` shows it."""
    return ListView(items=tuple(view(item) for item in page.items), next_cursor=page.next_cursor)


def incident_summary(incident: Incident) -> IncidentSummary:
    """Return an incident as listings show it."""
    return IncidentSummary(
        ref=incident.ref,
        title=incident.title,
        cluster=incident.cluster,
        service=incident.service,
        problem=incident.problem,
        priority=incident.priority,
        priority_rule=incident.priority_rule,
        priority_reason=incident.priority_reason,
        priority_set_by=incident.priority_set_by,
        status=incident.status,
        started_at=incident.started_at,
        opened_at=incident.opened_at,
        acknowledged_at=incident.acknowledged_at,
        acknowledged_by=incident.acknowledged_by,
        mitigated_at=incident.mitigated_at,
        resolved_at=incident.resolved_at,
        resolved_by=incident.resolved_by,
        closed_at=incident.closed_at,
        paged_at=incident.paged_at,
        commander=incident.commander,
        episode=incident.episode,
        alerts_total=incident.alerts_total,
        alerts_firing=incident.alerts_firing,
        alerts_lower_bound=incident.lower_bound,
    )


def incident_view(record: IncidentRecord) -> IncidentView:
    """Return an incident with its details."""
    return IncidentView(
        **dict(incident_summary(record.incident)),
        alerts=tuple(alert_view(a) for a in record.alerts),
        runs=tuple(run_view(run, steps) for run, steps in record.runs),
        artifacts=tuple(artifact_view(a) for a in record.artifacts),
    )


def alert_view(alert: Occurrence) -> AlertView:
    """Return an occurrence."""
    return AlertView.model_validate(alert)


def run_summary(run: Run) -> RunSummary:
    """Return a run as listings show it."""
    return RunSummary(
        id=run.id,
        incident=format_ref(run.incident_id),
        episode=run.episode,
        playbook=run.playbook,
        mode=run.mode,
        status=run.status,
        reason=run.reason,
        verification=run.verification,
        requested_by=run.requested_by,
        cancel_requested_by=run.cancel_requested_by,
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        expires_at=run.expires_at,
        approvals=tuple(ApprovalView.model_validate(a) for a in run.approvals),
    )


def run_view(run: Run, steps: Iterable[Step]) -> RunView:
    """Return a run with its plan and steps."""
    return RunView(**dict(run_summary(run)), plan=plan_view(run.plan), steps=tuple(step_view(s) for s in steps))


def plan_view(plan: Plan) -> PlanView:
    """Return a plan without the playbook's source and the alert it was made from, which have places of their own."""
    return PlanView.model_validate(plan)


def step_view(step: Step) -> StepView:
    """Return a step."""
    return StepView(
        id=step.step_id,
        position=step.position,
        action=step.action,
        status=step.status,
        parameters=step.parameters,
        result=step.result,
        error=step.error,
        started_at=step.started_at,
        ended_at=step.ended_at,
        undo_at=step.undo_at,
        undone=step.undone,
    )


def timeline_entry_view(entry: TimelineEntry) -> TimelineEntryView:
    """Return a timeline entry."""
    return TimelineEntryView.model_validate(entry)


def artifact_view(artifact: Artifact) -> ArtifactView:
    """Return an artifact's record."""
    return ArtifactView(
        id=artifact.id,
        run_id=artifact.run_id,
        step_id=artifact.step_id,
        name=artifact.name,
        media_type=artifact.media_type,
        size=artifact.size,
        sha256=artifact.sha256.hex(),
        created_at=artifact.created_at,
    )


def delivery_summary(delivery: Delivery) -> DeliverySummary:
    """Return a delivery as listings show it."""
    return DeliverySummary.model_validate(delivery)


def delivery_view(delivery: Delivery) -> DeliveryView:
    """Return a delivery with its body."""
    text: str | None = None
    encoded: str | None = None
    try:
        text = delivery.body.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(delivery.body).decode()
    return DeliveryView(**dict(delivery_summary(delivery)), body=text, body_base64=encoded)


def hold_view(hold: Hold) -> HoldView:
    """Return a hold."""
    return HoldView.model_validate(hold)
