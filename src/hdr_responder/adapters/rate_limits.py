"""Outbound rate limits, shared by all replicas through Redis where there is one.

Losing Redis loses the sharing, never a message: the limit is then kept by each process for itself, and the other
side's own 429 does the rest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from hdr_responder.errors import TemporaryError

REDIS_TIMEOUT_SECONDS = 0.5
SHORTEST_WAIT_SECONDS = 0.05

log = structlog.get_logger(__name__)


class ThrottledError(TemporaryError):
    """The call was turned away for coming too soon, by ourselves or the other side: it certainly had no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most ``amount`` calls in any ``seconds``."""

    name: str
    amount: int
    seconds: int


class RateLimits:
    """Counts calls per limit and key; safe to share between lanes."""

    def __init__(self, redis_url: str | None = None) -> None:
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._pool: ConnectionPool | None = None
        self._shared: MovingWindowRateLimiter | None = None
        self._sharing = True
        if redis_url is not None:
            self._pool = ConnectionPool.from_url(
                redis_url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
            )
            self._shared = MovingWindowRateLimiter(_redis_storage(self._pool))

    async def take(self, limit: RateLimit, key: str) -> None:
        """Count one call.

        Raises ThrottledError with the seconds to wait when the limit is exhausted.
        """
        item = RateLimitItemPerSecond(limit.amount, limit.seconds, namespace=f"hdr-{limit.name}")
        wait = await self._wait(item, key)
        if wait is not None:
            bounded = min(max(wait, SHORTEST_WAIT_SECONDS), float(limit.seconds))
            raise ThrottledError(f"own limit: {limit.amount} in {limit.seconds} s ({limit.name})", retry_after=bounded)

    async def close(self) -> None:
        """Give the connections to Redis back."""
        if self._pool is not None:
            await self._pool.aclose()

    async def _wait(self, item: RateLimitItemPerSecond, key: str) -> float | None:
        if self._shared is not None:
            try:
                wait = await _hit(self._shared, item, key)
            except (RedisError, OSError) as e:
                self._note_sharing(False, type(e).__name__)
            else:
                self._note_sharing(True)
                return wait
        return await _hit(self._local, item, key)

    def _note_sharing(self, sharing: bool, problem: str = "") -> None:
        if sharing is not self._sharing:
            self._sharing = sharing
            log.warning("rate limits are shared again" if sharing else "rate limits are not shared", problem=problem)


async def _hit(limiter: MovingWindowRateLimiter, item: RateLimitItemPerSecond, key: str) -> float | None:
    """Count a call; return None when it is within the limit, else the seconds until the next one is."""
    if await limiter.hit(item, key):
        return None
    stats = await limiter.get_window_stats(item, key)
    return stats.reset_time - time.time()


def _redis_storage(pool: ConnectionPool) -> RedisStorage:
    options: dict[str, object] = {"connection_pool": pool}
    return RedisStorage("async+redis://", implementation="redispy", key_prefix="hdr-limits", **options)  # type: ignore[arg-type]
