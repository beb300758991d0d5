"""Between dataclasses and rows: many of them travel as one JSON document, so that a batch is one statement.

JSON stays text on these connections (no codec): PgQueuer shares them and passes its own JSON as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import asyncpg
from pydantic_core import from_json, to_json

_NUL = b"\\u0000"


def names(kind: type[Any], *, without: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the fields of a dataclass that are columns."""
    left_out = set(without)
    return tuple(f.name for f in fields(kind) if f.name not in left_out)


def pick(source: object, columns: Iterable[str]) -> dict[str, Any]:
    """Return the named attributes of ``source``."""
    return {name: getattr(source, name) for name in columns}


def read(row: asyncpg.Record, columns: Iterable[str]) -> dict[str, Any]:
    """Return the named columns of ``row``; others (of a newer schema) are ignored."""
    return {name: row[name] for name in columns}


def document(value: object) -> str:
    """Return ``value`` as JSON for a jsonb parameter; NUL, which PostgreSQL cannot hold, becomes U+FFFD."""
    encoded = to_json(value)
    if _NUL in encoded:
        encoded = to_json(_clean(from_json(encoded)))
    return encoded.decode()


def text(value: str) -> str:
    """Return ``value`` as PostgreSQL can hold it."""
    return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def parsed(value: str | None) -> Any:
    """Return what a jsonb column holds."""
    return None if value is None else from_json(value)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {text(k): _clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
