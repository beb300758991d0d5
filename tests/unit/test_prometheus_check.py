"""Placeholders of PromQL queries, and what counts as evidence."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hdr_responder.actions.alerts import AlertCheck, AlertParameters
from hdr_responder.actions.contract import Evidence, Fence, StepContext
from hdr_responder.actions.prometheus import PrometheusCheck, PrometheusParameters, QueryError, bind
from hdr_responder.domain.ports.alertmanager import IncidentAlert
from hdr_responder.domain.ports.metrics import Sample, Series
from hdr_responder.domain.ports.systems import Systems
from hdr_responder.errors import NotFoundError, PermanentError, UnavailableError
from tests.fakes.clock import ManualClock


class NoEvidence(Evidence):
    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        raise AssertionError("a check keeps no artifact")


@dataclass(slots=True)
class Metrics:
    """Answers every query alike and remembers it."""

    answer: list[Sample] | Exception
    asked: list[tuple[str, datetime]] = field(default_factory=list)

    async def query(self, promql: str, at: datetime) -> list[Sample]:
        self.asked.append((promql, at))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def query_range(self, promql: str, start: datetime, end: datetime, step: timedelta) -> list[Series]:
        raise AssertionError("a check asks for the present alone")


@dataclass(frozen=True, slots=True)
class Alerts:
    """Our records, with one number of alerts that still fire."""

    firing: int

    async def unresolved(self, incident_ref: str) -> int:
        assert incident_ref == "INC-1"
        return self.firing

    async def firing_alerts(self, incident_ref: str, limit: int) -> tuple[IncidentAlert, ...]:
        raise AssertionError("nobody asks which they are")

    async def began(self, incident_ref: str) -> datetime:
        raise AssertionError("nobody asks when it began")


def context(systems: Systems) -> StepContext:
    return StepContext(
        fence=Fence(run_id=uuid.UUID(int=1), token=1),
        step_id="verify",
        incident_ref="INC-1",
        cluster=None,
        systems=systems,
        evidence=NoEvidence(),
        clock=ManualClock(),
    )


def series(*values: float) -> list[Sample]:
    return [Sample(labels={"pod": f"p{n}"}, value=value) for n, value in enumerate(values)]


def test_bind_puts_values_in_as_strings() -> None:
    query = 'sum(rate(errors{app=$app,code=~"5.."}[2m])) by (pod) # of $app, don\'t split\n/ up{app=$app}'

    bound = bind(query.replace("# of $app", "# of it"), {"app": "neural-hdr"})

    assert bound == (
        'sum(rate(errors{app="neural-hdr",code=~"5.."}[2m])) by (pod) # of it, don\'t split\n/ up{app="neural-hdr"}'
    )


@given(st.text())
def test_a_bound_value_is_one_string_and_nothing_else(value: str) -> None:
    bound = bind("up{app=$app} == 1", {"app": value})

    assert bound.startswith('up{app="')
    assert bound.endswith('"} == 1')
    literal = bound.removeprefix("up{app=").removesuffix("} == 1")
    assert json.loads(literal) == value
    assert "\n" not in literal


@pytest.mark.parametrize(
    ("query", "args", "message"),
    [
        ("up{app=$ap}", {"app": "x"}, r"\$ap has no value in args"),
        ("up", {"app": "x"}, r"args.app: the query does not use \$app"),
        ('up{app="$app"}', {"app": "x"}, r"inside a string"),
        ("up{app='$app'}", {"app": "x"}, r"inside a string"),
        ("up{app=`$app`}", {"app": "x"}, r"inside a string"),
        ('up{app=~"a|$app"}', {"app": "x"}, r"inside a string"),
        ('up{app="$app}', {"app": "x"}, r'" at 7 begins no string'),
        ("up{app=${app}}", {"app": "x"}, r"\$ at 7 begins no string and no name"),
        ("up # $app\n", {"app": "x"}, r"does not use \$app"),
    ],
)
def test_wrong_placeholders_are_refused(query: str, args: dict[str, str], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        bind(query, args)
    with pytest.raises(ValidationError, match=message.rsplit(": ", maxsplit=1)[-1]):
        PrometheusParameters(query=query, args=args, below=1)


def test_a_dollar_that_anchors_a_pattern_is_no_placeholder() -> None:
    assert bind('up{app=~"^api$"}', {}) == 'up{app=~"^api$"}'
    assert bind("up{app=~'a$|b$', job=$job}", {"job": "j"}) == "up{app=~'a$|b$', job=\"j\"}"


@pytest.mark.parametrize("bounds", [{}, {"below": 1, "above": 0}, {"below": math.nan}, {"above": math.inf}])
def test_exactly_one_finite_bound(bounds: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        PrometheusParameters.model_validate({"query": "up", **bounds})


@pytest.mark.parametrize(
    ("bounds", "answer", "holds"),
    [
        ({"below": 1}, series(0.5), True),
        ({"below": 1}, series(1), False),
        ({"above": 1}, series(1.5), True),
        ({"above": 1}, series(1), False),
        ({"equals": 3}, series(3), True),
        ({"equals": 3}, series(3.1), False),
        ({"below": 1}, series(0.1, 0.2, 0.3, 0.4), True),
        ({"below": 1}, series(0.1, 2), False),
        ({"below": 1}, [], None),
        ({"below": 1}, series(math.nan), None),
        ({"below": 1}, series(0.1, math.nan), None),
        ({"below": 1}, series(math.nan, 2), False),
        ({"below": 1}, series(math.inf), False),
        ({"below": 1}, series(-math.inf), True),
    ],
)
async def test_what_is_evidence(bounds: dict[str, float], answer: list[Sample], holds: bool | None) -> None:
    metrics = Metrics(answer)
    ctx = context(Systems(metrics=metrics))
    params = PrometheusParameters.model_validate({"query": "up{app=$app}", "args": {"app": 'a"b'}, **bounds})

    verdict = await PrometheusCheck().evaluate(ctx, params)

    assert verdict.holds is holds
    assert verdict.detail
    assert metrics.asked == [('up{app="a\\"b"}', ctx.clock.now())]


async def test_no_answer_is_no_evidence_and_a_wrong_query_is_an_error() -> None:
    params = PrometheusParameters(query="up", below=1)

    silent = await PrometheusCheck().evaluate(context(Systems(metrics=Metrics(UnavailableError("gone")))), params)

    assert (silent.holds, silent.detail) == (None, "gone")
    with pytest.raises(PermanentError, match="parse error"):
        await PrometheusCheck().evaluate(context(Systems(metrics=Metrics(PermanentError("parse error")))), params)
    with pytest.raises(NotFoundError, match=r"prometheus\.url"):
        await PrometheusCheck().evaluate(context(Systems()), params)


async def test_the_detail_shows_the_worst_and_stays_short() -> None:
    params = PrometheusParameters(query="up", below=1)

    verdict = await PrometheusCheck().evaluate(context(Systems(metrics=Metrics(series(0, 5, 6, 7, 8)))), params)

    assert verdict.detail == 'not below 1: 5 {pod="p1"}, 6 {pod="p2"}, 7 {pod="p3"} and 1 more'


@pytest.mark.parametrize(("firing", "holds"), [(0, True), (2, None)])
async def test_an_alert_that_still_fires_is_not_yet_a_failure(firing: int, holds: bool | None) -> None:
    params = AlertParameters.model_validate({AlertParameters.shorthand: "resolved"})

    verdict = await AlertCheck().evaluate(context(Systems(alerts=Alerts(firing))), params)

    assert verdict.holds is holds
