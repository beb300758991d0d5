"""What the real targets say to a plan: every change rehearsed there, every right asked for, nothing changed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from hdr_responder.actions.contract import AnyMutation, Evidence, Fence, Parameters, Permission, StepContext
from hdr_responder.app.systems import Outside, build_outside
from hdr_responder.cli.examination import NoStore
from hdr_responder.cli.rehearsal import Rehearsal, values_of
from hdr_responder.documents.compiled import CompiledStep
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.reach import Reach
from hdr_responder.domain.runs import Plan, PlannedStep
from hdr_responder.errors import HdrError, PermanentError
from hdr_responder.records.views import View
from hdr_responder.settings import Settings

_SECONDS = 30.0


class DryRunView(View):
    """What became of one step's rehearsal."""

    step: str
    ok: bool | None
    """null: it could not be rehearsed yet."""
    detail: str
    unreachable: bool = False
    """Nobody answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A step that changes something, with parameters that are all known."""

    planned: PlannedStep
    mutation: AnyMutation
    params: Parameters


async def rehearse_on_servers(
    settings: Settings, reach: Reach, playbook: CompiledPlaybook, rehearsal: Rehearsal
) -> tuple[DryRunView, ...]:
    """Rehearse every step that changes something, one after the other, each as if the others had not been done."""
    plan, incident = rehearsal.plan, rehearsal.incident
    outside = build_outside(settings, reach=reach, store=NoStore(), people=None, clock=SystemClock())
    try:
        return tuple([await _rehearsed(outside, found, incident) for found in _changes(playbook, plan)])
    finally:
        await outside.close()


def _changes(playbook: CompiledPlaybook, plan: Plan) -> Iterator[_Change | PlannedStep]:
    """Yield the changes; a step whose parameters are not known yet stands for itself."""
    values = values_of(playbook, plan)
    for planned in plan.steps:
        if not planned.mutates:
            continue
        compiled = playbook.find(planned.id)
        known = isinstance(compiled, CompiledStep) and not planned.awaits and "." not in planned.id
        if known and isinstance(compiled, CompiledStep) and compiled.mutation:
            params = compiled.parameters({**values, "item": planned.item})
            yield _Change(planned=planned, mutation=compiled.mutation, params=params)
        else:
            yield planned


async def _rehearsed(outside: Outside, found: _Change | PlannedStep, incident: Incident) -> DryRunView:
    if isinstance(found, PlannedStep):
        return DryRunView(step=found.id, ok=None, detail="it awaits what earlier steps give")
    try:
        async with asyncio.timeout(_SECONDS):
            missing = [
                str(right) for right in found.mutation.permissions(found.params) if not await _may(outside, right)
            ]
            if not missing:
                await found.mutation.dry_run(_context(outside, found.planned, incident), found.params)
    except (HdrError, TimeoutError) as error:
        unreachable = not isinstance(error, PermanentError)
        return DryRunView(
            step=found.planned.id, ok=False, detail=str(error) or "no answer in time", unreachable=unreachable
        )
    if missing:
        return DryRunView(step=found.planned.id, ok=False, detail=f"rights are missing: {'; '.join(missing)}")
    return DryRunView(step=found.planned.id, ok=True, detail="the target would take it, and all rights are there")


async def _may(outside: Outside, right: Permission) -> bool:
    match right.system:
        case "kubernetes":
            return await outside.systems.cluster(right.scope).may(right)
        case "postgres":
            outside.systems.database(right.scope)
            return not await outside.databases[right.scope].missing([right])
        case "redis":
            outside.systems.cache(right.scope)
            return not await outside.caches[right.scope].missing([right])
        case _:
            return True  # nobody can be asked beforehand: the rehearsal itself tells


def _context(outside: Outside, planned: PlannedStep, incident: Incident) -> StepContext:
    return StepContext(
        fence=Fence(run_id=uuid.uuid4(), token=0),
        step_id=planned.id,
        incident_ref=incident.ref,
        cluster=incident.cluster or None,
        systems=outside.systems,
        evidence=_NoEvidence(),
        clock=SystemClock(),
    )


class _NoEvidence(Evidence):
    """A rehearsal leaves none."""

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        """Refuse."""
        raise PermanentError(f"a rehearsal keeps no evidence ({name}, {media_type}, {len(content)} bytes)")
