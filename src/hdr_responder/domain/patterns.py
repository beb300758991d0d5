"""Regular expressions as Prometheus and Alertmanager understand them (RE2), on Python's engine.

What RE2 lacks (lookaround, backreferences, possessive quantifiers) is refused, so that a pattern means the same here
and in Alertmanager; what Python lacks (``\\p{...}``, ``[[:alpha:]]``) is refused rather than read as something else.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hdr_responder.errors import InvalidInputError

MAX_LENGTH = 2_000
"""Longest pattern accepted, in characters."""

_REFUSED: tuple[tuple[str, str], ...] = (
    (r"\(\?(?:=|!|<=|<!)", "lookaround"),
    (r"\(\?P=", "a backreference"),
    (r"\(\?\(", "a conditional group"),
    (r"\(\?>", "an atomic group"),
    (r"\(\?#", "a comment group"),
    (r"\\[1-9k]", "a backreference"),
    (r"\\[pPQECXGZK]", "this escape"),
    (r"\[\[:", "a POSIX class"),
    (r"(?:[*+?]|\{\d+(?:,\d*)?\})\+", "a possessive quantifier"),
)
_TOKEN = re.compile(
    "|".join(f"(?P<r{i}>{pattern})" for i, (pattern, _) in enumerate(_REFUSED)) + r"|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.",
    re.DOTALL,
)


class PatternError(InvalidInputError, ValueError):
    """A text is no regular expression of the common subset; the message says why."""


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return the compiled pattern; use its ``fullmatch``, since the Prometheus world anchors at both ends.

    Classes such as ``\\d`` and ``\\w`` are ASCII, as in RE2. Raises PatternError.
    """
    if len(pattern) > MAX_LENGTH:
        raise PatternError(f"regular expression is longer than {MAX_LENGTH} characters")
    for token in _TOKEN.finditer(pattern):
        if token.lastgroup:
            what = _REFUSED[int(token.lastgroup[1:])][1]
            raise PatternError(
                f"regular expression {pattern[:60]!r} uses {what} ({token[0]}), which is not supported here"
            )
    try:
        return re.compile(pattern, re.ASCII)
    except (re.error, RecursionError, OverflowError) as e:
        raise PatternError(f"invalid regular expression {pattern[:60]!r}: {e}") from e
