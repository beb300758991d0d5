"""Queries and graphs on a real Prometheus, whose samples come from a rule file."""

from __future__ import annotations

import asyncio
import dataclasses
import struct
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Fence, StepContext
from hdr_responder.actions.prometheus.queries import Query, QueryParameters, QueryRange, QueryRangeParameters
from hdr_responder.adapters.graphs import GraphPainter
from hdr_responder.adapters.prometheus import Prometheus
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.graphs import Graph, Line
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import ConflictError, NotFoundError, PermanentError, UnavailableError
from tests.integration.kubernetes.steps import KeptEvidence
from tests.services.prometheus import PrometheusServer, run_prometheus
from tests.services.waiting import eventually

pytestmark = pytest.mark.service

CONFIG = "global: {evaluation_interval: 100ms}\nrule_files: [rules.yml]\n"
RULES = """
groups:
  - name: recorded
    rules:
      - {record: load, expr: vector(3), labels: {pod: a}}
      - {record: load, expr: vector(4), labels: {pod: b}}
"""
SINCE = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[PrometheusServer]:
    with run_prometheus(CONFIG, {"rules.yml": RULES}) as started:
        yield started


@pytest.fixture
async def ctx(server: PrometheusServer) -> AsyncIterator[StepContext]:
    source = Prometheus(server.url)

    async def recorded() -> bool:
        return len(await source.query("load", datetime.now(UTC))) == 2

    await eventually(recorded)
    yield StepContext(
        fence=Fence(run_id=uuid.uuid4(), token=1),
        step_id="graph",
        incident_ref="INC-1",
        cluster=None,
        systems=Systems(metrics=source, graphs=GraphPainter()),
        evidence=KeptEvidence(),
        clock=SystemClock(),
    )
    await source.close()


async def test_a_single_value(ctx: StepContext) -> None:
    result = await Query().execute(ctx, QueryParameters(query="sum(load{pod=$pod})", args={"pod": "a"}))
    assert (result.empty, result.value, result.summary) == (False, 3, "3")


async def test_several_values_with_their_labels(ctx: StepContext) -> None:
    result = await Query().execute(ctx, QueryParameters(query="sum by (pod) (load)"))
    assert result.value is None
    assert sorted((v.labels["pod"], v.value or 0) for v in result.values) == [("a", 3), ("b", 4)]


async def test_no_series_is_no_evidence(ctx: StepContext) -> None:
    result = await Query().execute(ctx, QueryParameters(query="nothing"))
    assert (result.empty, result.value, result.values) == (True, None, [])


async def test_what_is_no_number_is_none(ctx: StepContext) -> None:
    result = await Query().execute(ctx, QueryParameters(query="vector(0) / 0"))
    assert (result.empty, result.value) == (False, None)


async def test_too_many_series_are_refused(ctx: StepContext) -> None:
    many = " or ".join(f'label_replace(vector(1), "n", "x{n}", "", "")' for n in range(51))
    with pytest.raises(ConflictError, match="51 series"):
        await Query().execute(ctx, QueryParameters(query=many))


async def test_a_wrong_query_is_refused(ctx: StepContext) -> None:
    with pytest.raises(PermanentError, match="parse error"):
        await Query().execute(ctx, QueryParameters(query="sum("))


async def test_without_prometheus(ctx: StepContext) -> None:
    with pytest.raises(NotFoundError, match=r"prometheus\.url"):
        await Query().execute(dataclasses.replace(ctx, systems=Systems()), QueryParameters(query="up"))


@pytest.mark.parametrize("value", ['a"} or vector(0) #', "\\", "\n", "$x", "`", "*"])
async def test_a_value_stays_a_value(ctx: StepContext, value: str) -> None:
    result = await Query().execute(ctx, QueryParameters(query="load{pod=$pod}", args={"pod": value}))
    assert result.empty


def test_a_placeholder_without_a_value_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="has no value"):
        QueryParameters(query="load{pod=$pod}")


async def test_a_graph_is_kept(ctx: StepContext) -> None:
    result = await QueryRange().execute(ctx, QueryRangeParameters(query="load", title="Load", unit="$/s"))
    assert (result.series, result.lowest, result.highest) == (2, 3, 4)
    assert isinstance(ctx.evidence, KeptEvidence)
    name, picture = ctx.evidence.artifacts[result.artifact]
    assert name == "graph.png"
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (900, 400)
    assert len(picture) < 300_000


async def test_nothing_to_draw_is_said(ctx: StepContext) -> None:
    result = await QueryRange().execute(ctx, QueryRangeParameters(query="nothing"))
    assert (result.empty, result.artifact) == (True, "")
    assert "no points" in result.summary


async def test_the_course_over_time(server: PrometheusServer) -> None:
    source = Prometheus(server.url)
    try:
        (line,) = await source.query_range("vector(time())", SINCE, SINCE + timedelta(minutes=1), timedelta(seconds=30))
    finally:
        await source.close()
    assert [at for at, _ in line.points] == [SINCE + timedelta(seconds=30 * n) for n in range(3)]
    assert [value for _, value in line.points] == [(SINCE + timedelta(seconds=30 * n)).timestamp() for n in range(3)]


def drawing(value: float = 1.0) -> Graph:
    points = tuple((SINCE + timedelta(minutes=n), value) for n in range(5))
    return Graph(title="$\\frac{1}{2}$ <b>", unit="", lines=(Line(label="x" * 500, points=points),))


async def test_gaps_and_strange_texts_are_drawn() -> None:
    assert (await GraphPainter().draw(drawing(float("nan")))).startswith(b"\x89PNG")


async def test_a_drawing_that_takes_too_long_is_ended() -> None:
    with pytest.raises(UnavailableError, match="not drawn within"):
        await GraphPainter(timeout=0.01).draw(drawing())


async def test_a_drawing_that_is_broken_off_is_given_up() -> None:
    drawn = asyncio.create_task(GraphPainter().draw(drawing()))
    await asyncio.sleep(0)
    drawn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawn
