"""The arithmetic of the benchmarks: a limit that cannot be missed would prove nothing."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hdr_responder.actions.registry import registry
from hdr_responder.documents.catalogue import load
from tests.bench import planning
from tests.bench.__main__ import keep
from tests.bench.bodies import service_down, storm
from tests.bench.figures import Figure, Sense, median_ratio, percentile
from tests.bench.written import ROOT, write_playbooks


def _figure(value: float, sense: Sense, limit: float = 100.0) -> Figure:
    return Figure(name="figure", value=value, limit=limit, sense=sense, unit="ms", detail={"rounds": 3})


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, 1.0), (50, 50.0), (50.1, 51.0), (99, 99.0), (99.1, 100.0), (100, 100.0)]
)
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == expected


def test_percentile_of_few_values_is_one_of_them() -> None:
    assert percentile([3.0], 50) == percentile([3.0], 99) == 3.0
    assert percentile([1.0, 9.0], 50) == 1.0
    assert percentile([1.0, 9.0], 99) == 9.0


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_percentile_of_nothing_is_an_error(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


def test_ratio_is_taken_round_by_round() -> None:
    slow_round_on_both_sides = median_ratio([50.0, 5.0, 40.0], [100.0, 10.0, 100.0])
    assert slow_round_on_both_sides == pytest.approx(0.5)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], []), ([1.0], [1.0, 2.0])])
def test_ratio_needs_both_sides_of_every_round(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"round|shorter|longer"):
        median_ratio(ours, theirs)


@pytest.mark.parametrize(
    ("value", "sense", "met"),
    [
        (99.9, Sense.AT_MOST, True),
        (100.0, Sense.AT_MOST, True),
        (100.1, Sense.AT_MOST, False),
        (100.1, Sense.AT_LEAST, True),
        (100.0, Sense.AT_LEAST, True),
        (99.9, Sense.AT_LEAST, False),
    ],
)
def test_a_figure_keeps_its_limit_or_misses_it(value: float, sense: Sense, met: bool) -> None:
    figure = _figure(value, sense)
    assert figure.met is met
    assert ("MISSED" in figure.line()) is not met
    assert figure.document()["met"] is met


def test_a_figure_is_told_as_a_ratio_of_its_limit() -> None:
    assert _figure(25.0, Sense.AT_MOST).of_limit == 0.25
    assert "0.25 of the limit" in _figure(25.0, Sense.AT_MOST).line()


def test_results_say_when_and_on_what_but_not_where(tmp_path: Path) -> None:
    path = keep(
        [_figure(1.0, Sense.AT_MOST)], quick=True, now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), folder=tmp_path
    )
    document = json.loads(path.read_text())
    assert path.name == "2026-01-02T03-04-05Z.json"
    assert document["measured_at"] == "2026-01-02T03:04:05+00:00"
    assert document["figures"] == [_figure(1.0, Sense.AT_MOST).document()]
    assert document["machine"]["cores"] >= 1
    assert "/" not in json.dumps(document["machine"])


def test_a_storm_repeats_no_alert() -> None:
    bodies = [json.loads(body) for body in storm(["a", "b"], deliveries=3, alerts=4)]
    alerts = list(itertools.chain.from_iterable(body["alerts"] for body in bodies))
    assert len({alert["fingerprint"] for alert in alerts}) == len(alerts) == 12
    assert [body["commonLabels"]["service"] for body in bodies] == ["a", "b", "a"]
    assert {alert["labels"]["service"] for alert in bodies[1]["alerts"]} == {"b"}


def test_incidents_are_about_different_services() -> None:
    first, second = (json.loads(service_down(name))["alerts"][0] for name in ("a", "b"))
    assert (first["labels"]["service"], second["labels"]["service"]) == ("a", "b")
    assert first["fingerprint"] != second["fingerprint"]


def test_the_many_playbooks_are_different_and_without_mistakes(tmp_path: Path) -> None:
    write_playbooks(tmp_path / "playbooks", 12)
    playbooks = load(ROOT / "config", tmp_path / "playbooks", registry()).playbooks
    assert len({p.name for p in playbooks}) == 12
    assert len({p.matchers for p in playbooks}) == 12
    long = [p for p in playbooks if p.name.startswith("ten-steps-")]
    assert [len(p.steps) for p in long] == [10, 10]
    assert not {p.name for p in long[0].params} & {p.name for p in long[1].params}


async def test_planning_is_measured_on_ten_steps_and_all_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "wait_until_quiet", _at_once)
    (figure,) = await planning.measure(quick=True)
    assert figure.value > 0
    assert figure.limit == planning.LIMIT_MS == 5


async def _at_once() -> None:
    """The machine need not be quiet to see that it works."""
