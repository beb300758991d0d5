"""The timeline: the append-only account of an incident, from which everything else is told."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue

AUTOMATION = "hdr-responder"
"""The actor of entries that no person caused."""


class EntryKind(StrEnum):
    """What an entry tells."""

    OPENED = "opened"
    REOPENED = "reopened"
    ALERTS = "alerts"
    UNCERTAIN = "uncertain"
    PRIORITY = "priority"
    ACKNOWLEDGED = "acknowledged"
    COMMAND = "command"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    CLOSED = "closed"
    NOTE = "note"
    PLANNED = "planned"
    NOT_PLANNED = "not_planned"
    OBSERVED = "observed"
    GUARD_REFUSED = "guard_refused"
    APPROVAL_ASKED = "approval_asked"
    APPROVED = "approved"
    DENIED = "denied"
    RUN_STARTED = "run_started"
    STEP_STARTED = "step_started"
    STEP_ENDED = "step_ended"
    TAKEN_OVER = "taken_over"
    VERIFYING = "verifying"
    RUN_ENDED = "run_ended"
    UNDO_FORCED = "undo_forced"
    UNDONE = "undone"
    ESCALATED = "escalated"
    PAGED = "paged"
    ARTIFACT = "artifact"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One entry. ``actor`` is a person's name or `AUTOMATION`; ``detail`` holds the facts behind ``summary``."""

    incident_id: int
    at: datetime
    kind: EntryKind
    summary: str
    actor: str = AUTOMATION
    detail: Mapping[str, JsonValue] = field(default_factory=dict)
    run_id: uuid.UUID | None = None
    id: int = 0
