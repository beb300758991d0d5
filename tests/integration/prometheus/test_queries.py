"""Queries and graphs on a real Prometheus, whose samples come from a rule file."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import re
import struct
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.contract import Fence, StepContext
from hdr_responder.actions.prometheus.queries import (
    MAX_LINES,
    MAX_POINTS,
    Query,
    QueryParameters,
    QueryRange,
    QueryRangeParameters,
)
from hdr_responder.adapters.graphs import GraphPainter
from hdr_responder.adapters.prometheus import Prometheus
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.ports.alertmanager import IncidentAlert
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


@dataclasses.dataclass
class Remembering:
    """A painter that shows what it was to draw."""

    graphs: list[Graph] = dataclasses.field(default_factory=list)

    async def draw(self, graph: Graph) -> bytes:
        self.graphs.append(graph)
        return b"a picture"


@dataclasses.dataclass(frozen=True)
class Records:
    """Our records, of which only the beginning is asked."""

    beginning: datetime

    async def began(self, incident_ref: str) -> datetime:
        assert incident_ref == "INC-1"
        return self.beginning

    async def unresolved(self, incident_ref: str) -> int:
        raise AssertionError("nobody asks what fires")

    async def firing_alerts(self, incident_ref: str, limit: int) -> tuple[IncidentAlert, ...]:
        raise AssertionError("nobody asks what fires")


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
    assert (result.lowest, result.highest) == (3, 4)
    assert [(s.labels["pod"], s.first, s.last, s.lowest) for s in result.series] == [("a", 3, 3, 3), ("b", 4, 4, 4)]
    assert re.search(r"^2 series in 1h until 20\d\d-.* UTC, from 3 to 4 \$/s$", result.summary)
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


def drawing(**more: Any) -> Graph:
    points = tuple((SINCE + timedelta(minutes=n), float(n)) for n in range(5))
    graph = Graph(
        title="Load", unit="", start=SINCE, end=SINCE + timedelta(minutes=5), lines=(Line(label="a", points=points),)
    )
    return dataclasses.replace(graph, **more)


async def test_strange_texts_and_gaps_are_drawn() -> None:
    strange = Line(label="_x\n" * 200, points=((SINCE, float("nan")), (SINCE + timedelta(minutes=1), float("inf"))))
    drawn = drawing(title="$\\frac{1}{2}$ <b> \U0001f525 \x00", unit="$$", lines=(strange, strange))
    assert (await GraphPainter().draw(drawn)).startswith(b"\x89PNG")


async def test_the_same_numbers_are_the_same_picture_and_a_mark_is_seen() -> None:
    painter = GraphPainter()
    plain, again = await painter.draw(drawing()), await painter.draw(drawing())
    marked = await painter.draw(drawing(mark=SINCE + timedelta(minutes=2), mark_label="INC-1 began"))
    assert plain == again
    assert marked != plain


async def test_the_largest_graph_is_a_small_file() -> None:
    noise = random.Random(1)
    points = [[(SINCE + timedelta(minutes=n), noise.random()) for n in range(MAX_POINTS)] for _ in range(MAX_LINES)]
    lines = tuple(Line(label=f"{number} " + "x" * 100, points=tuple(p)) for number, p in enumerate(points))
    end = SINCE + timedelta(minutes=MAX_POINTS)
    assert len(await GraphPainter().draw(drawing(lines=lines, end=end))) < 300_000


@pytest.mark.parametrize(("ago", "marked"), [(30, True), (90, False)])
async def test_where_the_incident_began_is_marked_where_it_is_in_sight(
    ctx: StepContext, ago: int, marked: bool
) -> None:
    began = ctx.clock.now() - timedelta(minutes=ago)
    painter = Remembering()
    systems = dataclasses.replace(ctx.systems, graphs=painter, alerts=Records(began))
    await QueryRange().execute(dataclasses.replace(ctx, systems=systems), QueryRangeParameters(query="load"))
    (graph,) = painter.graphs
    assert graph.mark == (began if marked else None)
    assert graph.mark_label == "INC-1 began"


async def test_another_time_and_step(ctx: StepContext) -> None:
    painter = Remembering()
    chosen = dataclasses.replace(ctx, systems=dataclasses.replace(ctx.systems, graphs=painter))
    wanted = {"query": "vector(time())", "last": "10m", "until": "1h", "step": "1m"}
    result = await QueryRange().execute(chosen, QueryRangeParameters.model_validate(wanted))
    (graph,) = painter.graphs
    assert len(graph.lines[0].points) == 11
    assert graph.end - graph.start == timedelta(minutes=10)
    assert abs(ctx.clock.now() - timedelta(hours=1) - graph.end) < timedelta(minutes=1)
    assert result.series[0].first == pytest.approx(graph.start.timestamp(), abs=0.001)
    assert result.series[0].last == pytest.approx(graph.end.timestamp(), abs=0.001)


@pytest.mark.parametrize("wrong", [{"step": "1s", "last": "1h"}, {"last": "32d"}, {"last": "10s"}, {"until": "32d"}])
def test_more_points_or_time_than_can_be_seen_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"step|last|until"):
        QueryRangeParameters.model_validate({"query": "load", **wrong})


async def test_the_other_process_gets_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``sitecustomize`` of the test's own writes down what the process that draws was given."""
    seen = tmp_path / "seen"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, pathlib; pathlib.Path({str(seen)!r}).write_text(chr(10).join(os.environ))"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("HDR_SLACK__BOT_TOKEN", "xoxb-secret")
    monkeypatch.setenv("PGPASSWORD", "secret")
    await GraphPainter().draw(drawing())
    assert "PYTHONPATH" in seen.read_text()
    assert not {"HDR_SLACK__BOT_TOKEN", "PGPASSWORD"} & set(seen.read_text().splitlines())


async def test_a_drawing_that_takes_too_long_is_ended() -> None:
    with pytest.raises(UnavailableError, match="not drawn within"):
        await GraphPainter(timeout=0.01).draw(drawing())


async def test_a_drawing_that_is_broken_off_is_given_up() -> None:
    drawn = asyncio.create_task(GraphPainter().draw(drawing()))
    await asyncio.sleep(0)
    drawn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawn
