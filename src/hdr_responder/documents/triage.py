"""Triage: ordered rules that give every alert a priority, a problem and a reason for people (manual P01-P04)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from hdr_responder.documents.expressions import ExpressionError
from hdr_responder.documents.findings import Finding, from_fault
from hdr_responder.documents.matching import compile_matchers, contradictions
from hdr_responder.documents.scope import triage_scope
from hdr_responder.documents.strict import Document, MatchList, Name, Strict, Text
from hdr_responder.documents.templates import InvalidTemplateError, Template, compile_template
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.incidents import TriageDecision
from hdr_responder.domain.matchers import Labels, MatcherSet, parse_matcher_set
from hdr_responder.domain.priorities import Priority

ALERT_NAME = "alertname"
DEFAULT_RULE = "default"


def _branch(value: object) -> str:
    return "never" if value == "never" else "duration"


class PriorityRule(Strict):
    """What a priority asks of people."""

    respond_within: Duration
    escalate_after: Annotated[
        Annotated[Duration, Tag("duration")] | Annotated[Literal["never"], Tag("never")], Discriminator(_branch)
    ]
    """When an incident that nobody has acknowledged goes further; ``0s`` at once."""


class Rule(Strict):
    """One rule; the first whose matchers hold decides."""

    name: Name
    match: MatchList
    priority: Priority
    problem: Text | None = None
    """What alerts of one incident share, a text or template over the alert; by default the alert's name."""
    reason: Text


class Default(Strict):
    """What an alert gets that no rule knows."""

    priority: Priority
    reason: Text


def _all_four(rules: dict[Priority, PriorityRule]) -> dict[Priority, PriorityRule]:
    if missing := [p.value for p in Priority if p not in rules]:
        raise ValueError(f"priorities are missing: {', '.join(missing)}")
    return rules


class Triage(Document):
    """The triage document."""

    kind: Literal["Triage"]
    priorities: Annotated[dict[Priority, PriorityRule], AfterValidator(_all_four)]
    rules: tuple[Rule, ...] = Field(max_length=500)
    default: Default

    def decide(self, labels: Labels) -> TriageDecision:
        """Return the first matching rule's decision, else the default's.

        A problem whose expression has no value for these labels falls back to the alert's name, and the reason says so:
        an alert must open its incident whatever its labels are.
        """
        name = labels.get(ALERT_NAME, "") or "unknown"
        for rule, matchers, problem in self._compiled:
            if matchers.matches(labels):
                named, note = _problem(problem, labels, name)
                return TriageDecision(priority=rule.priority, rule=rule.name, reason=rule.reason + note, problem=named)
        return TriageDecision(
            priority=self.default.priority, rule=DEFAULT_RULE, reason=self.default.reason, problem=name
        )

    def respond_within(self, priority: Priority) -> timedelta:
        """Return how soon somebody must respond."""
        return self.priorities[priority].respond_within

    def escalate_after(self, priority: Priority) -> timedelta | None:
        """Return when an unacknowledged incident goes further, None for never."""
        after = self.priorities[priority].escalate_after
        return after if isinstance(after, timedelta) else None

    def findings(self) -> list[Finding]:
        """Return what is wrong with the rules: matchers, templates, names taken twice, rules never reached."""
        found: list[Finding] = []
        compiled: list[tuple[int, MatcherSet]] = []
        for i, rule in enumerate(self.rules):
            matchers, mistakes = compile_matchers(rule.match, ("rules", i, "match"))
            impossible = list(contradictions(rule.match, ("rules", i, "match")))
            found.extend((*mistakes, *impossible))
            if matchers is not None and not impossible:
                compiled.append((i, matchers))
            if rule.problem is not None:
                found.extend(_template_findings(rule.problem, ("rules", i, "problem")))
        return [*found, *self._unreached(compiled), *self._taken_twice()]

    @cached_property
    def _compiled(self) -> tuple[tuple[Rule, MatcherSet, Template | None], ...]:
        scope = triage_scope()
        return tuple(
            (rule, parse_matcher_set(rule.match), compile_template(rule.problem, scope) if rule.problem else None)
            for rule in self.rules
        )

    def _unreached(self, compiled: list[tuple[int, MatcherSet]]) -> Iterable[Finding]:
        for at, (i, matchers) in enumerate(compiled):
            before = next((j for j, wider in compiled[:at] if wider.covers(matchers)), None)
            if before is not None:
                message = (
                    f"rule {self.rules[i].name!r} is never reached: rule {self.rules[before].name!r} matches first"
                )
                yield Finding(loc=("rules", i, "match"), message=message)

    def _taken_twice(self) -> Iterable[Finding]:
        seen: set[str] = {DEFAULT_RULE}
        for i, rule in enumerate(self.rules):
            if rule.name in seen:
                yield Finding(loc=("rules", i, "name"), message="rule name is taken", value=rule.name)
            seen.add(rule.name)


def _problem(template: Template | None, labels: Labels, name: str) -> tuple[str, str]:
    if template is None:
        return name, ""
    values: Mapping[str, object] = {"alert.labels": dict(labels)}
    try:
        return str(template.evaluate(values)) or name, ""
    except ExpressionError as e:
        return name, f" (grouped by alert name: {e})"


def _template_findings(text: str, loc: tuple[str | int, ...]) -> list[Finding]:
    try:
        template = compile_template(text, triage_scope())
    except InvalidTemplateError as e:
        return [from_fault(loc, fault) for fault in e.faults]
    if other := sorted(template.names - {"alert.labels"}):
        return [Finding(loc=loc, message=f"a problem is named from alert.labels alone, not from {other[0]}")]
    return []
