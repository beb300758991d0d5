from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.documents.problems import DocumentError
from hdr_responder.documents.source import MAX_BYTES, Position, load_source, parse_sources


def _only(text: str) -> object:
    sources, problems = parse_sources(text, "f.yaml")
    assert not problems, problems
    return sources[0].data


@pytest.mark.parametrize(
    ("written", "value"),
    [("on", "on"), ("yes", "yes"), ("22:00", "22:00"), ("2026-01-01", "2026-01-01"), ("1_000", "1_000"), ("=", "="),
     ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("12", 12), ("-3", -3), ("0x10", 16),
     ("0o17", 15), ("012", 12), ("1.5", 1.5), ("1e3", 1000.0), ("-.inf", float("-inf")), ("'12'", "12"),
     ('"true"', "true"),     ("!!str 12", "12"), ("99999999999999999999999", 1e23), ("12abc", "12abc")],
)  # fmt: skip
def test_scalars_are_yaml_1_2(written: str, value: object) -> None:
    assert _only(f"a: {written}\n") == {"a": value}


@pytest.mark.parametrize("written", ["on", "yes", "22:00", "2026-01-01"])
def test_a_directive_does_not_bring_yaml_1_1_back(written: str) -> None:
    assert _only(f"%YAML 1.1\n---\na: {written}\n") == {"a": written}


def test_every_key_and_value_has_its_place() -> None:
    (source,), problems = parse_sources("a:\n  - x: 1\n    y: {z: '2'}\n  - w\n", "f.yaml")
    assert not problems
    assert source.position(("a", 0, "y", "z")) == Position(3, 12)
    assert source.key_position(("a", 0, "y", "z")) == Position(3, 9)
    assert source.position(("a", 1)) == Position(4, 5)
    assert source.position(("a", 0, "missing")) == Position(2, 5)
    assert source.value(("a", 0, "y", "z")) == "2"
    assert source.value(("a", 7)) is None


@pytest.mark.parametrize(
    ("text", "needle", "place"),
    [
        ("a: x steps.y\n", "steps", Position(1, 6)),
        ("a: 'x steps.y'\n", "steps", Position(1, 7)),
        ('a: "x steps.y"\n', "steps", Position(1, 7)),
        ("a: |\n  x\n  y steps.z\n", "steps", Position(3, 5)),
        ("a: |\n\n    x\n      steps.z\n", "steps", Position(4, 7)),
        ("a: >\n  x\n  steps.z\n", "steps", Position(1, 4)),
        ("a: 'it''s steps'\n", "steps", Position(1, 4)),
    ],
)
def test_a_place_inside_a_text(text: str, needle: str, place: Position) -> None:
    (source,), _ = parse_sources(text, "f.yaml")
    assert source.position_within(("a",), source.data["a"].index(needle)) == place


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: duplicate key (first at line 1) (got 'a')"),
        ("a: {b: 1, b: 2}\n", "f.yaml:1:11: duplicate key"),
        ("? [x]\n: y\n", "f.yaml:1:3: a key must be plain text"),
        ("a: [1\n", "f.yaml:2:1: YAML syntax: expected ',' or ']'"),
        ("a:\n\t- b\n", "f.yaml:2:1: YAML syntax"),
        ("a: *b\n", "f.yaml:1:4: YAML syntax: found undefined alias 'b'"),
        ("a: &x [*x]\n", "f.yaml:1:4: is nested deeper than 40 levels"),
        ("a: !!python/object:os.system x\n", "f.yaml:1:4: unsupported YAML tag !!python/object:os.system"),
        ("a: !env HOME\n", "f.yaml:1:4: unsupported YAML tag !env"),
        ("a: \x07\n", "f.yaml:1:1: is not YAML: unacceptable character"),
        ("[" * 5000, "f.yaml:1:1: is nested too deeply"),
    ],
)
def test_bad_yaml_is_told_at_its_place(text: str, problem: str) -> None:
    _, problems = parse_sources(text, "f.yaml")
    assert str(problems[0]).startswith(problem)


def test_aliases_cannot_unfold_without_bound() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    _, problems = parse_sources("\n".join(rows), "f.yaml")
    assert [p.message for p in problems] == ["aliases unfold to more than 100000 values"]


def test_aliases_are_plain_copies() -> None:
    assert _only("a: &x {b: [1]}\nc: *x\n") == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_a_file_may_hold_several_documents() -> None:
    sources, problems = parse_sources("# head\n---\na: 1\n---\n---\nb: 2\n", "f.yaml")
    assert not problems
    assert [s.data for s in sources] == [{"a": 1}, {"b": 2}]
    assert sources[1].position(("b",)) == Position(6, 4)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    sources, problems = parse_sources(text, "f.yaml")
    assert isinstance(sources, list)
    assert all(p.line >= 1 and p.column >= 1 for p in problems)


def test_load_source_wants_one_document_in_a_readable_file(tmp_path: Path) -> None:
    good, two, big, latin = (tmp_path / n for n in ("good", "two", "big", "latin"))
    good.write_text("a: 1\n")
    two.write_text("a: 1\n---\nb: 2\n")
    big.write_text("#" * (MAX_BYTES + 1))
    latin.write_bytes("a: ö".encode("latin-1"))
    assert load_source(good).data == {"a": 1}
    for path, why in (
        (two, "found 2"),
        (big, "larger than 1024 KiB"),
        (latin, "not UTF-8"),
        (tmp_path / "no", "cannot be"),
    ):
        with pytest.raises(DocumentError, match=why) as caught:
            load_source(path)
        assert caught.value.problems[0].file == str(path)
