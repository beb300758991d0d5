from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.domain.matchers import MatcherError, MatcherSet, parse_matcher_set, parse_matchers

LABELS = {"alertname": "HdrServiceDown", "severity": "critical", "path": 'C:\\"x"\n', "größe": "5"}


@pytest.mark.parametrize(
    "text",
    [
        "alertname = HdrServiceDown",
        'alertname="HdrServiceDown"',
        '"alertname" = "HdrServiceDown"',
        "severity != warning",
        'severity =~ "warning|critical"',
        "severity=~warning|critical",
        'severity !~ "warn.*"',
        '{alertname="HdrServiceDown", severity="critical",}',
        "alertname=HdrServiceDown,severity=critical",
        'absent = ""',
        'absent !~ ".+"',
        r'path = "C:\\\"x\"\n"',
        '"größe" = 5',
        "größe = 5",
        r'alertname = "\u0048dr\x53erviceDown"',
    ],
)
def test_holds(text: str) -> None:
    assert all(m.matches(LABELS) for m in parse_matchers(text))


@pytest.mark.parametrize(
    "text",
    [
        "alertname = Hdr",
        'alertname =~ "Hdr"',
        'alertname =~ "ServiceDown"',
        'severity !~ "critical|warning"',
        'absent =~ ".+"',
        'absent != ""',
        'severity != "critical"',
    ],
)
def test_does_not_hold_and_patterns_are_anchored(text: str) -> None:
    assert not any(m.matches(LABELS) for m in parse_matchers(text))


@pytest.mark.parametrize(
    ("text", "column", "why"),
    [
        ("", 1, "empty matcher"),
        ("severity", 9, "expected one of"),
        ("severity critical", 10, "expected one of"),
        ("severity == critical", 11, "expected a value"),
        ("severity =", 11, "expected a value"),
        ("= critical", 1, "expected a label name"),
        ('"" = x', 3, "cannot be empty"),
        ("severity = 'critical'", 12, "double quotes"),
        ('severity = "critical', 12, "closing"),
        ('severity = "a" b', 16, "unexpected 'b'"),
        ("{severity = a", 14, "expected }"),
        ("severity = a}", 13, "unexpected '}'"),
        (r'severity = "\d"', 13, "invalid escape"),
        (r'severity = "\ud800"', 19, "not a character"),
        ('severity =~ "("', 13, "invalid regular expression"),
        ('severity =~ "(?=x)"', 13, "lookaround"),
        ("a=b,,c=d", 5, "label name"),
    ],
)
def test_a_mistake_is_told_with_its_column(text: str, column: int, why: str) -> None:
    with pytest.raises(MatcherError, match=why) as caught:
        parse_matchers(text)
    assert caught.value.column == column


@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=5)), st.sampled_from("abc"), st.text(max_size=5))
def test_what_a_matcher_prints_means_the_same(labels: dict[str, str], name: str, value: str) -> None:
    quoted = value.encode("unicode_escape").decode().replace('"', '\\"')
    if "\\U" in quoted and "\\Ud8" in quoted.lower():
        return
    for operator in ("=", "!="):
        (matcher,) = parse_matchers(f'{name} {operator} "{quoted}"')
        assert matcher.value == value
        assert matcher.matches(labels) is ((labels.get(name, "") == value) is (operator == "="))


def test_a_list_means_all_and_a_list_of_lists_means_any() -> None:
    every = parse_matcher_set(["alertname = HdrServiceDown", "severity = warning"])
    either = parse_matcher_set([["alertname = HdrServiceDown"], ["severity = warning", "absent = x"]])
    assert not every.matches(LABELS)
    assert either.matches(LABELS)
    assert not parse_matcher_set([]).matches(LABELS)


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        (["a = 1"], ["a = 1", "b = 2"], True),
        (["a = 1", "b = 2"], ["a = 1"], False),
        (['a =~ "1|2"'], ["a = 1"], True),
        (['a =~ "1|2"'], ['a =~ "2|1"'], True),
        (['a =~ "1|2"'], ['a =~ "1|3"'], False),
        (['a =~ "1.*"'], ['a =~ "1[0-9]"'], False),
        (["a != 1"], ["a = 2"], True),
        (["a != 1"], ["b = 2"], False),
        ([["a = 1"], ["b = 2"]], ["b = 2", "c = 3"], True),
        (["a = 1"], [["a = 1"], ["b = 2"]], False),
    ],
)
def test_covers_only_what_is_sure(wide: list[str], narrow: list[str], covers: bool) -> None:
    assert parse_matcher_set(wide).covers(parse_matcher_set(narrow)) is covers


_TEXTS = st.sampled_from(["a = 1", "a = 2", "a != 1", 'a =~ "1|2"', 'a !~ "1|3"', "b = 1", 'b =~ "1|2"', 'b = ""'])
_SETS = st.lists(st.lists(_TEXTS, min_size=1, max_size=3), min_size=1, max_size=2).map(parse_matcher_set)
_LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["", "1", "2", "3"]))


@given(_SETS, _SETS, _LABELS)
def test_what_is_covered_is_matched(wide: MatcherSet, narrow: MatcherSet, labels: dict[str, str]) -> None:
    if wide.covers(narrow) and narrow.matches(labels):
        assert wide.matches(labels)
