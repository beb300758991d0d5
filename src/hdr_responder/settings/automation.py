"""How far automation may go in this environment, whatever the playbooks say."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import Field

from hdr_responder.domain.durations import Duration
from hdr_responder.domain.guards import Allowance, Allowances
from hdr_responder.domain.priorities import Priority
from hdr_responder.domain.runs import Mode
from hdr_responder.settings.kinds import Section

Runs = Annotated[int, Ge(1), Le(10_000)]
BudgetPeriod = Annotated[Duration, Gt(timedelta(0)), Le(timedelta(days=7))]


class ModeSettings(Section):
    """The most that automation may do, by environment."""

    development: Mode = Mode.AUTO
    """Cap in development."""
    staging: Mode = Mode.APPROVE
    """Cap in staging."""
    production: Mode = Mode.OBSERVE
    """Cap in production."""


class BudgetSettings(Section):
    """At most so many runs within a period."""

    runs: Runs
    """Runs with this effect that may start, of all playbooks together; what is over it goes to a person."""
    per: BudgetPeriod
    """The period, counted back from now."""

    @property
    def allowance(self) -> Allowance:
        """The same as the guards read it."""
        return Allowance(runs=self.runs, per=self.per)


class FleetBudgetSettings(BudgetSettings):
    """The same on whatever targets."""

    runs: Runs = 30
    """Runs that change something and may start, of all playbooks together; what is over it goes to a person."""
    per: BudgetPeriod = timedelta(hours=1)
    """The period, counted back from now."""


class BudgetsSettings(Section):
    """What all playbooks together may do."""

    fleet: FleetBudgetSettings = Field(default_factory=FleetBudgetSettings)
    """Runs on whatever targets."""
    effects: dict[str, BudgetSettings] = Field(default_factory=dict)
    """Runs by kind of effect: workload, replicas, network, sessions."""

    @property
    def allowances(self) -> Allowances:
        """The same as the guards read it."""
        return Allowances(fleet=self.fleet.allowance, effects={k: v.allowance for k, v in self.effects.items()})


class AutomationSettings(Section):
    """How much automation may do by itself."""

    modes: ModeSettings = Field(default_factory=ModeSettings)
    """Caps by environment; the stricter of the cap and the playbook's own mode holds."""
    priorities: dict[Priority, Mode] = Field(default_factory=dict)
    """Caps by the incident's priority, in every environment: ``{P1: approve}``; a priority not named has none."""
    budgets: BudgetsSettings = Field(default_factory=BudgetsSettings)
    """How often all playbooks together may act."""
