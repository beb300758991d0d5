"""Actions on the incident itself: they tell, ask and wake people, and change no system.

A step that is repeated after a crash must not page or write twice: each takes effect once by a key of the step, the
action and its parameters. (All reactions of a run to its failure are one step.)
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Annotated, TypeVar

from pydantic import Field, StringConstraints

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.domain.ports.systems import People
from hdr_responder.domain.priorities import Priority
from hdr_responder.errors import PermanentError

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]


class EscalateParameters(Parameters):
    """Why a person is needed."""

    reason: Text = Field(
        default="the playbook asks for a person", description="What people are told beside the run's own outcome."
    )


class ReasonParameters(Parameters):
    """Why."""

    reason: Text = Field(description="What people are told.")


class NoteParameters(Parameters):
    """What to write down."""

    shorthand = "text"
    text: Text


class PostParameters(NoteParameters):
    """What to say, and where."""

    channel: str | None = Field(
        default=None, min_length=1, max_length=80, description="One of `slack.channels`; default the incident's thread."
    )


class SetPriorityParameters(Parameters):
    """Which priority, and why."""

    priority: Priority
    reason: Text = Field(description="Why; it stands with the priority from now on.")


class TellResult(Result):
    """What was told."""

    summary: str


class PriorityResult(Result):
    """What the priority was and is."""

    before: Priority
    priority: Priority
    summary: str


class EscalateResult(Result):
    """Nothing but that it was done."""

    escalated: bool


P = TypeVar("P", bound=Parameters)
R = TypeVar("R", bound=Result)


class PeopleAction(Read[P, R]):
    """What all of them share."""

    def permissions(self, params: P) -> tuple[Permission, ...]:
        """None: it only tells people."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: P) -> R:
        """Do it once; raises PermanentError where nobody can be told."""
        if ctx.systems.people is None:
            raise PermanentError("nobody is configured to be told")
        digest = hashlib.sha256(params.model_dump_json().encode()).hexdigest()[:16]
        return await self.tell(ctx.systems.people, ctx.incident_ref, params, key=f"{ctx.step_key}/{self.name}/{digest}")

    @abstractmethod
    async def tell(self, people: People, incident_ref: str, params: P, *, key: str) -> R:
        """Do it unless it was done under this key before."""


class Escalate(PeopleAction[EscalateParameters, EscalateResult]):
    """Hands the incident to a person; changes no system."""

    name = "incident.escalate"
    summary = "Hand the incident to a person"
    example = """
    id: escalate
    action: incident.escalate
    with:
      reason: restarting did not help
    """
    parameters = EscalateParameters
    result = EscalateResult

    async def tell(self, people: People, incident_ref: str, params: EscalateParameters, *, key: str) -> EscalateResult:
        """Escalate; it pages where the priority does."""
        await people.escalate(incident_ref, params.reason, key=key)
        return EscalateResult(escalated=True)


class Note(PeopleAction[NoteParameters, TellResult]):
    """Writes on the timeline and in the incident's thread."""

    name = "incident.note"
    summary = "Write a note on the incident's timeline and in its thread."
    example = """
    id: write
    action: incident.note
    with:
      text: "${incident.service} is looked at by its vendor"
    """
    parameters = NoteParameters
    result = TellResult

    async def tell(self, people: People, incident_ref: str, params: NoteParameters, *, key: str) -> TellResult:
        """Write."""
        await people.note(incident_ref, params.text, key=key)
        return TellResult(summary=f"noted: {params.text}"[:300])


class SetPriority(PeopleAction[SetPriorityParameters, PriorityResult]):
    """Changes the incident's priority, unless a person has set it."""

    name = "incident.set_priority"
    summary = "Set the incident's priority; raising it pages as a new incident of that priority would."
    example = """
    id: raise
    action: incident.set_priority
    with:
      priority: P1
      reason: data is lost
    """
    parameters = SetPriorityParameters
    result = PriorityResult

    async def tell(
        self, people: People, incident_ref: str, params: SetPriorityParameters, *, key: str
    ) -> PriorityResult:
        """Set it; raises ConflictError when a person has set it, or the incident is over."""
        before = await people.set_priority(incident_ref, params.priority, params.reason, key=key)
        summary = f"{before} is now {params.priority}" if before is not params.priority else f"{before} already"
        return PriorityResult(before=before, priority=params.priority, summary=summary)


class Page(PeopleAction[ReasonParameters, TellResult]):
    """Wakes somebody now, whatever the priority."""

    name = "incident.page"
    summary = "Page for the incident now, whatever its priority says."
    example = """
    id: wake
    action: incident.page
    with:
      reason: the backup failed twice
    """
    parameters = ReasonParameters
    result = TellResult

    async def tell(self, people: People, incident_ref: str, params: ReasonParameters, *, key: str) -> TellResult:
        """Page; raises ConflictError when the incident is over."""
        await people.page(incident_ref, params.reason, key=key)
        return TellResult(summary=f"paged: {params.reason}"[:300])


class Post(PeopleAction[PostParameters, TellResult]):
    """Says something in the incident's thread, or in a channel that the settings list, and nowhere else."""

    name = "slack.post"
    summary = "Post a text in the incident's thread, or in a further channel that the settings list."
    example = """
    id: say
    action: slack.post
    with:
      text: "the morning's look at ${incident.problem}: all is well"
    """
    parameters = PostParameters
    result = TellResult

    def permissions(self, params: PostParameters) -> tuple[Permission, ...]:
        """Return the scope to write in a channel."""
        return (Permission(system="slack", scope=params.channel or "incidents", verb="chat:write"),)

    async def tell(self, people: People, incident_ref: str, params: PostParameters, *, key: str) -> TellResult:
        """Post by the outbox, so that an outage of the chat loses nothing; raises ForbiddenError for other channels."""
        await people.post(incident_ref, params.text, key=key, channel=params.channel)
        where = f" in {params.channel}" if params.channel else ""
        return TellResult(summary=f"posted{where}: {params.text}"[:300])


INCIDENT_ACTIONS = (Escalate(), Note(), SetPriority(), Page(), Post())
