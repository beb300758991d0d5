"""Actions on the incident itself."""

from __future__ import annotations

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.errors import PermanentError


class EscalateParameters(Parameters):
    """``reason`` is what people are told beside the run's own outcome."""

    reason: str = "the playbook asks for a person"


class EscalateResult(Result):
    """Nothing but that it was done."""

    escalated: bool


class Escalate(Read[EscalateParameters, EscalateResult]):
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

    def permissions(self, params: EscalateParameters) -> tuple[Permission, ...]:
        """None: it only tells people."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: EscalateParameters) -> EscalateResult:
        """Escalate the run's incident; raises PermanentError where nobody can be told."""
        if ctx.systems.people is None:
            raise PermanentError("nobody is configured to escalate to")
        await ctx.systems.people.escalate(ctx.incident_ref, params.reason)
        return EscalateResult(escalated=True)


INCIDENT_ACTIONS = (Escalate(),)
