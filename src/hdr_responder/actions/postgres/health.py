"""Whether a target database can be used at all, for playbooks that ask and for services that stand on it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from hdr_responder.actions.contract import (
    Check,
    Parameters,
    Permission,
    Read,
    Result,
    StepContext,
    Verdict,
)
from hdr_responder.errors import TemporaryError, UnavailableError


class PingParameters(Parameters):
    """``target``: a name under ``targets.postgres``."""

    target: str


class PingResult(Result):
    """What the server says of itself; ``latency_seconds`` includes connecting."""

    version: str
    primary: bool
    started_at: datetime
    latency_seconds: float


class Ping(Read[PingParameters, PingResult]):
    """Whether the database answers; fails when it does not."""

    name = "postgres.ping"
    summary = "Connect to a database and ask whether it is the primary."
    example = """
id: database
action: postgres.ping
with: {target: hdr_empire}
"""
    parameters = PingParameters
    result = PingResult
    default_timeout_seconds = 15.0

    def permissions(self, params: PingParameters) -> tuple[Permission, ...]:
        """Return none: logging in is enough."""
        del params
        return ()

    async def execute(self, ctx: StepContext, params: PingParameters) -> PingResult:
        """Raise UnavailableError when the server does not answer in time."""
        server = await ctx.systems.database(params.target).ping()
        return PingResult.model_validate(server.model_dump())


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
