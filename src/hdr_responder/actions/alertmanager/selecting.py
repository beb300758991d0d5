"""Which alerts an action is about: those of the incident, or those that typed matchers select.

A label's value is text that anyone who can raise an alert may choose. It never becomes a regular expression: matchers
compare with one value or with several, which are quoted, and neither can be empty, since an empty value matches every
alert without the label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hdr_responder.actions.contract import Parameters, StepContext
from hdr_responder.domain.matchers import Matcher, Operator
from hdr_responder.domain.patterns import compile_pattern
from hdr_responder.domain.ports.alertmanager import IncidentAlert
from hdr_responder.errors import AdapterError, ConflictError

MAX_ALERTS = 1000
"""Firing alerts of an incident that are looked at; a larger incident is refused, since a part would mislead."""
ALERTNAME = "alertname"
_MAX_VALUE = 1000

Value = Annotated[str, Field(min_length=1, max_length=_MAX_VALUE)]


class LabelMatcher(BaseModel):
    """A label that must have this value, or one of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    value: Value | None = None
    any_of: Annotated[tuple[Value, ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _one_way(self) -> LabelMatcher:
        if (self.value is None) == (not self.any_of):
            raise ValueError("give either value or any_of")
        return self

    def matcher(self) -> Matcher:
        """Return it as Alertmanager takes it."""
        values = self.any_of or (self.value or "",)
        return _one_of(self.name, sorted(set(values)))


class SelectingParameters(Parameters):
    """Which alerts: without matchers, those of the incident that fire by our records."""

    matchers: Annotated[tuple[LabelMatcher, ...], Field(max_length=20)] = Field(
        default=(), description="All must hold; absent: the incident's own alerts."
    )
    source: str | None = Field(
        default=None, description="Whose Alertmanager; absent: the one that the incident's alerts come from."
    )


async def incident_alerts(ctx: StepContext) -> tuple[IncidentAlert, ...]:
    """Return the firing alerts of the step's incident; raises ConflictError when they are too many."""
    if ctx.systems.alerts is None:
        raise AdapterError("alerts of an incident were asked for without records of alerts")
    found = await ctx.systems.alerts.firing_alerts(ctx.incident_ref, MAX_ALERTS + 1)
    if len(found) > MAX_ALERTS:
        raise ConflictError(f"{ctx.incident_ref} has more than {MAX_ALERTS} firing alerts")
    return found


def one_source(params: SelectingParameters, alerts: Sequence[IncidentAlert]) -> str:
    """Return whose Alertmanager is meant; raises ConflictError when the alerts come from several and none is named."""
    if params.source is not None:
        return params.source
    sources = sorted({alert.source for alert in alerts})
    if len(sources) > 1:
        raise ConflictError(
            f"the incident's alerts come from several Alertmanagers ({', '.join(sources)}): name a source"
        )
    return sources[0] if sources else ""


def selected(params: SelectingParameters, alerts: Sequence[IncidentAlert]) -> tuple[Matcher, ...]:
    """Return the matchers that were given, else those of the labels that the alerts have in common.

    Of the alertname every one is kept, so that alerts of other names are never meant. Raises ConflictError when there
    is no alert to take them from.
    """
    if params.matchers:
        return tuple(m.matcher() for m in params.matchers)
    if not alerts:
        raise ConflictError("none of the incident's alerts fires any more")
    first, *others = (alert.labels for alert in alerts)
    shared = sorted(n for n, v in first.items() if v and all(labels.get(n) == v for labels in others))
    names = sorted({alert.labels.get(ALERTNAME, "") for alert in alerts})
    if not all(names):
        raise ConflictError("an alert of the incident has no alertname: give matchers")
    return (_one_of(ALERTNAME, names), *(_one_of(name, [first[name]]) for name in shared if name != ALERTNAME))


def _one_of(name: str, values: Sequence[str]) -> Matcher:
    if len(values) == 1:
        return Matcher(name, Operator.EQUAL, values[0])
    pattern = "|".join(re.escape(value) for value in values)
    return Matcher(name, Operator.MATCHES, pattern, compile_pattern(pattern))
