"""Measuring success with PromQL: values enter a query as quoted strings, and no answer is no evidence.

A label of an alert is text that anyone who can raise an alert may choose. Spliced into a query it could replace the
whole question by one whose answer is always good; so a placeholder is bound where PromQL expects a string, and one
inside a string, where quoting would end that string, is refused. After ``=~`` the value is a regular expression, as
everywhere in PromQL.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from hdr_responder.actions.contract import AnyCheck, Check, Parameters, StepContext, Verdict
from hdr_responder.domain.ports.metrics import Sample
from hdr_responder.errors import InvalidInputError, NotFoundError, TemporaryError

_TOKEN = re.compile(
    r"""
    (?P<string> "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | `[^`]*` )
    | (?P<comment> \#[^\n]* )
    | \$(?P<name> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<stray> ["'`$] )
    """,
    re.VERBOSE,
)
_INSIDE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_SHOWN_SERIES = 3


class QueryError(InvalidInputError, ValueError):
    """A query's placeholders are wrong; the message says which and how to write them."""


def bind(query: str, args: Mapping[str, str]) -> str:
    """Return ``query`` with each ``$name`` replaced by ``args[name]`` as a quoted PromQL string.

    Raises QueryError for an unknown name, an unused argument, a placeholder inside a string, and an unfinished string.
    """
    used: set[str] = set()

    def replaced(token: re.Match[str]) -> str:
        if token["string"]:
            _refuse_inside(token["string"], args)
        if token["stray"]:
            raise QueryError(f"{token['stray']} at {token.start()} begins no string and no name", field="query")
        name = token["name"]
        if name is None:
            return token[0]
        if name not in args:
            raise QueryError(f"${name} has no value in args", field="query")
        used.add(name)
        return json.dumps(args[name], ensure_ascii=False)

    bound = _TOKEN.sub(replaced, query)
    unused = sorted(set(args) - used)
    if unused:
        raise QueryError(f"the query does not use ${unused[0]}", field=f"args.{unused[0]}")
    return bound


def _refuse_inside(string: str, args: Mapping[str, str]) -> None:
    for name in _INSIDE.findall(string):
        if name in args:
            raise QueryError(
                f"${name} is inside a string; it brings its own quotes: write label=${name}", field="query"
            )


class PrometheusParameters(Parameters):
    """``query`` with ``$name`` where PromQL expects a string, and one bound that every series of the answer must keep.

    ``below`` and ``above`` exclude the bound itself.
    """

    query: str = Field(min_length=1, json_schema_extra={"literal": True})
    args: dict[str, str] = Field(default_factory=dict)
    below: float | None = Field(default=None, allow_inf_nan=False)
    above: float | None = Field(default=None, allow_inf_nan=False)
    equals: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(bound is not None for bound in (self.below, self.above, self.equals)) != 1:
            raise ValueError("exactly one of below, above and equals is needed")
        bind(self.query, self.args)
        return self

    def keeps(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        if self.below is not None:
            return value < self.below
        if self.above is not None:
            return value > self.above
        return value == self.equals

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.below is not None:
            return f"below {self.below:g}"
        if self.above is not None:
            return f"above {self.above:g}"
        return f"equal to {self.equals:g}"


class PrometheusCheck(Check[PrometheusParameters]):
    """Every series of a query keeps a bound.

    No series, and a series that is not a number (a rate over no requests), are no evidence: the check is inconclusive.
    """

    name = "prometheus"
    summary = "Every series of a PromQL query is below, above or equal to a value."
    example = """
prometheus:
  query: sum(rate(http_errors_total{app=$app}[2m])) / sum(rate(http_requests_total{app=$app}[2m]))
  args: {app: "${params.workload.name}"}
  below: 0.01
"""
    parameters = PrometheusParameters

    async def evaluate(self, ctx: StepContext, params: PrometheusParameters) -> Verdict:
        """Look once; a store that cannot be asked now is no evidence."""
        if ctx.systems.metrics is None:
            raise NotFoundError("no prometheus.url is configured")
        try:
            samples = await ctx.systems.metrics.query(bind(params.query, params.args), ctx.clock.now())
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))
        return _verdict(params, samples)


def _verdict(params: PrometheusParameters, samples: list[Sample]) -> Verdict:
    if not samples:
        return Verdict(holds=None, detail="the query gave no series")
    unknown = [sample for sample in samples if math.isnan(sample.value)]
    broken = [sample for sample in samples if not math.isnan(sample.value) and not params.keeps(sample.value)]
    if broken:
        return Verdict(holds=False, detail=f"not {params.bound}: {_shown(broken)}")
    if unknown:
        return Verdict(holds=None, detail=f"not a number: {_shown(unknown)}")
    return Verdict(holds=True, detail=f"{params.bound}: {_shown(samples)}")


def _shown(samples: list[Sample]) -> str:
    shown = ", ".join(_series(sample) for sample in samples[:_SHOWN_SERIES])
    more = len(samples) - _SHOWN_SERIES
    return f"{shown} and {more} more" if more > 0 else shown


def _series(sample: Sample) -> str:
    labels = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(sample.labels.items()))
    return f"{sample.value:g}" + (f" {{{labels}}}" if labels else "")


PROMETHEUS_CHECKS: tuple[AnyCheck, ...] = (PrometheusCheck(),)
