"""The planner: playbook and incident become a plan, written down before anything is done.

What cannot be planned (a parameter that does not resolve, a target that no step can name) is told on the incident and
goes to a person; the incident exists either way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from hdr_responder.actions.contract import Parameters, Undo
from hdr_responder.documents.playbooks import CompiledPlaybook, CompiledStep
from hdr_responder.documents.scope import AlertValues, IncidentValues, ScopeValues
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.domain.alerts import Occurrence
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode, Plan, PlannedStep, PlannedTarget
from hdr_responder.errors import HdrError, PermanentError

_JSON: TypeAdapter[Any] = TypeAdapter(Any)


class PlanError(PermanentError):
    """The playbook cannot be planned for this incident; the message names the playbook's field and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """How much the environment lets playbooks do: the stricter of this cap and the playbook's own mode holds."""

    environment: str
    cap: Mode


class Planner:
    """Writes plans; offline and without a clock, so the same input always gives the same plan."""

    def __init__(self, *, services: ServiceCatalogue, automation: Automation) -> None:
        self._services = services
        self._automation = automation

    @property
    def cap(self) -> Mode:
        """The most that the environment allows."""
        return self._automation.cap

    def choose(
        self, playbooks: Sequence[CompiledPlaybook], alerts: Sequence[Occurrence], priority: Priority
    ) -> tuple[CompiledPlaybook, Occurrence] | None:
        """Return the first playbook that applies to one of the alerts, with that alert."""
        for playbook in playbooks:
            for alert in alerts:
                if playbook.applies_to(alert.labels, priority, self._automation.environment):
                    return playbook, alert
        return None

    def plan(
        self,
        playbook: CompiledPlaybook,
        incident: Incident,
        alerts: Sequence[Occurrence],
        given: Mapping[str, object] | None = None,
    ) -> Plan:
        """Write the plan; the first of ``alerts`` is what started it (none when a person did).

        ``given`` are params that a person chose. Raises PlanError when a parameter does not resolve or a step cannot be
        bound.
        """
        context = scope_values(incident, alerts, self._services)
        try:
            params = playbook.resolve_params(context.mapping(), given)
        except HdrError as error:
            raise PlanError(f"{playbook.name}: {error}") from error
        values = context.model_copy(update={"params": params}).mapping()
        mode, reason = self._mode(playbook, incident)
        return Plan(
            playbook=playbook.name,
            digest=playbook.digest,
            summary=playbook.model.metadata.summary,
            mode=mode,
            mode_reason=reason,
            params=playbook.dump_params(params),
            steps=tuple(_planned(playbook, step, values) for step in playbook.steps),
            verify=_verify_lines(playbook),
            document=playbook.to_json(),
            context=context.model_dump(mode="json"),
        )

    def _mode(self, playbook: CompiledPlaybook, incident: Incident) -> tuple[Mode, str]:
        guards = playbook.model.guards
        mode, reason = guards.mode, f"the playbook's mode is {guards.mode}"
        if self._automation.cap.stricter(mode) is not mode:
            mode = self._automation.cap
            reason = f"environment {self._automation.environment} allows no more than {mode}"
        if mode is Mode.AUTO and incident.priority in guards.approval.required_for:
            mode, reason = Mode.APPROVE, f"approval is required for {incident.priority}"
        return mode, reason


def scope_values(incident: Incident, alerts: Sequence[Occurrence], services: ServiceCatalogue) -> ScopeValues:
    """Return what expressions of this incident can read, without params and steps."""
    service = services.by_name(incident.service)
    listed = tuple(_alert(a) for a in alerts)
    return ScopeValues(
        incident=IncidentValues(
            ref=incident.ref,
            title=incident.title,
            service=incident.service or None,
            priority=incident.priority,
            cluster=incident.cluster or None,
            problem=incident.problem,
        ),
        alert=listed[0] if listed else None,
        alerts=listed,
        service=service.values(incident.cluster or None) if service else None,
    )


def _alert(occurrence: Occurrence) -> AlertValues:
    return AlertValues(
        labels=dict(occurrence.labels),
        annotations=dict(occurrence.annotations),
        status=occurrence.status,
        fingerprint=occurrence.fingerprint,
        starts_at=occurrence.starts_at,
    )


def _verify_lines(playbook: CompiledPlaybook) -> tuple[str, ...]:
    if playbook.verify is None:
        return ()
    written = playbook.model.verify.checks if playbook.model.verify else ()
    return tuple(f"{name}: {json.dumps(params)}" for check in written for name, params in check.items())


def _planned(playbook: CompiledPlaybook, step: CompiledStep, values: Mapping[str, object]) -> PlannedStep:
    known, awaits = _known_parameters(playbook, step, values)
    params = None
    try:
        params = None if awaits else step.parameters(values)
        target = _target(step, params or step.action.parameters.model_construct(**known))
    except HdrError as error:
        raise PlanError(f"{playbook.name}: step {step.id}: {error}") from error
    shown = params.model_dump(mode="json") if params is not None else _JSON.dump_python(known, mode="json")
    return PlannedStep(
        id=step.id,
        action=step.action.name,
        summary=step.action.summary,
        mutates=step.action.mutates,
        parameters={**{k: step.with_.template.source[k] for k in awaits}, **shown},
        awaits=awaits,
        when=step.when.text if step.when else None,
        target=target,
        permissions=tuple(str(p) for p in step.action.permissions(params)) if params is not None else (),
        undo=_undo(step),
        undo_after_seconds=step.model.for_.total_seconds() if step.model.for_ else None,
    )


def _known_parameters(
    playbook: CompiledPlaybook, step: CompiledStep, values: Mapping[str, object]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Resolve what can be resolved before the run; the names of the others are returned beside it."""
    known: dict[str, Any] = {}
    awaits: list[str] = []
    for name, template in step.with_.template.fields.items():
        if template.depends_on_steps:
            awaits.append(name)
            continue
        try:
            known[name] = template.evaluate(values)
        except HdrError as error:
            raise PlanError(f"{playbook.name}: step {step.id}: {name}: {error}") from error
    return known, tuple(awaits)


def _target(step: CompiledStep, params: Parameters) -> PlannedTarget | None:
    """Return what the step locks, from what is known before the run."""
    if step.mutation is None:
        return None
    try:
        target = step.mutation.target(params)
    except AttributeError as error:
        raise PlanError("what it locks depends on an earlier step; it must be known when it is planned") from error
    return PlannedTarget(key=target.key, effect_group=target.effect_group, title=target.title)


def _undo(step: CompiledStep) -> str:
    if step.mutation is None:
        return ""
    if not step.undoes:
        return "cannot be taken back" if step.mutation.undoable is Undo.NONE else "stays"
    after = step.model.for_
    return f"taken back after {format_duration(after)}" if after else "taken back if it does not help"
