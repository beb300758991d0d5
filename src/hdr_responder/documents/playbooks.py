"""A playbook ready to run: what it says, with every expression compiled and every action found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from hdr_responder.documents.compiled import (
    AnyStep,
    CompiledCall,
    CompiledReaction,
    CompiledStep,
    CompiledVerify,
    segments,
)
from hdr_responder.documents.params import CompiledParam, to_json
from hdr_responder.documents.playbook_document import (
    Playbook,
)
from hdr_responder.domain.matchers import Labels, MatcherSet
from hdr_responder.domain.priorities import Priority
from hdr_responder.errors import InvalidInputError

CALLED = "called"
"""Key of a frozen playbook that holds the playbooks that it calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPlaybook:
    """A playbook; ``digest`` is the SHA-256 of its canonical JSON, so that a plan says which version it froze."""

    name: str
    digest: str
    model: Playbook
    matchers: MatcherSet | None
    """None: no alert starts it."""
    params: tuple[CompiledParam, ...]
    steps: tuple[AnyStep, ...]
    verify: CompiledVerify | None
    on_failure: tuple[CompiledReaction, ...]

    @property
    def actions(self) -> Iterator[CompiledStep]:
        """The steps that are actions, those of called playbooks included."""
        for step in self.steps:
            if isinstance(step, CompiledCall):
                yield from step.playbook.actions
            elif isinstance(step, CompiledStep):
                yield step

    @property
    def called(self) -> Mapping[str, CompiledPlaybook]:
        """The playbooks that it calls, directly or through another, by name."""
        found: dict[str, CompiledPlaybook] = {}
        for step in self.steps:
            if isinstance(step, CompiledCall):
                found |= {step.playbook.name: step.playbook, **step.playbook.called}
        return found

    @property
    def mutates(self) -> bool:
        """Whether any step changes something."""
        return any(step.mutation for step in self.actions)

    def applies_to(self, labels: Labels, priority: Priority, environment: str | None = None) -> bool:
        """Tell whether an alert of this priority is one for this playbook.

        ``environment`` None asks for no environment in particular.
        """
        here = environment is None or self.model.environments is None or environment in self.model.environments
        wanted = here and self.matchers is not None and priority in (self.model.priorities or ())
        return wanted and self.matchers is not None and self.matchers.matches(labels)

    def find(self, full_id: str) -> AnyStep:
        """Return the step that a full id leads to, through calls. Raises KeyError when there is none."""
        *outer, last = segments(full_id)
        return self.within(".".join(map(str, outer)))._own(last.id)

    def step(self, full_id: str) -> CompiledStep:
        """Return the action that a full id leads to. Raises KeyError when there is none."""
        found = self.find(full_id)
        if not isinstance(found, CompiledStep):
            raise KeyError(full_id)
        return found

    def within(self, frame: str) -> CompiledPlaybook:
        """Return the playbook whose steps a frame holds: this one, or one that it calls. Raises KeyError."""
        playbook = self
        for segment in segments(frame) if frame else ():
            call = playbook._own(segment.id)
            if not isinstance(call, CompiledCall):
                raise KeyError(frame)
            playbook = call.playbook
        return playbook

    def _own(self, step_id: str) -> AnyStep:
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)

    @property
    def step_ids(self) -> tuple[str, ...]:
        """Ids of its own steps in order."""
        return tuple(s.id for s in self.steps)

    def resolve_params(
        self, values: Mapping[str, object], given: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """Return the params with their values; ``given`` are a person's own, which go before the defaults.

        Raises InvalidInputError naming what a person must give or gave wrongly, ExpressionError when a default's
        expression has no value.
        """
        given = given or {}
        known = {p.name for p in self.params}
        if strange := sorted(set(given) - known):
            raise InvalidInputError(
                f"unknown; known are {', '.join(sorted(known)) or 'none'}", field=f"params.{strange[0]}"
            )
        return {p.name: p.resolve(values, given) for p in self.params}

    def dump_params(self, params: Mapping[str, object]) -> dict[str, JsonValue]:
        """Return resolved params as JSON, to be frozen into a plan."""
        return {name: to_json(value) for name, value in params.items()}

    def load_params(self, frozen: Mapping[str, JsonValue]) -> dict[str, object]:
        """Return the typed params that `dump_params` froze."""
        return {p.name: p.from_json(frozen[p.name]) for p in self.params if p.name in frozen}

    def to_json(self) -> dict[str, JsonValue]:
        """Return the document as JSON, with those it calls, to be frozen into a plan."""
        return _canonical(self.model) | {CALLED: {n: _canonical(p.model) for n, p in self.called.items()}}


def _canonical(model: Playbook) -> dict[str, JsonValue]:
    dumped: dict[str, JsonValue] = model.model_dump(mode="json", by_alias=True, exclude={"tests"})
    return dumped
