"""A run's frozen documents: what it began with is what it ends with, whatever the files say now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from hdr_responder.actions.contract import Registry
from hdr_responder.documents.compiled import AnyStep, CompiledCall, CompiledStep, EachResult, frame_of, segments
from hdr_responder.documents.compiling import thaw
from hdr_responder.documents.expressions import Condition
from hdr_responder.documents.scope import ScopeValues, StepOutcome, StepValues
from hdr_responder.domain.runs import PlannedStep, Run, Step, StepStatus

_OUTCOMES = {
    StepStatus.SUCCEEDED: StepOutcome.OK,
    StepStatus.FAILED: StepOutcome.FAILED,
    StepStatus.SKIPPED: StepOutcome.SKIPPED,
}


class FrozenRun:
    """Playbook, context and outcomes of one run."""

    def __init__(self, run: Run, registry: Registry) -> None:
        self.playbook = thaw(run.plan.document, registry)
        self.run = run
        """The run, as it was last seen."""
        self._plan = run.plan
        self._planned = {s.id: s for s in run.plan.steps}
        self._context = ScopeValues.model_validate(run.plan.context)

    @property
    def cluster(self) -> str | None:
        """The incident's cluster label."""
        return self._context.incident.cluster

    @property
    def incident_ref(self) -> str:
        """The incident's reference."""
        return self._context.incident.ref

    def planned(self, full_id: str) -> PlannedStep:
        """Return a step as it was planned."""
        return self._planned[full_id]

    def values(self, steps: Sequence[Step], frame: str = "", item: JsonValue = None) -> dict[str, object]:
        """Return what expressions in a frame read after these steps of the run."""
        playbook = self.playbook.within(frame)
        params = self._plan.frames[frame].params if frame else self._plan.params
        outcomes = {name: self._outcome(playbook.find(name), rows) for name, rows in _own(steps, frame).items()}
        update = {"params": playbook.load_params(params), "steps": outcomes, "item": item}
        return self._context.model_copy(update=update).mapping()

    def values_for(self, full_id: str, before: Sequence[Step]) -> dict[str, object]:
        """Return what the expressions of one step read, after the steps ``before`` it."""
        return self.values(before, frame_of(full_id), self._planned[full_id].item)

    def unmet(self, full_id: str, before: Sequence[Step]) -> Condition | None:
        """Return the first condition of the step, or of a call around it, that is false. Raises ExpressionError."""
        parts = full_id.split(".")
        for depth in range(1, len(parts)):
            call = ".".join(parts[:depth])
            values = self.values(_until(before, call), frame_of(call), self._plan.frames[call].item)
            if unmet := _first_false(self.playbook.find(call).conditions, values):
                return unmet
        return _first_false(self.playbook.find(full_id).conditions, self.values_for(full_id, before))

    def _outcome(self, compiled: AnyStep, rows: Sequence[Step]) -> StepValues:
        if isinstance(compiled, CompiledCall):
            return StepValues(outcome=_together(rows))
        if not isinstance(compiled, CompiledStep):
            return StepValues(outcome=_OUTCOMES.get(rows[0].status))
        if compiled.each is None:
            result = compiled.action.result.model_validate(rows[0].result) if rows[0].result is not None else None
            return StepValues(outcome=_OUTCOMES.get(rows[0].status), result=result)
        if compiled.mutation is None:
            result = EachResult.model_validate(rows[0].result) if rows[0].result is not None else None
            return StepValues(outcome=_OUTCOMES.get(rows[0].status), result=result)
        return StepValues(outcome=_together(rows), result=EachResult(results=tuple(r.result for r in rows)))


def _own(steps: Iterable[Step], frame: str) -> dict[str, list[Step]]:
    """Return the steps of a frame by their own id; those of calls and of lists together."""
    prefix = f"{frame}." if frame else ""
    found: dict[str, list[Step]] = {}
    for step in steps:
        if step.step_id.startswith(prefix):
            own = segments(step.step_id.removeprefix(prefix))[0]
            found.setdefault(own.id, []).append(step)
    return found


def _until(steps: Sequence[Step], call: str) -> list[Step]:
    """Return the steps before a call began."""
    return [s for s in steps if not s.step_id.startswith(f"{call}.")]


def _first_false(conditions: Sequence[Condition], values: Mapping[str, object]) -> Condition | None:
    return next((c for c in conditions if not c.evaluate(values)), None)


def _together(rows: Sequence[Step]) -> StepOutcome | None:
    """Return how several steps ended as one: failed if any did, skipped if all were."""
    outcomes = {_OUTCOMES.get(r.status) for r in rows}
    if None in outcomes:
        return None
    if StepOutcome.FAILED in outcomes:
        return StepOutcome.FAILED
    return StepOutcome.OK if StepOutcome.OK in outcomes else StepOutcome.SKIPPED
