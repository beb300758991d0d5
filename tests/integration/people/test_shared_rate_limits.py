"""Rate limits that replicas share through Redis, and what is left of them when Redis is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from hdr_responder.adapters.rate_limits import RateLimit, RateLimits
from hdr_responder.errors import TemporaryError
from tests.services.redis import RedisServer

pytestmark = pytest.mark.service
LIMIT = RateLimit(name="test", amount=5, seconds=60)


@pytest_asyncio.fixture
async def replicas(redis_url: str) -> AsyncIterator[tuple[RateLimits, RateLimits]]:
    pair = (RateLimits(redis_url), RateLimits(redis_url))
    yield pair
    for limits in pair:
        await limits.close()


async def taken(limits: RateLimits, key: str = "C1") -> bool:
    try:
        await limits.take(LIMIT, key)
    except TemporaryError:
        return False
    return True


async def test_replicas_share_a_limit(replicas: tuple[RateLimits, RateLimits]) -> None:
    answers = await asyncio.gather(*(taken(replicas[n % 2]) for n in range(12)))
    assert sum(answers) == 5
    assert await taken(replicas[0], "C2")
    with pytest.raises(TemporaryError) as caught:
        await replicas[1].take(LIMIT, "C1")
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 60


async def test_losing_redis_loses_the_sharing_only(
    replicas: tuple[RateLimits, RateLimits], redis_server: RedisServer
) -> None:
    first, second = replicas
    assert await taken(first)
    redis_server.stop()
    with capture_logs() as logs:
        answers = [await taken(limits) for limits in (first, second) for _ in range(6)]
    assert answers == [*[True] * 5, False] * 2
    assert [entry["event"] for entry in logs] == ["rate limits are not shared"] * 2
    assert not any("redis://" in str(entry) for entry in logs)
    redis_server.ensure_running()
    with capture_logs() as logs:
        await taken(first, "C3")
    assert [entry["event"] for entry in logs] == ["rate limits are shared again"]


async def test_frozen_redis_delays_little(replicas: tuple[RateLimits, RateLimits], redis_server: RedisServer) -> None:
    assert await taken(replicas[0])
    redis_server.suspend()
    try:
        async with asyncio.timeout(3):
            assert await taken(replicas[0])
    finally:
        redis_server.resume()


async def test_unreachable_redis_is_no_reason_to_say_nothing() -> None:
    limits = RateLimits("redis://:secret@127.0.0.1:1/0")
    assert await taken(limits)
    await limits.close()
