from __future__ import annotations

from datetime import timedelta

import pytest

from hdr_responder.documents.expressions import (
    ExpressionError,
    InvalidExpressionError,
    Scope,
    compile_condition,
    compile_expression,
)
from hdr_responder.documents.protobuf import referenced_names
from hdr_responder.errors import PermanentError
from tests.unit.documents.scopes import EMPTY, RELEASE, WORKLOAD, scope, values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("params.count + 1", 4),
        ("params.workload", WORKLOAD),
        ("true ? params.workload : params.workload", WORKLOAD),
        ("params.workload.name + '/' + params.workload.namespace", "neural-hdr/hdr-empire"),
        ("steps.release.age < params.fresh", True),
        ("steps.release.age + duration('1h')", timedelta(minutes=63)),
        ("steps.release.previous.number", 7),
        ("steps.release.previous.at == alert.starts_at", True),
        ("steps.release.pods.filter(p, p.restarts > 3).map(p, p.name)", ["p-1"]),
        ("duration(steps.release.pods[0].age) > duration('1h')", True),
        ("steps.release.ok && !steps.release.failed && !steps.release.skipped", True),
        ("alert.labels.pod", "p-1"),
        ("alert.labels['pod'].startsWith('p')", True),
        ("has(alert.labels.zone) ? alert.labels.zone : 'none'", "none"),
        ("alerts.exists(a, a.labels.pod == 'p-1' && a.status == 'firing')", True),
        ("'A'.lowerAscii()", "a"),
        ("incident.service", None),
        ("incident.service == null", True),
        ("service.name == 'x' || true", True),
        ("'ö' + string(params.count)", "ö3"),
    ],
)
def test_evaluates(text: str, value: object) -> None:
    assert compile_expression(text, scope()).evaluate(values()) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("alert.labels.zone", "the alert has no label 'zone'"),
        ("alert.labels['zo' + 'ne']", "the alert has no label 'zone'"),
        ("alert.labels.zone == ''", "the alert has no label 'zone'"),
        ("alert.annotations.runbook", "the alert has no annotation 'runbook'"),
        ("alerts[0].labels.zone == 'x'", "has no 'zone'"),
        ("service.name", "service.name has no value"),
        ("incident.service + 'x'", "null"),
        ("params.count / 0 == 1", "divide by zero"),
        ("steps.release.pods[9].name == 'x'", "Index error"),
        ("duration('soon') == params.fresh", "duration"),
    ],
)
def test_what_has_no_value_is_an_error_that_names_it(text: str, why: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, scope()).evaluate(values())
    assert why in str(caught.value)
    assert text in str(caught.value)
    assert isinstance(caught.value, PermanentError)


def test_null_results_are_null_and_not_zero() -> None:
    given = values(EMPTY)
    assert compile_condition("steps.release.age == null", scope()).evaluate(given) is True
    assert compile_condition("steps.release.ratio == null", scope()).evaluate(given) is True
    assert compile_condition("steps.release.previous == null", scope()).evaluate(given) is True
    for text in ("steps.release.age < params.fresh", "steps.release.ratio < 0.1", "steps.release.previous.number > 0"):
        with pytest.raises(ExpressionError):
            compile_condition(text, scope()).evaluate(given)
        assert isinstance(compile_condition(text, scope()).evaluate(values(RELEASE)), bool)


def test_a_skipped_step_has_no_result() -> None:
    given = values(None)
    assert compile_condition("steps.release.skipped", scope()).evaluate(given) is True
    with pytest.raises(ExpressionError, match=r"steps\.release\.age has no value"):
        compile_condition("steps.release.age < params.fresh", scope()).evaluate(given)


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_text_that_the_runtime_would_cut_off_is_refused(value: str) -> None:
    given = values() | {"alert.labels": {"pod": value}}
    with pytest.raises(ExpressionError, match=r"alert.labels\['pod'\] holds a character that is no text"):
        compile_expression("alert.labels.pod + ''", scope()).evaluate(given)


@pytest.mark.parametrize(
    ("text", "offset", "message", "suggestion"),
    [
        ("steps.relaese.age < params.fresh", 0, "unknown name steps.relaese.age", "steps.release.age"),
        ("true && steps.release.agee == null", 8, "unknown name steps.release.agee", "steps.release.age"),
        ("'ö' == params.workload.nmae", 7, "unknown name params.workload.nmae", "params.workload.name"),
        ("true &&\n  alrt.status == 'x'", 10, "unknown name alrt.status", "alert.status"),
        ("alert.status.lower()", 18, "unknown name lower", None),
        ("steps.release.age < 5", 18, "'<' cannot take (duration, int); write duration('5m') for a duration", None),
        ("steps.release.ratio > 1", 20, "'>' cannot take (nullable (double), int)", None),
        ("params.count ==", 15, "syntax error", None),
        ("params.count", 0, "a condition must give bool, this gives int", None),
        ("params.workload", 0, "a condition must give bool, this gives workload", None),
        ("  ", 0, "empty expression", None),
        ("'" + "x" * 2000 + "'", 0, "longer than 2000", None),
        ("(" * 500 + "true" + ")" * 500, 0, "recursion limit", None),
    ],
)
def test_mistakes_are_found_when_loaded(text: str, offset: int, message: str, suggestion: str | None) -> None:
    with pytest.raises(InvalidExpressionError) as caught:
        compile_condition(text, scope())
    (fault,) = caught.value.faults
    assert message in fault.message
    assert (fault.offset, fault.suggestion) == (offset, suggestion)


def test_every_mistake_of_an_expression_is_told() -> None:
    with pytest.raises(InvalidExpressionError) as caught:
        compile_condition("a.b && c.d", scope())
    assert [f.offset for f in caught.value.faults] == [0, 7]


def test_a_later_step_is_told_apart_from_an_unknown_one() -> None:
    with pytest.raises(InvalidExpressionError, match=r"steps\.release comes later"):
        compile_condition("true && steps.release.ok", scope().hiding(frozenset({"release"})))


def test_steps_are_read_from_the_references_and_not_from_the_text() -> None:
    expression = compile_expression("'steps.other.ok' == alert.status || steps.release.ok", scope())
    assert expression.depends_on_steps == {"release"}
    assert expression.names == {"alert.status", "steps.release.ok"}
    assert compile_expression("[1].map(steps, steps)", scope()).depends_on_steps == frozenset()


def test_a_malformed_message_is_refused() -> None:
    with pytest.raises(ValueError, match="wire type"):
        referenced_names(b"\x0f")


def test_true_or_an_error_is_true_but_false_or_an_error_is_an_error() -> None:
    assert compile_condition("true || alert.labels.zone == 'x'", scope()).evaluate(values()) is True
    with pytest.raises(ExpressionError):
        compile_condition("false || alert.labels.zone == 'x'", scope()).evaluate(values())


def test_work_is_bounded() -> None:
    rows = "[" + ",".join("1" * 10) + "]"
    text = rows
    for name in "abcdefg":
        text = f"{rows}.map({name}, {text})"
    with pytest.raises(ExpressionError, match="budget"):
        compile_expression(text, Scope(names={})).evaluate({})
