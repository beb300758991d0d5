"""What starts by the clock, and when it is due next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A playbook's recurring time. While replicas with different documents run side by side, each keeps its own."""

    playbook: str
    cron: str
    time_zone: str
    next_at: datetime
    """When it is due."""
