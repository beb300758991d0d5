"""A run's frozen documents: what it began with is what it ends with, whatever the files say now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hdr_responder.actions.contract import Registry
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.scope import ScopeValues, StepOutcome, StepValues
from hdr_responder.domain.runs import Run, Step, StepStatus

_OUTCOMES = {
    StepStatus.SUCCEEDED: StepOutcome.OK,
    StepStatus.FAILED: StepOutcome.FAILED,
    StepStatus.SKIPPED: StepOutcome.SKIPPED,
}


class FrozenRun:
    """Playbook, context and outcomes of one run."""

    def __init__(self, run: Run, registry: Registry) -> None:
        self.playbook = CompiledPlaybook.from_json(run.plan.document, registry)
        self._context = ScopeValues.model_validate(run.plan.context)
        self._params = self.playbook.load_params(run.plan.params)

    @property
    def cluster(self) -> str | None:
        """The incident's cluster label."""
        return self._context.incident.cluster

    @property
    def incident_ref(self) -> str:
        """The incident's reference."""
        return self._context.incident.ref

    def values(self, steps: Sequence[Step]) -> Mapping[str, object]:
        """Return what expressions read after these steps."""
        outcomes = {s.step_id: self._step(s) for s in steps}
        return self._context.model_copy(update={"params": self._params, "steps": outcomes}).mapping()

    def _step(self, step: Step) -> StepValues:
        action = self.playbook.step(step.step_id).action
        result = action.result.model_validate(step.result) if step.result is not None else None
        return StepValues(outcome=_OUTCOMES.get(step.status), result=result)
