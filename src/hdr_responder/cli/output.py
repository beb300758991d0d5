"""How results look: tables on a terminal, plain aligned lines elsewhere, JSON where asked for.

Nothing that came from outside reaches the terminal as a control sequence, and there is no colour off a terminal.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

import typer
from pydantic import BaseModel

from hdr_responder.records.presentation import one_line

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co"})
_CELL = 200
_LAST = 30
"""Characters that the last column has at least, also where a terminal is narrower."""


def say(text: str) -> None:
    """Print a line of the result."""
    typer.echo(visible(text))


def note(text: str) -> None:
    """Print a line beside the result, on standard error, so that pipes get the result alone."""
    typer.echo(visible(text), err=True)


def print_json(view: BaseModel) -> None:
    """Print a view in the API's shape."""
    typer.echo(view.model_dump_json(indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print rows under their column names; ``empty`` is noted when there are none."""
    if not rows:
        note(empty)
        return
    cells = [[one_line(cell, _CELL) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in (columns, *cells)) for i in range(len(columns))]
    if sys.stdout.isatty():
        _print_rich(columns, cells, widths)
        return
    for line in (columns, *cells):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_more(cursor: str | None) -> None:
    """Note that a listing goes on."""
    if cursor is not None:
        note(f"There are more: --cursor {cursor}")


def clock(at: datetime | None) -> str:
    """Return a time for a table: UTC to the second, ``-`` for none."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if at else "-"


def visible(text: str) -> str:
    """Return text with everything escaped that steers terminals or turns the reading direction."""
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSEEN and c not in "\n\t" else c for c in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    """Draw a table in which only the last column is folded: ids and times stay whole, to be copied."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    needed = sum(width + 2 for width in widths[:-1]) + min(widths[-1], _LAST)
    console.width = max(console.width, needed)
    console.print(table)
