"""What people can do, by whatever way they ask: Slack, the API and the command line share these."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from hdr_responder.domain.guards import Hold, PauseState
from hdr_responder.domain.incidents import Incident
from hdr_responder.domain.runs import Run

Scalar = str | int | float | bool


class Operations(Protocol):
    """Changes that people ask for. ``by`` is the person's name, kept on the timeline.

    All raise NotFoundError for an unknown incident or run, and ConflictError when its state does not allow the change;
    doing again what is already so (acknowledging twice) is no error and changes nothing.
    """

    async def acknowledge(self, incident_id: int, *, by: str) -> Incident:
        """Take note of the incident; automation goes on."""
        ...

    async def lead(self, incident_id: int, *, by: str, person: str | None = None) -> Incident:
        """Take command of the incident, or give it to ``person``: from then on its automation asks before it acts.

        Who takes command of an incident that nobody has acknowledged acknowledges it.
        """
        ...

    async def resolve(self, incident_id: int, *, by: str, note: str | None = None) -> Incident:
        """Declare it over, also while alerts still fire; repeats do not reopen it, a new occurrence does."""
        ...

    async def note(self, incident_id: int, *, by: str, text: str) -> Incident:
        """Write on the timeline."""
        ...

    async def run_playbook(
        self, incident_id: int, playbook: str, *, by: str, params: Mapping[str, Scalar] | None = None
    ) -> Run:
        """Ask for a run of a playbook; guards are asked as ever.

        ``params`` are the person's own, which go before the defaults; texts are read as their types (``30m``,
        ``deployment/shop``). Raises InvalidInputError for one that is unknown, missing or wrong.
        """
        ...

    async def approve(self, run_id: uuid.UUID, *, by: str) -> Run:
        """Approve a waiting run; guards are asked again before anything is done.

        Raises ForbiddenError when ``by`` is not of the group that may, and when ``by`` asked for a run whose approval
        needs somebody else (destructive, at P1).
        """
        ...

    async def deny(self, run_id: uuid.UUID, *, by: str) -> Run:
        """Refuse a waiting run; it ends."""
        ...

    async def cancel(self, run_id: uuid.UUID, *, by: str) -> Run:
        """Stop a run at the next step boundary."""
        ...

    async def undo(self, run_id: uuid.UUID, *, by: str) -> Run:
        """Force a recovery: take the changes of an ended run back now, also when they are not due.

        Passes pause, hold and an open breaker, because a named person asked for it; what somebody else changed since
        is left alone all the same. Raises ConflictError for a run that has not ended or has nothing to take back.
        """
        ...

    async def pause(self, *, by: str, reason: str | None = None) -> list[Run]:
        """Stop all automation; when this returns nothing automatic starts any more. Return the runs in flight.

        Ended runs whose changes are just being taken back are among them.
        """
        ...

    async def resume(self, *, by: str) -> PauseState:
        """Let automation go on; what was held is asked again."""
        ...

    async def hold(self, service: str, duration: timedelta, *, by: str, reason: str | None = None) -> Hold:
        """Keep automation away from one service for a while."""
        ...
