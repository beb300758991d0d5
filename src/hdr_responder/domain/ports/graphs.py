"""Pictures of numbers over time, as people look at them in a channel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line; a value that is not finite leaves a gap."""

    label: str
    points: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What to draw from ``start`` to ``end``; ``unit`` is written on the axis of the values.

    ``mark`` is a time that is drawn as a line with ``mark_label``.
    """

    title: str
    unit: str
    start: datetime
    end: datetime
    lines: tuple[Line, ...]
    mark: datetime | None = None
    mark_label: str = ""


class Painter(Protocol):
    """Draws graphs."""

    async def draw(self, graph: Graph) -> bytes:
        """Return the graph as PNG; raises TemporaryError when it takes too long."""
        ...
