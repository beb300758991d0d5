"""A clock that a test moves by hand, so that rate limits and expiries need no sleeping."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class ManualClock:
    """Stands still until told otherwise; satisfies ``hdr_responder.domain.clock.Clock``."""

    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the present as an aware UTC datetime."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the present forward by ``seconds``."""
        self._now += timedelta(seconds=seconds)
