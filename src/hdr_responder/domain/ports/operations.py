"""What people can do, by whatever way they ask: Slack, the API and the command line share these."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Protocol

from hdr_responder.domain.guards import Hold, PauseState
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.runs import Run


class Operations(Protocol):
    """Changes that people ask for. ``by`` is the person's name, kept on the timeline.

    All raise NotFoundError for an unknown incident or run, and ConflictError when its state does not allow the change;
    doing again what is already so (acknowledging twice) is no error and changes nothing.
    """

    async def acknowledge(self, incident_id: int, *, by: str) -> Incident:
        """Take note of the incident; automation goes on."""
        ...

    async def resolve(self, incident_id: int, *, by: str, note: str | None = None) -> Incident:
        """Declare it over, also while alerts still fire; repeats do not reopen it, a new occurrence does."""
        ...

    async def note(self, incident_id: int, *, by: str, text: str) -> Incident:
        """Write on the timeline."""
        ...

    async def run_playbook(self, incident_id: int, playbook: str, *, by: str) -> Run:
        """Ask for a run of a playbook; guards are asked as ever."""
        ...

    async def approve(self, run_id: uuid.UUID, *, by: str) -> Run:
        """Approve a waiting run; guards are asked again before anything is done."""
        ...

    async def deny(self, run_id: uuid.UUID, *, by: str) -> Run:
        """Refuse a waiting run; it ends."""
        ...

    async def cancel(self, run_id: uuid.UUID, *, by: str) -> Run:
        """Stop a run at the next step boundary."""
        ...

    async def pause(self, *, by: str, reason: str | None = None) -> list[Run]:
        """Stop all automation; when this returns nothing automatic starts any more. Return the runs in flight."""
        ...

    async def resume(self, *, by: str) -> PauseState:
        """Let automation go on; what was held is asked again."""
        ...

    async def hold(self, service: str, duration: timedelta, *, by: str, reason: str | None = None) -> Hold:
        """Keep automation away from one service for a while."""
        ...
