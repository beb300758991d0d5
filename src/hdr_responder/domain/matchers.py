"""Label matchers in Alertmanager's own syntax, so that a route's matchers can be copied into a playbook unchanged.

Follows Alertmanager's UTF-8 matcher grammar: ``name op value``, names and values bare or in double quotes, several
joined by commas, optionally in braces. Regular expressions must match the whole value, and a missing label reads as
empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from hdr_responder.domain.patterns import PatternError, compile_pattern
from hdr_responder.errors import InvalidInputError

Labels = Mapping[str, str]

_RESERVED = frozenset("{}!=~,\\\"'`")
_ESCAPE = re.compile(r"""\\(?:[abfnrtv\\"']|x[0-9a-fA-F]{2}|[0-7]{3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})""")
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
_CLOSED_REGEX = re.compile(r"[\w |-]+")


class MatcherError(InvalidInputError, ValueError):
    """A text is no matcher. ``column`` is the 1-based place in the text."""

    def __init__(self, message: str, *, column: int) -> None:
        super().__init__(message)
        self.column = column


class Operator(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"

    @property
    def is_regex(self) -> bool:
        """Whether the value is a regular expression."""
        return self in (Operator.MATCHES, Operator.NOT_MATCHES)

    @property
    def negates(self) -> bool:
        """Whether it holds where the comparison does not."""
        return self in (Operator.NOT_EQUAL, Operator.NOT_MATCHES)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One comparison of one label."""

    name: str
    operator: Operator
    value: str
    _pattern: re.Pattern[str] | None = field(default=None, compare=False, repr=False)

    def matches(self, labels: Labels) -> bool:
        """Tell whether the labels satisfy this matcher; a missing label reads as the empty text."""
        return self.accepts(labels.get(self.name, ""))

    def accepts(self, value: str) -> bool:
        """Tell whether a label of this value satisfies this matcher."""
        hit = bool(self._pattern.fullmatch(value)) if self._pattern else value == self.value
        return hit is not self.operator.negates

    def implied_by(self, other: Matcher) -> bool:
        """Tell whether whatever satisfies ``other`` surely satisfies this one (used to find rules never reached)."""
        if self == other:
            return True
        if self.name != other.name:
            return False
        values = other.closed_values()
        return values is not None and all(self.accepts(v) for v in values)

    def closed_values(self) -> tuple[str, ...] | None:
        """Return the only values that satisfy this matcher where they can be listed (``=``, ``=~ "a|b"``)."""
        if self.operator is Operator.EQUAL:
            return (self.value,)
        if self.operator is Operator.MATCHES and _CLOSED_REGEX.fullmatch(self.value):
            return tuple(self.value.split("|"))
        return None

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{json.dumps(self.value, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class MatcherSet:
    """Alternatives, each a list of matchers that must all hold; any alternative suffices."""

    alternatives: tuple[tuple[Matcher, ...], ...]

    def matches(self, labels: Labels) -> bool:
        """Tell whether all matchers of any alternative hold."""
        return any(all(m.matches(labels) for m in every) for every in self.alternatives)

    def covers(self, other: MatcherSet) -> bool:
        """Tell whether everything that ``other`` matches is surely matched by this set too."""
        return all(any(_narrower(theirs, ours) for ours in self.alternatives) for theirs in other.alternatives)


def _narrower(narrow: tuple[Matcher, ...], wide: tuple[Matcher, ...]) -> bool:
    return all(any(w.implied_by(n) for n in narrow) for w in wide)


def parse_matcher_set(lists: Sequence[str] | Sequence[Sequence[str]]) -> MatcherSet:
    """Return the set that a document writes: a list of matchers (all of), or a list of such lists (any of).

    Raises MatcherError for the first text that is none.
    """
    alternatives: list[tuple[Matcher, ...]] = []
    every: list[Matcher] = []
    for entry in lists:
        if isinstance(entry, str):
            every.extend(parse_matchers(entry))
        else:
            alternatives.append(tuple(m for text in entry for m in parse_matchers(text)))
    return MatcherSet((*alternatives, tuple(every)) if every else tuple(alternatives))


@lru_cache(maxsize=4096)
def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of ``a = "b", c =~ "d|e"``, braces allowed. Raises MatcherError with the column."""
    return _Reader(text).all()


class _Reader:
    """Reads one text from left to right; ``at`` is the 0-based place."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def all(self) -> tuple[Matcher, ...]:
        braced = self._skip("{")
        matchers: list[Matcher] = []
        while not self._at_end() and not (braced and self._peek() == "}"):
            matchers.append(self._matcher())
            if not self._skip(","):
                break
        if braced and not self._skip("}"):
            raise self._error("expected } at the end")
        if not self._at_end():
            raise self._error(f"unexpected {self._peek()!r} after the matcher")
        if not matchers:
            raise self._error("empty matcher; expected for example severity = critical")
        return tuple(matchers)

    def _matcher(self) -> Matcher:
        name = self._word("a label name")
        if not name:
            raise self._error("a label name cannot be empty")
        operator = self._operator()
        self._spaces()
        start = self.at
        value = self._word("a value")
        if not operator.is_regex:
            return Matcher(name, operator, value)
        try:
            return Matcher(name, operator, value, compile_pattern(value))
        except PatternError as e:
            raise MatcherError(str(e), column=start + 1) from e

    def _operator(self) -> Operator:
        self._spaces()
        for text in ("=~", "!=", "!~", "="):
            if self.text.startswith(text, self.at):
                self.at += len(text)
                return Operator(text)
        raise self._error("expected one of = != =~ !~")

    def _word(self, what: str) -> str:
        self._spaces()
        if self.text.startswith('"', self.at):
            return self._quoted()
        start = self.at
        while self.at < len(self.text) and not self._reserved(self.text[self.at]):
            self.at += 1
        if start == self.at:
            hint = "; use double quotes" if self.text.startswith(("'", "`"), self.at) else ""
            raise self._error(f"expected {what}{hint}")
        return self.text[start : self.at]

    def _quoted(self) -> str:
        opened = self.at
        self.at += 1
        out: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return "".join(out)
            if char == "\\":
                out.append(self._escape())
                continue
            out.append(char)
            self.at += 1
        self.at = opened
        raise self._error('missing the closing "')

    def _escape(self) -> str:
        match = _ESCAPE.match(self.text, self.at)
        if match is None:
            raise self._error(f"invalid escape {self.text[self.at : self.at + 2]!r}; write \\\\ for a backslash")
        self.at = match.end()
        body = match[0][1:]
        if body in _SIMPLE:
            return _SIMPLE[body]
        code = int(body, 8) if body.isdigit() else int(body[1:], 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise self._error(f"{match[0]!r} is not a character")
        return chr(code)

    @staticmethod
    def _reserved(char: str) -> bool:
        return char in _RESERVED or char.isspace()

    def _spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _peek(self) -> str:
        self._spaces()
        return self.text[self.at : self.at + 1]

    def _at_end(self) -> bool:
        return not self._peek()

    def _skip(self, char: str) -> bool:
        if self._peek() != char:
            return False
        self.at += 1
        return True

    def _error(self, message: str) -> MatcherError:
        return MatcherError(message, column=self.at + 1)
