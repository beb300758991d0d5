"""Compiles the matchers of a document, with every mistake at its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hdr_responder.documents.findings import Finding
from hdr_responder.documents.source import Loc
from hdr_responder.domain.matchers import Matcher, MatcherError, MatcherSet, parse_matchers

Written = Sequence[str] | Sequence[Sequence[str]]


def compile_matchers(written: Written, at: Loc) -> tuple[MatcherSet | None, list[Finding]]:
    """Compile a match list or a list of them; None with findings where one is invalid."""
    findings: list[Finding] = []
    alternatives: list[tuple[Matcher, ...]] = []
    every: list[Matcher] = []
    for i, entry in enumerate(written):
        if isinstance(entry, str):
            every.extend(_matchers(entry, (*at, i), findings))
        else:
            parts = [m for j, text in enumerate(entry) for m in _matchers(text, (*at, i, j), findings)]
            alternatives.append(tuple(parts))
    if every:
        alternatives.append(tuple(every))
    return (None if findings else MatcherSet(tuple(alternatives))), findings


def texts(written: Written, at: Loc) -> Iterator[tuple[Loc, str]]:
    """Return every text of a match list, or a list of them, with its place."""
    for i, entry in enumerate(written):
        if isinstance(entry, str):
            yield (*at, i), entry
        else:
            yield from (((*at, i, j), text) for j, text in enumerate(entry))


def contradictions(written: Written, at: Loc) -> Iterator[Finding]:
    """Return a finding for each list of matchers that no alert satisfies, at the matcher that the others exclude."""
    alternatives: dict[Loc, list[tuple[Loc, Matcher]]] = {}
    for loc, text in texts(written, at):
        try:
            parsed = parse_matchers(text)
        except MatcherError:
            continue
        alternatives.setdefault(loc[:-1], []).extend((loc, matcher) for matcher in parsed)
    for every in alternatives.values():
        yield from _excluded(every)


def _excluded(every: list[tuple[Loc, Matcher]]) -> Iterator[Finding]:
    left: dict[str, tuple[Matcher, set[str]]] = {}
    for _, matcher in every:
        values = matcher.closed_values()
        if values:
            left.setdefault(matcher.name, (matcher, set(values)))
    for loc, matcher in every:
        if matcher.name not in left:
            continue
        first, known = left[matcher.name]
        known -= {value for value in known if not matcher.accepts(value)}
        if not known:
            other = f": {first} is asked for as well" if first is not matcher else ""
            yield Finding(loc=loc, message=f"no alert can ever match{other}", value=str(matcher))
            return


def _matchers(text: str, loc: Loc, findings: list[Finding]) -> tuple[Matcher, ...]:
    try:
        return parse_matchers(text)
    except MatcherError as e:
        findings.append(Finding(loc=loc, message=f"invalid matcher: {e}", value=text, offset=e.column - 1))
        return ()
