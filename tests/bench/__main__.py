"""``python -m tests.bench [--quick] [--only NAME]``: measure, print, keep the results.

Exits 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import uvloop

from tests.bench import check, latency, machine, memory, planning, receive, simulation, steps
from tests.bench.figures import Detail, Figure

RESULTS = Path(__file__).parents[2] / "bench" / "results"


class _Measure(Protocol):
    def __call__(self, *, quick: bool) -> Awaitable[list[Figure]]: ...


_MEASURES: Mapping[str, _Measure] = {
    "receive": receive.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "check": check.measure,
    "planning": planning.measure,
    "steps": steps.measure,
    "simulation": simulation.measure,
}


async def run(names: Sequence[str], *, quick: bool) -> list[Figure]:
    """Measure one after the other, telling each figure as soon as it is known."""
    figures: list[Figure] = []
    for name in names:
        print(f"{name} ...", flush=True)
        neighbours = machine.Neighbours()
        measured = await _MEASURES[name](quick=quick)
        others = {"used_by_others": round(neighbours.share(), 2)}
        for figure in (replace(found, detail={**found.detail, **others}) for found in measured):
            figures.append(figure)
            print(f"  {figure.line()}\n    {_told(figure.detail)}", flush=True)
    return figures


def keep(figures: Sequence[Figure], *, quick: bool, now: datetime, folder: Path = RESULTS) -> Path:
    """Write the results under the present time; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y-%m-%dT%H-%M-%SZ}.json"
    document = {
        "measured_at": now.isoformat(timespec="seconds"),
        "quick": quick,
        "machine": machine.describe(),
        "figures": [figure.document() for figure in figures],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure against the limits.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: to see that it works")
    parser.add_argument("--only", choices=_MEASURES, help="one of the measurements")
    options = parser.parse_args(arguments)
    for name in [name for name in os.environ if name.startswith("HDR_")]:
        del os.environ[name]
    now = datetime.now(UTC)
    figures = uvloop.run(run([options.only] if options.only else list(_MEASURES), quick=options.quick))
    print(f"written to {keep(figures, quick=options.quick, now=now).relative_to(RESULTS.parents[1])}")
    if any(_busy(figure) for figure in figures):
        print("something else used this machine meanwhile: measure again when it is idle")
    return 0 if all(figure.met for figure in figures) else 1


def _told(detail: Detail) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in detail.items())


def _busy(figure: Figure) -> bool:
    share = figure.detail.get("used_by_others", 0)
    return isinstance(share, float) and share >= machine.BUSY_SHARE


if __name__ == "__main__":
    sys.exit(main())
