"""Notifications: one message to one destination, kept in an outbox until it was delivered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue


class Lane(StrEnum):
    """A destination with its own queue and rate limit; a slow lane never delays another."""

    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    CONSOLE = "console"


class NotificationKind(StrEnum):
    """What the lane is asked to do.

    CARD is the one message of an incident, rendered from its present state when it is sent, so that waiting cards
    collapse into one. THREAD is a line in its thread. PAGE, PAGE_ACK and PAGE_RESOLVE drive the pager.
    """

    CARD = "card"
    THREAD = "thread"
    PAGE = "page"
    PAGE_ACK = "page_ack"
    PAGE_RESOLVE = "page_resolve"
    TEST = "test"


class NotificationStatus(StrEnum):
    """Delivery state; SUPERSEDED cards were replaced by a newer one before they were sent."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One outbox row. ``payload`` holds what cannot be read from the incident when it is sent."""

    lane: Lane
    kind: NotificationKind
    incident_id: int | None
    created_at: datetime
    due_at: datetime
    payload: Mapping[str, JsonValue] = field(default_factory=dict)
    attempts: int = 0
    id: int = 0
