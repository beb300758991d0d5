"""Judges whether a target database can be used at all, for services that stand on it."""

from __future__ import annotations

from typing import ClassVar

from hdr_responder.actions.contract import Check, Parameters, Permission, StepContext, Verdict
from hdr_responder.errors import TemporaryError, UnavailableError


class ReachableParameters(Parameters):
    """``target``: a name under ``targets.postgres``."""

    shorthand: ClassVar[str | None] = "target"

    target: str
    primary: bool = True
    """Whether a standby is not enough."""


class Reachable(Check[ReachableParameters]):
    """Holds when we can log in and the server answers; a standby is contrary evidence where the primary is asked for.

    What cannot be reached from here counts as down, be it the server or the way to it.
    """

    name = "postgres.reachable"
    summary = "The database answers, as the primary unless `primary: false`."
    example = """
postgres.reachable: hdr_empire
"""
    parameters = ReachableParameters

    def permissions(self, params: ReachableParameters) -> tuple[Permission, ...]:
        """Return none: logging in is enough."""
        del params
        return ()

    async def evaluate(self, ctx: StepContext, params: ReachableParameters) -> Verdict:
        """Log in once and ask; a refused password is an error, since it says nothing of the server's health."""
        try:
            info = await ctx.systems.database(params.target).ping()
        except UnavailableError as e:
            return Verdict(holds=False, detail=str(e))
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))
        if params.primary and not info.primary:
            return Verdict(holds=False, detail=f"postgres target {params.target} answers as a standby")
        return Verdict(holds=True, detail=f"postgres target {params.target} answers")
