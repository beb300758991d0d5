"""Asks Prometheus for numbers and for their course over time, which is kept as a graph with the incident."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Self

from pydantic import Field, model_validator

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.prometheus.promql import bind, labels_text, shown
from hdr_responder.domain.durations import Duration, format_duration
from hdr_responder.domain.ports.graphs import Graph, Line
from hdr_responder.domain.ports.metrics import MetricsSource, Series
from hdr_responder.errors import ConflictError, NotFoundError

MAX_VALUES = 50
"""Most series of an instant query; a query with more is too wide to be read and is refused."""
MAX_LINES = 20
"""Most series of a graph."""
POINTS = 240
"""Points of one series where the playbook names no step: as many as can be told apart in the graph."""
MAX_POINTS = 1_000


class QueryParameters(Parameters):
    """``query`` with ``$name`` where PromQL expects a string."""

    query: str = Field(min_length=1, json_schema_extra={"literal": True}, description="PromQL, `$name` for arguments.")
    args: dict[str, str] = Field(default_factory=dict, description="Values by name; each enters as a quoted string.")

    @model_validator(mode="after")
    def _bound(self) -> Self:
        bind(self.query, self.args)
        return self


class Value(Result):
    """One series now."""

    labels: dict[str, str]
    value: float | None = Field(description="None where it is not a number, or infinite.")


class QueryResult(Result):
    """What the query gives now."""

    empty: bool = Field(description="Whether it gave no series, which is no evidence of anything.")
    value: float | None = Field(description="The value of the only series; None with more, with none, or if no number.")
    values: list[Value] = Field(description="Every series.")
    summary: str


class Query(Read[QueryParameters, QueryResult]):
    """Asks once."""

    name = "prometheus.query"
    summary = "Ask Prometheus for the present value of a query."
    example = """
id: errors
action: prometheus.query
with:
  query: sum(rate(http_errors_total{app=$app}[5m]))
  args: {app: "${params.workload.name}"}
"""
    parameters = QueryParameters
    result = QueryResult
    default_timeout_seconds = 30.0

    def permissions(self, params: QueryParameters) -> tuple[Permission, ...]:
        """Return none: Prometheus knows no rights by query."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: QueryParameters) -> QueryResult:
        """Ask; raises ConflictError for more than `MAX_VALUES` series."""
        samples = await _source(ctx).query(bind(params.query, params.args), ctx.clock.now())
        if len(samples) > MAX_VALUES:
            raise ConflictError(f"the query gives {len(samples)} series, more than {MAX_VALUES}: aggregate them")
        values = [Value(labels=dict(s.labels), value=_number(s.value)) for s in samples]
        only = values[0].value if len(values) == 1 else None
        summary = shown(samples) if samples else "the query gave no series"
        return QueryResult(empty=not samples, value=only, values=values, summary=summary)


class QueryRangeParameters(QueryParameters):
    """What to draw, and over which time."""

    last: Duration = Field(
        default=timedelta(hours=1), ge=timedelta(minutes=1), le=timedelta(days=31), description="How long a time."
    )
    until: Duration = Field(
        default=timedelta(0), ge=timedelta(0), le=timedelta(days=31), description="How long ago it ends; 0 is now."
    )
    step: Duration | None = Field(
        default=None,
        ge=timedelta(seconds=1),
        description=f"Between two points, of which there are at most {MAX_POINTS}; default so that there are {POINTS}.",
    )
    title: str | None = Field(
        default=None, min_length=1, max_length=120, description="Of the graph; default the query."
    )
    unit: str = Field(default="", max_length=40, description="What the values are, written on the axis.")

    @model_validator(mode="after")
    def _few_points(self) -> Self:
        if self.step is not None and self.last / self.step > MAX_POINTS:
            raise ValueError(f"step: at most {MAX_POINTS} points, at least {format_duration(self.last / MAX_POINTS)}")
        return self

    @property
    def spacing(self) -> timedelta:
        """The time between two points."""
        return self.step or max(self.last / POINTS, timedelta(seconds=1))


class Course(Result):
    """One series over the time; values are None where it has none that is a number."""

    labels: dict[str, str]
    first: float | None
    last: float | None
    lowest: float | None
    highest: float | None


class QueryRangeResult(Result):
    """The course of the query."""

    empty: bool = Field(description="Whether it gave no points.")
    series: list[Course] = Field(description="Every series that was drawn.")
    lowest: float | None = Field(description="Least value of all points.")
    highest: float | None = Field(description="Greatest value of all points.")
    artifact: str = Field(description="Artifact id of the graph (PNG); empty when there was nothing to draw.")
    summary: str


class QueryRange(Read[QueryRangeParameters, QueryRangeResult]):
    """Draws the course of a query."""

    name = "prometheus.query_range"
    summary = "Keep a graph of a Prometheus query over the last time with the incident."
    example = """
id: graph
action: prometheus.query_range
with:
  query: sum(rate(http_errors_total{app=$app}[5m]))
  args: {app: "${params.workload.name}"}
  last: 3h
  title: Errors
  unit: errors/s
"""
    parameters = QueryRangeParameters
    result = QueryRangeResult
    default_timeout_seconds = 90.0

    def permissions(self, params: QueryRangeParameters) -> tuple[Permission, ...]:
        """Return none: Prometheus knows no rights by query."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: QueryRangeParameters) -> QueryRangeResult:
        """Ask, draw and keep; raises ConflictError for more than `MAX_LINES` series."""
        end = ctx.clock.now() - params.until
        start = end - params.last
        found = await _source(ctx).query_range(bind(params.query, params.args), start, end, params.spacing)
        if len(found) > MAX_LINES:
            raise ConflictError(f"the query gives {len(found)} series, more than {MAX_LINES}: aggregate them")
        courses = [_course(series) for series in found]
        lows = [course.lowest for course in courses if course.lowest is not None]
        highs = [course.highest for course in courses if course.highest is not None]
        span = f"in {format_duration(params.last)} until {end:%Y-%m-%d %H:%M:%S} UTC"
        if not lows:
            summary = f"the query gave no points {span}"
            return QueryRangeResult(empty=True, series=[], lowest=None, highest=None, artifact="", summary=summary)
        low, high = min(lows), max(highs)
        artifact = await self._keep(ctx, params, found, end)
        summary = f"{len(found)} series {span}, from {low:g} to {high:g} {params.unit}".rstrip()
        return QueryRangeResult(
            empty=False, series=courses, lowest=low, highest=high, artifact=artifact, summary=summary
        )

    async def _keep(self, ctx: StepContext, params: QueryRangeParameters, found: list[Series], end: datetime) -> str:
        if ctx.systems.graphs is None:
            raise NotFoundError("graphs cannot be drawn here")
        began = await ctx.systems.alerts.began(ctx.incident_ref) if ctx.systems.alerts else None
        graph = Graph(
            title=params.title or " ".join(params.query.split())[:120],
            unit=params.unit,
            start=end - params.last,
            end=end,
            mark=began if began and end - params.last <= began <= end else None,
            mark_label=f"{ctx.incident_ref} began",
            lines=tuple(Line(label=labels_text(s.labels) or "value", points=s.points) for s in found),
        )
        return await ctx.evidence.keep(f"{ctx.step_id}.png", "image/png", await ctx.systems.graphs.draw(graph))


def _source(ctx: StepContext) -> MetricsSource:
    if ctx.systems.metrics is None:
        raise NotFoundError("no prometheus.url is configured")
    return ctx.systems.metrics


def _course(series: Series) -> Course:
    numbers = [value for _, value in series.points if math.isfinite(value)]
    return Course(
        labels=dict(series.labels),
        first=numbers[0] if numbers else None,
        last=numbers[-1] if numbers else None,
        lowest=min(numbers, default=None),
        highest=max(numbers, default=None),
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


PROMETHEUS_ACTIONS = (Query(), QueryRange())
