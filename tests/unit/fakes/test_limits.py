"""The arithmetic of the rate limits."""

from __future__ import annotations

from datetime import timedelta

from tests.fakes import ManualClock
from tests.fakes.limits import TokenBucket, Window


def test_bucket_allows_a_burst_then_a_rate() -> None:
    clock = ManualClock()
    bucket = TokenBucket(clock, per_second=0.5, burst=2)
    assert [bucket.take("a") for _ in range(3)] == [0, 0, 2]
    assert bucket.take("b") == 0
    clock.advance(1)
    assert bucket.take("a") == 1
    clock.advance(1)
    assert bucket.take("a") == 0
    clock.advance(3600)
    assert [bucket.take("a") for _ in range(3)] == [0, 0, 2]


def test_bucket_refills_in_small_steps() -> None:
    clock = ManualClock()
    bucket = TokenBucket(clock, per_second=1, burst=1)
    bucket.take("a")
    for _ in range(9):
        clock.advance(0.1)
        assert bucket.take("a") == 1
    clock.advance(0.1)
    assert bucket.take("a") == 0


def test_window_slides() -> None:
    clock = ManualClock()
    window = Window(clock, limit=2, span=timedelta(minutes=1))
    assert window.take("a") == 0
    clock.advance(30)
    assert window.take("a") == 0
    assert window.take("a") == 30
    clock.advance(30)
    assert window.take("a") == 0
    assert window.take("a") == 30
