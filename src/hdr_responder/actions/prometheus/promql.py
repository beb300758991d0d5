"""PromQL with values in it: they enter a query as quoted strings and can never become a part of the question.

A label of an alert is text that anyone who can raise an alert may choose. Spliced into a query it could replace the
whole question by one whose answer is always good; so a placeholder is bound where PromQL expects a string, and one
inside a string, where quoting would end that string, is refused. After ``=~`` the value is a regular expression, as
everywhere in PromQL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from hdr_responder.domain.ports.metrics import Sample
from hdr_responder.errors import InvalidInputError

_TOKEN = re.compile(
    r"""
    (?P<string> "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | `[^`]*` )
    | (?P<comment> \#[^\n]* )
    | \$(?P<name> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<stray> ["'`$] )
    """,
    re.VERBOSE,
)
_INSIDE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_SHOWN_SERIES = 3


class QueryError(InvalidInputError, ValueError):
    """A query's placeholders are wrong; the message says which and how to write them."""


def bind(query: str, args: Mapping[str, str]) -> str:
    """Return ``query`` with each ``$name`` replaced by ``args[name]`` as a quoted PromQL string.

    Raises QueryError for an unknown name, an unused argument, a placeholder inside a string, and an unfinished string.
    """
    used: set[str] = set()

    def replaced(token: re.Match[str]) -> str:
        if token["string"]:
            _refuse_inside(token["string"], args)
        if token["stray"]:
            raise QueryError(f"{token['stray']} at {token.start()} begins no string and no name", field="query")
        name = token["name"]
        if name is None:
            return token[0]
        if name not in args:
            raise QueryError(f"${name} has no value in args", field="query")
        used.add(name)
        return json.dumps(args[name], ensure_ascii=False)

    bound = _TOKEN.sub(replaced, query)
    unused = sorted(set(args) - used)
    if unused:
        raise QueryError(f"the query does not use ${unused[0]}", field=f"args.{unused[0]}")
    return bound


def _refuse_inside(string: str, args: Mapping[str, str]) -> None:
    for name in _INSIDE.findall(string):
        if name in args:
            raise QueryError(
                f"${name} is inside a string; it brings its own quotes: write label=${name}", field="query"
            )


def shown(samples: Sequence[Sample]) -> str:
    """Return the first series with their values in one line."""
    listed = ", ".join(_series(sample) for sample in samples[:_SHOWN_SERIES])
    more = len(samples) - _SHOWN_SERIES
    return f"{listed} and {more} more" if more > 0 else listed


def labels_text(labels: Mapping[str, str]) -> str:
    """Return labels as PromQL writes them, empty for none."""
    listed = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items()))
    return f"{{{listed}}}" if listed else ""


def _series(sample: Sample) -> str:
    return f"{sample.value:g} {labels_text(sample.labels)}".rstrip()
