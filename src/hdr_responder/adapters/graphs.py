"""Draws graphs as PNG with matplotlib, in a process of its own.

Importing and drawing take a second of a processor and a lot of memory. In a process that ends afterwards neither weighs
on the service, and a drawing that hangs can be ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import os
import sys
from datetime import UTC
from typing import Any

from hdr_responder.domain.ports.graphs import Graph
from hdr_responder.errors import AdapterError, UnavailableError

TIMEOUT_SECONDS = 30.0
MAX_PNG_BYTES = 2 * 1024 * 1024
AT_ONCE = 1
INCHES = (9.0, 4.0)
DOTS_PER_INCH = 100
LEGEND_LINES = 10
LABEL_LIMIT = 60
PALETTE = "tab20"
SECONDS_A_DAY = 86_400
PASSED_ON = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "MPLCONFIGDIR",
    "XDG_CACHE_HOME",
)
"""What of our environment the other process gets; it draws numbers and needs none of our credentials."""


class GraphPainter:
    """Implements `Painter`; one graph is drawn at a time."""

    def __init__(self, timeout: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def draw(self, graph: Graph) -> bytes:
        """Draw in a process of its own."""
        async with self._turn:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                __name__,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
            )
            try:
                async with asyncio.timeout(self._timeout):
                    picture, complaint = await process.communicate(_written(graph))
            except TimeoutError as e:
                raise UnavailableError(f"the graph was not drawn within {self._timeout:g} s") from e
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
        if process.returncode or not picture or len(picture) > MAX_PNG_BYTES:
            told = complaint.decode(errors="replace").strip().splitlines()[-1:]
            raise AdapterError(f"the graph could not be drawn: {' '.join(told)[:200]}")
        return picture


def _written(graph: Graph) -> bytes:
    lines = [
        {"label": line.label, "points": [(at.timestamp(), _finite(value)) for at, value in line.points]}
        for line in graph.lines
    ]
    document = {
        "title": graph.title,
        "unit": graph.unit,
        "start": graph.start.timestamp(),
        "end": graph.end.timestamp(),
        "lines": lines,
        "mark": graph.mark.timestamp() if graph.mark else None,
        "mark_label": graph.mark_label,
    }
    return json.dumps(document).encode()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def paint(document: dict[str, Any]) -> bytes:
    """Draw what was written down for another process and return the PNG: the same bytes for the same document."""
    from matplotlib import colormaps
    from matplotlib.dates import ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=colormaps[PALETTE].colors)  # type: ignore[attr-defined]
    _lines(axes, document["lines"])
    if document["mark"] is not None:
        label = _plain(document["mark_label"][:LABEL_LIMIT])
        axes.axvline(_time(document["mark"]), color="crimson", linestyle="--", linewidth=1.2, label=label)
    axes.set_xlim(_time(document["start"]), _time(document["end"]))
    axes.xaxis_date(tz=UTC)
    formatter = ConciseDateFormatter(axes.xaxis.get_major_locator(), tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    axes.set_title(_plain(document["title"]), loc="left", fontsize=11)
    axes.set_ylabel(_plain(document["unit"]))
    axes.set_xlabel("UTC")
    axes.grid(visible=True, alpha=0.3)
    if len(document["lines"]) > 1 or document["mark"] is not None:
        axes.legend(fontsize=8, loc="upper left", framealpha=0.6)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": "hdr-responder"})
    return picture.getvalue()


def _lines(axes: Any, lines: list[dict[str, Any]]) -> None:
    """Draw the lines; of many, those that the legend has no room for are counted in its last entry."""
    shown = len(lines) if len(lines) <= LEGEND_LINES else LEGEND_LINES - 1
    for number, line in enumerate(lines):
        label = _plain(line["label"][:LABEL_LIMIT]) if number < shown else None
        if number == shown:
            label = f"and {len(lines) - shown} more"
        times = [_time(at) for at, _ in line["points"]]
        values = [math.nan if value is None else value for _, value in line["points"]]
        alone = "." if len(times) == 1 else ""
        axes.plot(times, values, label=label, linewidth=1.3, marker=alone)


def _time(at: float) -> float:
    """Return a Unix time as matplotlib counts: in days."""
    return at / SECONDS_A_DAY


def _plain(text: str) -> str:
    """Return text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


if __name__ == "__main__":
    sys.stdout.buffer.write(paint(json.load(sys.stdin)))
