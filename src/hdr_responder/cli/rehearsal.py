"""What intake, triage, planning and guards would make of a delivery: in memory, asking nothing outside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hdr_responder.documents.catalogue import Documents
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.scope import ScopeValues
from hdr_responder.domain.deliveries import BadAlert, Delivery, parse
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.runs import Plan
from hdr_responder.engine.planner import Automation, Planner
from hdr_responder.engine.simulation import Beforehand, Forecast, forecast
from hdr_responder.engine.simulation.openings import RECEIVED_AT, openings, why_not
from hdr_responder.errors import ConflictError
from hdr_responder.settings import DEFAULT_SOURCE, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The plan, the incident that it is for, how many more would get one of their own, and unreadable alerts."""

    incident: Incident
    plan: Plan
    forecasts: tuple[Forecast, ...]
    others: int
    bad: tuple[BadAlert, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a rehearsal is done with; ``at`` is when the run would start, None where that shall not matter."""

    settings: Settings
    documents: Documents
    at: datetime | None = None

    @property
    def planner(self) -> Planner:
        """The planner of these documents in the settings' environment."""
        automation = Automation.of(self.settings)
        return Planner(services=self.documents.services, automation=automation)


def rehearse(setting: Setting, playbook: CompiledPlaybook, body: bytes) -> Rehearsal:
    """Plan a playbook for the first incident of a delivery that it is for.

    Raises InvalidInputError for a body that is no delivery, ConflictError saying why the playbook would not run, and
    PlanError when it cannot be planned.
    """
    parsed = parse(Delivery(id=0, source=DEFAULT_SOURCE, received_at=RECEIVED_AT, body=body))
    late_window = setting.settings.alertmanager.late_window
    opened = openings(setting.documents, parsed.events, late_window=late_window)
    planner = setting.planner
    applying = [(o, alerts) for o in opened if (alerts := o.alerts_for(playbook, planner))]
    if not applying:
        why = why_not(planner, setting.documents, playbook, opened)
        raise ConflictError(f"{playbook.name} would not run: {why}")
    opening, alerts = applying[0]
    plan = planner.plan(playbook, opening.incident, alerts)
    beforehand = Beforehand(
        planner=planner,
        calendar=setting.documents.calendar,
        allowances=setting.settings.automation.budgets.allowances,
        reach=setting.documents.services.reach,
        at=setting.at,
    )
    return Rehearsal(
        incident=opening.incident,
        plan=plan,
        forecasts=forecast(plan, opening.incident, beforehand),
        others=len(applying) - 1,
        bad=parsed.bad,
    )


def values_of(playbook: CompiledPlaybook, plan: Plan) -> dict[str, object]:
    """Return what the expressions of the playbook itself read before the first step."""
    context = ScopeValues.model_validate(plan.context)
    return context.model_copy(update={"params": playbook.load_params(plan.params)}).mapping()
