"""Loads the SQL beside this module: statements of one file, and statements put together of common parts."""

from __future__ import annotations

from importlib import resources


def statement(name: str) -> str:
    """Return the statement in ``<name>.sql``."""
    return resources.files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def composed(*names: str) -> str:
    """Return one statement of files that each define what those after it select from; the last holds the query."""
    return "with recursive\n" + ",\n".join(statement(name) for name in names)
