"""What the responder asks of a metrics store, so that checks know samples and no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One series at one moment; ``value`` may be NaN or infinite. A scalar has no labels."""

    labels: Mapping[str, str]
    value: float


class MetricsSource(Protocol):
    """Answers PromQL."""

    async def query(self, promql: str, at: datetime) -> list[Sample]:
        """Return the instant vector (or the scalar) of ``promql`` at ``at``; empty when nothing matches.

        Raises UnavailableError when there is no answer in time, ForbiddenError when we may not ask, PermanentError when
        the query is wrong or gives no instant vector.
        """
        ...
