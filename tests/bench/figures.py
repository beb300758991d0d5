"""Figures, their limits and the arithmetic between them: the part of the benchmarks that unit tests can prove."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Detail = Mapping[str, "float | int | str | bool | list[float] | Detail"]


class Sense(StrEnum):
    """On which side of its limit a figure must be."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure with its limit, in ``unit`` ("" for a ratio); ``detail`` is how it came about."""

    name: str
    value: float
    limit: float
    sense: Sense
    unit: str = ""
    detail: Detail = field(default_factory=dict)

    @property
    def of_limit(self) -> float:
        """The value as a ratio of its limit."""
        return self.value / self.limit

    @property
    def met(self) -> bool:
        """Whether the value keeps its limit; reaching it exactly is keeping it."""
        return self.value >= self.limit if self.sense is Sense.AT_LEAST else self.value <= self.limit

    def line(self) -> str:
        """One line for people."""
        value, limit = (f"{number:.2f}{f' {self.unit}' if self.unit else ''}" for number in (self.value, self.limit))
        verdict = "met" if self.met else "MISSED"
        return f"{self.name:<42} {value:>10}  {self.sense} {limit:<10}  {self.of_limit:5.2f} of the limit  {verdict}"

    def document(self) -> dict[str, object]:
        """The figure as it is stored."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "limit": self.limit,
            "sense": self.sense.value,
            "of_limit": round(self.of_limit, 4),
            "met": self.met,
            "detail": dict(self.detail),
        }


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that ``percent`` % of all values do not exceed.

    Raises ValueError without values or when ``percent`` is not above 0 and at most 100.
    """
    if not values or not 0 < percent <= 100:
        raise ValueError("a percentile needs values and a percentage above 0 and at most 100")
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the ratios of neighbouring rounds, so that a slow minute of the machine hits both sides.

    Raises ValueError when there are no rounds or one side misses some.
    """
    if not numerators:
        raise ValueError("a ratio needs at least one round")
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))
