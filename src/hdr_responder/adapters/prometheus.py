"""The `MetricsSource` port over Prometheus' HTTP API (``/api/v1/query``), which Thanos, Mimir and others speak too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hdr_responder.adapters.json_http import JsonHttp
from hdr_responder.domain.ports.metrics import Sample, Series
from hdr_responder.errors import AdapterError, PermanentError


class Prometheus:
    """One metrics store; ``url`` may carry credentials and a path prefix, ``timeout`` is in seconds."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._http = JsonHttp("Prometheus", url, timeout)

    def __repr__(self) -> str:
        return f"Prometheus({self._http.where!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def ping(self) -> None:
        """Raise UnavailableError or ForbiddenError when a query of nothing is not answered."""
        await self._http.get("api/v1/query", [("query", "vector(1)")])

    async def query(self, promql: str, at: datetime) -> list[Sample]:
        """Return the instant vector (or the scalar) of ``promql`` at ``at``; empty when nothing matches."""
        answer = await self._http.get("api/v1/query", [("query", promql), ("time", at.isoformat())])
        try:
            data = answer["data"]
            return _samples(data["resultType"], data["result"])
        except (KeyError, IndexError, TypeError, ValueError) as e:
            raise AdapterError(f"{self._http.where} answered a query with an unknown form") from e

    async def query_range(self, promql: str, start: datetime, end: datetime, step: timedelta) -> list[Series]:
        """Return the course of ``promql`` from ``start`` to ``end``, a point every ``step``."""
        asked = [("query", promql), ("start", start.isoformat()), ("end", end.isoformat())]
        answer = await self._http.get("api/v1/query_range", [*asked, ("step", f"{step.total_seconds():g}")])
        try:
            return [_course(series) for series in answer["data"]["result"]]
        except (KeyError, IndexError, TypeError, ValueError) as e:
            raise AdapterError(f"{self._http.where} answered a query with an unknown form") from e


def _course(series: Any) -> Series:
    points = ((datetime.fromtimestamp(at, UTC), float(value)) for at, value in series.get("values") or ())
    return Series(labels=dict(series["metric"]), points=tuple(points))


def _samples(kind: str, result: Any) -> list[Sample]:
    if kind == "scalar":
        return [Sample(labels={}, value=float(result[1]))]
    if kind != "vector":
        raise PermanentError(f"the query gives a {kind}; an instant vector or a scalar is needed")
    return [Sample(labels=dict(series["metric"]), value=_value(series)) for series in result]


def _value(series: Any) -> float:
    """Return the value; a native histogram is no number, so it counts as NaN."""
    return float(series["value"][1]) if "value" in series else float("nan")
