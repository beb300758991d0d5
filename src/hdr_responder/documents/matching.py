"""Compiles the matchers of a document, with every mistake at its place."""

from __future__ import annotations

from collections.abc import Sequence

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


def _matchers(text: str, loc: Loc, findings: list[Finding]) -> tuple[Matcher, ...]:
    try:
        return parse_matchers(text)
    except MatcherError as e:
        findings.append(Finding(loc=loc, message=f"invalid matcher: {e}", value=text, offset=e.column - 1))
        return ()
