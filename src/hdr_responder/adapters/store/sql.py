"""Statements live in ``.sql`` files, one a noun, so that they are read, formatted and reviewed as SQL.

A file is a sequence of sections, each opened by a line ``-- name: <statement>``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

_SECTION = re.compile(r"^-- name: *(\w+)$", re.MULTILINE)


def load(noun: str) -> Mapping[str, str]:
    """Return the statements of ``sql/<noun>.sql`` by their names.

    Raises ValueError when a name is used twice.
    """
    text = (resources.files(__package__) / "sql" / f"{noun}.sql").read_text(encoding="utf-8")
    parts = _SECTION.split(text)
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ValueError(f"sql/{noun}.sql names a statement twice")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}
