"""Rate limits as the services keep them: a bucket that allows a burst, and a count per window."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hdr_responder.domain.clock import Clock


@dataclass(slots=True)
class _Bucket:
    tokens: float
    refilled_at: datetime


class TokenBucket:
    """Allows ``burst`` calls at once per key, then ``per_second`` calls a second."""

    def __init__(self, clock: Clock, *, per_second: float, burst: int) -> None:
        self._clock = clock
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: str) -> int:
        """Take one call; return 0 when it is allowed, else the whole seconds to wait (at least 1)."""
        now = self._clock.now()
        bucket = self._buckets.setdefault(key, _Bucket(float(self._burst), now))
        elapsed = (now - bucket.refilled_at).total_seconds()
        bucket.tokens = min(float(self._burst), bucket.tokens + elapsed * self._per_second)
        bucket.refilled_at = now
        # Refills are sums of fractions: without the tolerance, ten waits of 0.1 s would not make a call.
        if bucket.tokens >= 1.0 - 1e-6:
            bucket.tokens -= 1.0
            return 0
        return max(1, math.ceil((1.0 - bucket.tokens) / self._per_second))


@dataclass(slots=True)
class Window:
    """Allows ``limit`` calls per key in any ``span``."""

    clock: Clock
    limit: int
    span: timedelta = timedelta(minutes=1)
    _taken: dict[str, deque[datetime]] = field(default_factory=dict)

    def take(self, key: str) -> int:
        """Take one call; return 0 when it is allowed, else the whole seconds to wait (at least 1)."""
        now = self.clock.now()
        taken = self._taken.setdefault(key, deque())
        while taken and now - taken[0] >= self.span:
            taken.popleft()
        if len(taken) < self.limit:
            taken.append(now)
            return 0
        oldest = taken[0] if taken else now
        return max(1, math.ceil((oldest + self.span - now).total_seconds()))
