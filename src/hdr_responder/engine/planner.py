"""The planner: playbook and incident become a plan, written down before anything is done.

What cannot be planned (a parameter that does not resolve, a target that no step can name) is told on the incident and
goes to a person; the incident exists either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.scope import AlertValues, IncidentValues, ScopeValues
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.documents.wording import check_lines
from hdr_responder.domain.alerts import Occurrence
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode, Plan
from hdr_responder.engine.unfolding import PlanError, unfold
from hdr_responder.errors import HdrError, InvalidInputError
from hdr_responder.settings import Settings

__all__ = ["Automation", "PlanError", "Planner", "scope_values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """How much the environment lets playbooks do: the stricter of this cap and the playbook's own mode holds."""

    environment: str
    cap: Mode
    priorities: Mapping[Priority, Mode] = field(default_factory=dict)
    """Caps by the incident's priority."""

    @classmethod
    def of(cls, settings: Settings) -> Automation:
        """Return what the settings allow."""
        return cls(environment=settings.environment, cap=settings.mode_cap, priorities=settings.automation.priorities)

    def capped(self, mode: Mode, priority: Priority) -> tuple[Mode, str | None]:
        """Return how much of a mode is allowed, and what allows no more where that is less."""
        cap, why = self.cap, f"environment {self.environment} allows no more than {self.cap}"
        special = self.priorities.get(priority, Mode.AUTO)
        if cap.stricter(special) is not cap:
            cap, why = special, f"for {priority} no more than {special} is allowed"
        return (mode, None) if mode.stricter(cap) is mode else (cap, why)


class Planner:
    """Writes plans; offline and without a clock, so the same input always gives the same plan."""

    def __init__(self, *, services: ServiceCatalogue, automation: Automation) -> None:
        self._services = services
        self._automation = automation

    def cap(self, priority: Priority) -> Mode:
        """The most that the environment allows for incidents of a priority."""
        return self._automation.capped(Mode.AUTO, priority)[0]

    @property
    def environment(self) -> str:
        """Where it runs."""
        return self._automation.environment

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

        ``given`` are params that a person chose, None when nobody did. Raises PlanError when a parameter does not
        resolve or a step cannot be bound, InvalidInputError when a person gave a wrong one.
        """
        context = scope_values(incident, alerts, self._services)
        try:
            params = playbook.resolve_params(context.mapping(), given)
        except InvalidInputError as error:
            if given is not None:
                raise
            raise PlanError(f"{playbook.name}: {error}") from error
        except HdrError as error:
            raise PlanError(f"{playbook.name}: {error}") from error
        known = context.model_copy(update={"params": params})
        unfolded = unfold(playbook, known)
        mode, reason = self._mode(playbook, incident)
        return Plan(
            playbook=playbook.name,
            digest=playbook.digest,
            summary=playbook.model.metadata.summary,
            mode=mode,
            mode_reason=reason,
            params=playbook.dump_params(params),
            steps=tuple(unfolded.steps),
            frames=unfolded.frames,
            verify=check_lines(playbook, known.mapping()),
            document=playbook.to_json(),
            context=context.model_dump(mode="json"),
        )

    def _mode(self, playbook: CompiledPlaybook, incident: Incident) -> tuple[Mode, str]:
        """Return the strictest of the playbook's mode, those of the playbooks that it calls, and the environment's."""
        guards = playbook.model.guards
        mode, reason = guards.mode, f"the playbook's mode is {guards.mode}"
        for name, called in playbook.called.items():
            if mode.stricter(called.model.guards.mode) is not mode:
                mode, reason = called.model.guards.mode, f"it calls {name}, whose mode is {called.model.guards.mode}"
        mode, less = self._automation.capped(mode, incident.priority)
        reason = less or reason
        rules = [guards.approval, *(called.model.guards.approval for called in playbook.called.values())]
        if mode is Mode.AUTO and any(incident.priority in rule.required_for for rule in rules):
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
