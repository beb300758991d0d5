"""What would have been opened, paged and run: recorded deliveries replayed in memory on a virtual clock."""

from __future__ import annotations

from hdr_responder.engine.simulation.account import Simulated, SimulatedIncident, SimulatedRun, Skipped
from hdr_responder.engine.simulation.comparison import Comparison, Difference, compare
from hdr_responder.engine.simulation.forecast import Beforehand, Forecast, forecast
from hdr_responder.engine.simulation.simulator import REJECTED, SETTLES, Assumption, World, simulate
from hdr_responder.engine.simulation.walk import WalkedStep, walk

__all__ = [
    "REJECTED",
    "SETTLES",
    "Assumption",
    "Beforehand",
    "Comparison",
    "Difference",
    "Forecast",
    "Simulated",
    "SimulatedIncident",
    "SimulatedRun",
    "Skipped",
    "WalkedStep",
    "World",
    "compare",
    "forecast",
    "simulate",
    "walk",
]
