"""Priorities P1-P4: what people sort their night by (manual P01-P04)."""

from __future__ import annotations

from enum import StrEnum


class Priority(StrEnum):
    """How urgent an incident is; P1 is the most urgent."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"

    @property
    def rank(self) -> int:
        """Return 1 for P1 up to 4 for P4; lower is more urgent."""
        return int(self.value[1])

    def most_urgent(self, other: Priority) -> Priority:
        """Return the more urgent of the two."""
        return self if self.rank <= other.rank else other
