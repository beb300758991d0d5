"""Where a playbook's expressions stand and what they read, for checks that look over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hdr_responder.documents.compiled import AnyStep, CompiledApproval, CompiledCall, CompiledStep
from hdr_responder.documents.expressions import Condition
from hdr_responder.documents.playbook_document import ParallelStep, Param
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.source import Loc
from hdr_responder.documents.templates import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One text with expressions; ``condition`` where it is a ``when``."""

    at: Loc
    names: frozenset[str]
    condition: Condition | None = None


def readings(playbook: CompiledPlaybook) -> Iterator[Reading]:
    """Return every place of a playbook that reads something; what the playbooks that it calls read is theirs."""
    for param in playbook.params:
        written = playbook.model.params[param.name]
        at: Loc = ("params", param.name, "default") if isinstance(written, Param) else ("params", param.name)
        yield from _template(at, param.default)
    compiled = {step.id: step for step in playbook.steps}
    for i, step in enumerate(playbook.model.steps):
        if isinstance(step, ParallelStep):
            inner = [(("steps", i, "parallel", j), compiled[s.id]) for j, s in enumerate(step.parallel)]
            group = inner[0][1]
            yield from _condition(("steps", i), group.group_when if isinstance(group, CompiledStep) else None)
            for at, each in inner:
                yield from _step(at, each)
        else:
            yield from _step(("steps", i), compiled[step.id])
    if playbook.verify:
        for i, check in enumerate(playbook.verify.checks):
            yield from _template(("verify", playbook.verify.need, i, check.name), check.with_.template)
    for i, reaction in enumerate(playbook.on_failure):
        yield from _template(("on_failure", i, "with"), reaction.with_.template)


def _step(at: Loc, step: AnyStep) -> Iterator[Reading]:
    yield from _condition(at, step.when)
    if isinstance(step, CompiledStep):
        yield from _template((*at, "with"), step.with_.template)
        yield from _template((*at, "for_each"), step.each.template if step.each else None)
    elif isinstance(step, CompiledCall):
        yield from _template((*at, "for_each"), step.each.template if step.each else None)
        for name, template in step.with_.items():
            yield from _template((*at, "with", name), template)
    elif isinstance(step, CompiledApproval):
        yield from _template((*at, "approve", "message"), step.message)


def _condition(at: Loc, condition: Condition | None) -> Iterator[Reading]:
    if condition:
        yield Reading(at=(*at, "when"), names=condition.expression.names, condition=condition)


def _template(at: Loc, template: Template | None) -> Iterator[Reading]:
    if template and template.names:
        yield Reading(at=at, names=template.names)
