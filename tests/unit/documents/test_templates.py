from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.documents.expressions import ExpressionError
from hdr_responder.documents.templates import InvalidTemplateError, compile_template
from tests.unit.documents.scopes import RELEASE, WORKLOAD, scope, values


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        (3, 3),
        ("${params.fresh}", timedelta(minutes=30)),
        ("${ params.workload }", WORKLOAD),
        ("${steps.release.pods}", RELEASE.pods),
        ("restart of ${params.workload} within ${params.fresh}", "restart of deployment/neural-hdr within 30m"),
        ("${params.count}${params.count}", "33"),
        ("${params.count > 2} at ${alert.starts_at}", "true at 2026-01-02T03:04:05Z"),
        ("${steps.release.ratio}x", "0.5x"),
        ("${'}'}{${{'a': 1}['a']}", "}{1"),
        (r"${'\'}'}", "'}"),
        ("$app $$ $", "$app $$ $"),
        ("$${params.count} ${params.count}", "${params.count} 3"),
        ("$${", "${"),
        ({"a": ["${params.count}", {"b": "x"}], "${params.count}": 1}, {"a": [3, {"b": "x"}], "${params.count}": 1}),
    ],
)
def test_evaluates(written: Any, value: Any) -> None:
    assert compile_template(written, scope()).evaluate(values()) == value


def test_what_a_label_says_is_never_evaluated() -> None:
    for written, value in (
        ("${alert.labels.evil}", "${params.count} {{x}}"),
        ("<${alert.labels.evil}>", "<${params.count} {{x}}>"),
    ):
        assert compile_template(written, scope()).evaluate(values()) == value


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_any_label_passes_through_unchanged(label: str) -> None:
    given_values = values() | {"alert.labels": {"x": label}}
    for written in ("${alert.labels.x}", "${alert.labels.x}!"):
        evaluated = compile_template(written, scope()).evaluate(given_values)
        assert evaluated == label + ("!" if written.endswith("!") else "")


@pytest.mark.parametrize(
    ("written", "offset", "message"),
    [
        ("x ${params.cuont}", 4, "unknown name params.cuont"),
        ("x ${params.count", 2, "never closed"),
        ("${}", 2, "empty expression"),
        ("pods: ${steps.release.pods}", 8, "a list cannot be written into a text"),
        ("labels: ${alert.labels}", 10, "a map cannot be written into a text"),
    ],
)
def test_mistakes_are_found_when_loaded(written: str, offset: int, message: str) -> None:
    with pytest.raises(InvalidTemplateError) as caught:
        compile_template({"a": [written]}, scope())
    (faults,) = caught.value.by_path.values()
    assert list(caught.value.by_path) == [("a", 0)]
    assert (faults[0].offset, message in faults[0].message) == (offset, True)


def test_all_mistakes_are_found_at_once() -> None:
    with pytest.raises(InvalidTemplateError) as caught:
        compile_template({"a": "${x.y} ${z}", "b": ["${q}"]}, scope())
    assert {p: len(f) for p, f in caught.value.by_path.items()} == {("a",): 2, ("b", 0): 1}


def test_null_in_a_text_is_an_error() -> None:
    with pytest.raises(ExpressionError, match=r"incident\.service: null cannot be written into a text"):
        compile_template("of ${incident.service}", scope()).evaluate(values())


def test_fields_can_be_resolved_one_by_one() -> None:
    template = compile_template({"now": "${params.count}", "later": "x ${steps.release.ratio}"}, scope())
    assert template.depends_on_steps == {"release"}
    assert not template.is_static
    assert {k: bool(t.depends_on_steps) for k, t in template.fields.items()} == {"now": False, "later": True}
    assert template.fields["now"].evaluate(values()) == 3
    assert template.fields["later"].source == "x ${steps.release.ratio}"
    assert compile_template("x", scope()).fields == {}
