"""Takes the literals out of query texts: a value that somebody typed may be a password or a person's name."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<escaped> [eE]'(?:[^'\\]|''|\\.)*(?:'|\\?\Z) )
    | (?P<string> (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z) )
    | (?P<dollars> (?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?:(?P=tag)|\Z) )
    | (?P<name> "(?:[^"]|"")*(?:"|\Z) | [^\W\d][\w$]* | \$\d+ )
    | (?P<number> (?:\d[\w.]*|\.\d[\w.]*)(?:(?<=[eE])[+-]\d+)? )
    """,
    re.VERBOSE | re.DOTALL,
)


def without_literals(query: str) -> str:
    """Return the text with ``?`` for every string and number and without comments, also where the text was cut.

    Names and parameters (``$1``) stay.
    """
    return _TOKEN.sub(_kept, query).strip()


def _kept(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "name":
            return token[0]
        case "comment":
            return " "
        case _:
            return "?"
