"""Tells who changed a workload: who wrote which of its fields last, what happened to it, and who owns it."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.kubernetes.history import ago
from hdr_responder.actions.kubernetes.rights import rights, workload_rights
from hdr_responder.domain.ports.kubernetes import FieldWriter, ObjectEvent
from hdr_responder.domain.workloads import Workload

SHOWN_TEXT = 300
SHOWN_WRITERS = 50


class WhoChangedParameters(Parameters):
    """Of what to tell."""

    shorthand = "workload"
    workload: Workload
    events: int = Field(default=20, ge=0, le=100, description="Most events told, the latest ones.")


class Writer(Result):
    """Who wrote fields of the workload; a program gives itself its name."""

    manager: str
    operation: str = Field(description="Apply (server-side apply) or Update.")
    at: datetime | None = Field(description="When it last changed any of the fields.")
    fields: list[str] = Field(description="Such as spec.replicas or spec.template.")


class Happening(Result):
    """One Event about the workload."""

    at: datetime
    reason: str
    message: str
    source: str
    count: int


class WhoChangedResult(Result):
    """Who changed what."""

    writers: list[Writer] = Field(description="Latest first; those of the status are left out.")
    events: list[Happening] = Field(description="Latest first; the cluster keeps them for about an hour.")
    owner: str | None = Field(description="The GitOps object or the controller that puts changes of others back.")
    summary: str


class WhoChanged(Read[WhoChangedParameters, WhoChangedResult]):
    """Reads managed fields, events and marks of ownership."""

    name = "kubernetes.who_changed"
    summary = "Tell who wrote a workload's fields last, what happened to it, and which GitOps object owns it."
    example = """\
id: who
action: kubernetes.who_changed
with:
  workload: "${params.workload}"
"""
    parameters = WhoChangedParameters
    result = WhoChangedResult

    def permissions(self, params: WhoChangedParameters) -> tuple[Permission, ...]:
        """Return the rights to read the workload and the events of its namespace."""
        return (*workload_rights(params.workload, "get"), *rights(params.workload, "events", "list"))

    async def execute(self, ctx: StepContext, params: WhoChangedParameters) -> WhoChangedResult:
        """Read."""
        cluster = ctx.systems.cluster(params.workload.cluster)
        meta = (await cluster.workload(params.workload)).meta
        writers = [each for each in await cluster.field_writers(params.workload) if each.subresource != "status"]
        happened = (await cluster.events_about(meta))[: params.events]
        owner = meta.gitops or meta.controller
        return WhoChangedResult(
            writers=[_writer(each) for each in writers[:SHOWN_WRITERS]],
            events=[_happening(each) for each in happened],
            owner=owner,
            summary="; ".join(filter(None, [_last(writers, ctx.clock.now()), f"{owner} owns it" if owner else ""])),
        )


def _writer(found: FieldWriter) -> Writer:
    return Writer(manager=found.manager, operation=found.operation, at=found.at, fields=list(found.fields))


def _happening(found: ObjectEvent) -> Happening:
    return Happening(
        at=found.at,
        reason=found.reason[:SHOWN_TEXT],
        message=found.message[:SHOWN_TEXT],
        source=found.source[:SHOWN_TEXT],
        count=found.count,
    )


def _last(writers: list[FieldWriter], now: datetime) -> str:
    """Name whoever wrote the spec last; what writes the metadata alone is bookkeeping."""
    for each in writers:
        spec = [field for field in each.fields if field.startswith("spec.")]
        if spec and each.at is not None:
            wrote = ", ".join(spec) if len(spec) <= 3 else f"{len(spec)} fields of the spec"
            if "spec.template" in spec and len(spec) > 3:
                wrote += " (the template among them)"
            return f"{each.manager} wrote {wrote}, last {ago(max(now - each.at, timedelta(0)))}"
    return "nobody is recorded as having written the spec"
