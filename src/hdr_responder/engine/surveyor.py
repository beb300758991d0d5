"""Looks at the outside just before a run starts: what its steps would take away, and what its service stands on.

Asking takes time and may fail, so it is done without locks; the guards judge the answers in the transaction that starts
the run. What could not be asked is said as such, and the guards that need the answer refuse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog
from pydantic import ValidationError

from hdr_responder.actions.contract import AnyMutation, Mutation, Parameters, Registry
from hdr_responder.documents.partial import partial_parameters
from hdr_responder.domain.alerts import Presence
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.domain.runs import PlannedStep, Run, Step, StepStatus
from hdr_responder.domain.survey import DependencyHealth, Survey, SurveyedStep, TargetSurvey
from hdr_responder.engine.health import HealthDesk
from hdr_responder.errors import HdrError, NotFoundError, PermanentError

log = structlog.get_logger(__name__)

SURVEY_TIMEOUT_SECONDS = 10.0
"""For one step."""
TARGETS_AT_ONCE = 8

_TO_COME = frozenset({StepStatus.PENDING})


class Outlook(Protocol):
    """Whoever can tell what surrounds a run: the surveyor, or in a simulation somebody who assumes it."""

    async def survey(self, run: Run, steps: Sequence[Step], incident: Incident, presence: Presence) -> Survey:
        """Return what was found."""


class Surveyor:
    """Surveys runs."""

    def __init__(self, *, registry: Registry, systems: Systems, health: HealthDesk) -> None:
        self._registry = registry
        self._systems = systems
        self._health = health
        self._at_once = asyncio.Semaphore(TARGETS_AT_ONCE)

    async def survey(self, run: Run, steps: Sequence[Step], incident: Incident, presence: Presence) -> Survey:
        """Ask about all that the run has still to do; never raises for what cannot be asked."""
        over = {s.step_id for s in steps if s.status not in _TO_COME}
        ahead = [s for s in run.plan.steps if s.mutates and s.id not in over]
        done = [s for s in run.plan.steps if s.mutates and s.id in over]
        looked, dependencies = await asyncio.gather(
            asyncio.gather(*(self._look(step) for step in ahead)), self._dependencies(ahead, incident)
        )
        nothing = [SurveyedStep(step_id=s.id, target=_title(s), found=TargetSurvey()) for s in done]
        return Survey(presence=presence, steps=(*looked, *nothing), dependencies=dependencies)

    async def _dependencies(self, ahead: Sequence[PlannedStep], incident: Incident) -> tuple[DependencyHealth, ...]:
        waiting = [s for s in ahead if not isinstance(a := self._action(s), Mutation) or a.awaits_dependencies]
        return await self._health.below(incident.service, incident.cluster or None) if waiting else ()

    async def _look(self, step: PlannedStep) -> SurveyedStep:
        """Look at one step's target; one that does not exist has nothing to lose, and the rehearsal will say so."""
        found, problem = None, ""
        try:
            async with self._at_once, asyncio.timeout(SURVEY_TIMEOUT_SECONDS):
                found = await self._found(step)
        except NotFoundError:
            found = TargetSurvey()
        except TimeoutError:
            problem = f"no answer within {SURVEY_TIMEOUT_SECONDS:g} s"
        except HdrError as error:
            problem = str(error)
        except Exception as error:
            log.exception("survey_crashed", action=step.action)
            problem = f"unexpected {type(error).__name__}"
        return SurveyedStep(step_id=step.id, target=_title(step), found=found, problem=problem)

    async def _found(self, step: PlannedStep) -> TargetSurvey:
        action = self._action(step)
        if not isinstance(action, Mutation):
            raise PermanentError(f"no action {step.action!r} that changes something is known")
        try:
            params = _known(action, step)
        except ValidationError as error:
            raise PermanentError(f"its parameters cannot be read: {error.error_count()} are refused") from error
        return await action.survey(self._systems, params)

    def _action(self, step: PlannedStep) -> AnyMutation | None:
        action = self._registry.actions.get(step.action)
        return action if isinstance(action, Mutation) else None


def _title(step: PlannedStep) -> str:
    return step.target.title if step.target else step.id


def _known(action: AnyMutation, step: PlannedStep) -> Parameters:
    """Return a step's typed parameters, without those that an earlier step will give."""
    if not step.awaits:
        params: Parameters = action.parameters.model_validate(step.parameters)
        return params
    known = {key: value for key, value in step.parameters.items() if key not in step.awaits}
    return partial_parameters(action.parameters, known, step.awaits)
