from __future__ import annotations

import pytest

from hdr_responder.domain.patterns import PatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "value"),
    [("hdr-.*", "hdr-x"), ("(?i)HDR", "hdr"), ("(?P<n>a)b", "ab"), ("[(?=]+", "(?="), (r"\(\?=", "(?="),
     ("[*+]+", "+*"), (r"a{1,3}", "aa"), (r"[\]a]", "]"), ("[]a]", "]"), ("a|b|", ""),
     ("(?:ab)+", "abab"), (r"\d+", "42")],
)  # fmt: skip
def test_the_common_subset_works(pattern: str, value: str) -> None:
    assert compile_pattern(pattern).fullmatch(value)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [("(?=a)", "lookaround"), ("(?!a)", "lookaround"), ("(?<=a)", "lookaround"), ("(?<!a)", "lookaround"),
     (r"(a)\1", "backreference"), ("(?P<n>a)(?P=n)", "backreference"), ("(a)(?(1)b)", "conditional"),
     ("(?>a)", "atomic"), ("a++", "possessive"), ("a{2}+", "possessive"), (r"\pL", "escape"), ("[[:alpha:]]", "POSIX"),
     ("(", "invalid"), ("a{2,1}", "invalid"), ("*", "invalid"), ("a" * 2001, "longer")],
)  # fmt: skip
def test_the_rest_is_refused_with_the_reason(pattern: str, why: str) -> None:
    with pytest.raises(PatternError, match=why):
        compile_pattern(pattern)


def test_digits_are_ascii_as_in_re2() -> None:
    assert not compile_pattern(r"\d").fullmatch("٣")
