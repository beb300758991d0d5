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
    """What to draw; ``unit`` is written on the axis of the values."""

    title: str
    unit: str
    lines: tuple[Line, ...]


class Painter(Protocol):
    """Draws graphs."""

    async def draw(self, graph: Graph) -> bytes:
        """Return the graph as PNG; raises TemporaryError when it takes too long."""
        ...
