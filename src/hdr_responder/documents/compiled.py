"""A playbook's parts with every expression compiled: what planner and executor work with.

A playbook is a tree: a step may call another playbook or hold steps that are done at the same time. A plan lists its
steps flat, and an id leads back into the tree: ``recover[1].restart`` is step ``restart`` of the playbook that step
``recover`` calls for its second entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from hdr_responder.actions.contract import AnyAction, AnyCheck, AnyMutation, Mutation, Parameters, Result, Undo
from hdr_responder.documents.arguments import Arguments
from hdr_responder.documents.expressions import CelType, Condition, ExpressionError
from hdr_responder.documents.playbook_document import MAX_ITEMS, ActionStep, ApproveStep, CallStep, Reaction, WaitStep
from hdr_responder.documents.templates import Template

if TYPE_CHECKING:
    from hdr_responder.documents.playbooks import CompiledPlaybook

ITEM = "item"
"""What expressions call the present entry of a ``for_each``."""
_SEGMENT = re.compile(r"([a-z][a-z0-9_]*)(?:\[([0-9]{1,4})\])?")


class EachResult(Result):
    """What a step gives that was done once for each entry of a list."""

    results: tuple[dict[str, JsonValue] | None, ...]
    """The result for each entry; null where it was skipped or failed."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a step's full id: a step and, where it is done for each entry, which entry."""

    id: str
    index: int | None

    def __str__(self) -> str:
        return self.id if self.index is None else f"{self.id}[{self.index}]"


def segments(full_id: str) -> tuple[Segment, ...]:
    """Return the parts of a full id; raises KeyError when it is none."""
    parts = [_SEGMENT.fullmatch(text) for text in full_id.split(".")]
    if not all(parts):
        raise KeyError(full_id)
    return tuple(Segment(p[1], None if p[2] is None else int(p[2])) for p in parts if p)


def frame_of(full_id: str) -> str:
    """Return the call that a step is in, as a full id; empty for the playbook's own steps."""
    return full_id.rpartition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """The list of a ``for_each``."""

    template: Template
    type: CelType
    """Type of an entry."""

    def items(self, values: Mapping[str, object]) -> list[object]:
        """Return the entries. Raises ExpressionError when it is no list or too long a one."""
        found = self.template.evaluate(values)
        if not isinstance(found, list | tuple):
            raise ExpressionError(f"for_each: {self.template.source} gives no list")
        if len(found) > MAX_ITEMS:
            raise ExpressionError(f"for_each: {len(found)} entries, at most {MAX_ITEMS} are done")
        return list(found)

    @property
    def depends_on_steps(self) -> frozenset[str]:
        """Ids of the steps that must have ended before the list is known."""
        return self.template.depends_on_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledStep:
    """An action; ``model`` is it as written."""

    model: ActionStep
    action: AnyAction
    when: Condition | None
    with_: Arguments
    each: Each | None = None
    group: str = ""
    """Id of the ``parallel`` step that holds it."""
    group_when: Condition | None = None

    @property
    def id(self) -> str:
        """The step's id."""
        return self.model.id

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What must hold for it to be done."""
        return tuple(c for c in (self.group_when, self.when) if c)

    @property
    def mutation(self) -> AnyMutation | None:
        """The action where it changes something, else None."""
        return self.action if isinstance(self.action, Mutation) else None

    @property
    def timeout(self) -> timedelta:
        """How long one try may take: the author's limit, else the action's own."""
        return self.model.timeout or timedelta(seconds=self.action.default_timeout_seconds)

    @property
    def undoes(self) -> bool:
        """Whether the change is put back when the run is undone."""
        mutation = self.mutation
        return mutation is not None and mutation.undoable is Undo.RESTORES and self.model.undo is None

    @property
    def ends_with_incident(self) -> bool:
        """Whether the change is put back when the incident is resolved."""
        return self.undoes and self.mutation is not None and self.mutation.ends_with_incident

    @property
    def depends_on_steps(self) -> frozenset[str]:
        """Ids of the earlier steps whose outcome or result this one reads."""
        return self.with_.depends_on_steps.union(*(c.depends_on_steps for c in self.conditions))

    def parameters(self, values: Mapping[str, object]) -> Parameters:
        """Return the action's typed parameters. Raises ExpressionError."""
        return self.with_.resolve(values)


class _Step:
    """What waits, questions and calls have alike."""

    __slots__ = ()
    model: WaitStep | ApproveStep | CallStep
    when: Condition | None

    @property
    def id(self) -> str:
        """The step's id."""
        return self.model.id

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What must hold for it to be done."""
        return (self.when,) if self.when else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledWait(_Step):
    """Time that passes."""

    model: WaitStep
    when: Condition | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledApproval(_Step):
    """A question to people."""

    model: ApproveStep
    when: Condition | None
    message: Template


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCall(_Step):
    """Another playbook's steps; ``with_`` gives its params."""

    model: CallStep
    when: Condition | None
    playbook: CompiledPlaybook
    with_: Mapping[str, Template]
    each: Each | None = None


AnyStep = CompiledStep | CompiledWait | CompiledApproval | CompiledCall


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCheck:
    """One criterion of ``verify``."""

    name: str
    check: AnyCheck
    with_: Arguments

    def parameters(self, values: Mapping[str, object]) -> Parameters:
        """Return the check's typed parameters. Raises ExpressionError."""
        return self.with_.resolve(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledVerify:
    """How one knows that it helped: ``need`` of the checks must hold for ``hold``, within ``within``."""

    within: timedelta
    hold: timedelta
    need: Literal["all", "any"]
    checks: tuple[CompiledCheck, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledReaction:
    """An action for when the run failed or did not help."""

    model: Reaction
    action: AnyAction
    with_: Arguments

    def parameters(self, values: Mapping[str, object]) -> Parameters:
        """Return the action's typed parameters. Raises ExpressionError."""
        return self.with_.resolve(values)
