"""Measuring success with PromQL: no answer is no evidence."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from hdr_responder.actions.contract import AnyCheck, Check, Parameters, Permission, StepContext, Verdict
from hdr_responder.actions.prometheus.promql import bind, shown
from hdr_responder.domain.ports.metrics import Sample
from hdr_responder.errors import NotFoundError, TemporaryError


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

    def permissions(self, params: PrometheusParameters) -> tuple[Permission, ...]:
        """Return none: Prometheus has no rights of its own."""
        del params
        return ()

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
        return Verdict(holds=False, detail=f"not {params.bound}: {shown(broken)}")
    if unknown:
        return Verdict(holds=None, detail=f"not a number: {shown(unknown)}")
    return Verdict(holds=True, detail=f"{params.bound}: {shown(samples)}")


PROMETHEUS_CHECKS: tuple[AnyCheck, ...] = (PrometheusCheck(),)
