"""What the responder asks of a metrics store, so that checks know samples and no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One series at one moment; ``value`` may be NaN or infinite. A scalar has no labels."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series over time; values may be NaN or infinite."""

    labels: Mapping[str, str]
    points: tuple[tuple[datetime, float], ...]


class MetricsSource(Protocol):
    """Answers PromQL."""

    async def query(self, promql: str, at: datetime) -> list[Sample]:
        """Return the instant vector (or the scalar) of ``promql`` at ``at``; empty when nothing matches.

        Raises UnavailableError when there is no answer in time, ForbiddenError when we may not ask, PermanentError when
        the query is wrong or gives no instant vector.
        """
        ...

    async def query_range(self, promql: str, start: datetime, end: datetime, step: timedelta) -> list[Series]:
        """Return the course of ``promql`` from ``start`` to ``end``, a point every ``step``; raises as `query` does."""
        ...
