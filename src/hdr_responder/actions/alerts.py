"""Whether an incident's alerts are over, from our own records of what Alertmanager delivered."""

from __future__ import annotations

from typing import ClassVar, Literal

from hdr_responder.actions.contract import AnyCheck, Check, Parameters, Permission, StepContext, Verdict
from hdr_responder.errors import AdapterError


class AlertParameters(Parameters):
    """``state`` is what all of the incident's alerts must have reached."""

    shorthand: ClassVar[str | None] = "state"

    state: Literal["resolved"]


class AlertCheck(Check[AlertParameters]):
    """All alerts of the incident are resolved.

    One that still fires is no contrary evidence: ``increase(...)`` over an hour fires for up to an hour after the cure.
    """

    name = "alert"
    summary = "All alerts of the incident are resolved."
    example = "alert: resolved"
    parameters = AlertParameters
    is_health_probe = False

    def permissions(self, params: AlertParameters) -> tuple[Permission, ...]:
        """Return none: it reads our own records."""
        del params
        return ()

    async def evaluate(self, ctx: StepContext, params: AlertParameters) -> Verdict:
        """Hold when no alert fires any more, else be inconclusive."""
        del params
        if ctx.systems.alerts is None:
            raise AdapterError("the check `alert` was asked without records of alerts")
        unresolved = await ctx.systems.alerts.unresolved(ctx.incident_ref)
        if unresolved:
            return Verdict(holds=None, detail=f"{unresolved} alerts still fire")
        return Verdict(holds=True, detail="all alerts are resolved")


ALERT_CHECKS: tuple[AnyCheck, ...] = (AlertCheck(),)
