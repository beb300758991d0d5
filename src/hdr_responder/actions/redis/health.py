"""Judges whether a target Redis can be used at all, for services that stand on it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from hdr_responder.actions.contract import Check, Parameters, Permission, StepContext, Verdict
from hdr_responder.actions.redis.rights import commands
from hdr_responder.errors import TemporaryError, UnavailableError


class ReachableParameters(Parameters):
    """``target``: a name under ``targets.redis``."""

    shorthand: ClassVar[str | None] = "target"

    target: str
    primary: bool = Field(default=True, description="Whether a replica is not enough.")


class Reachable(Check[ReachableParameters]):
    """Holds when the server, or every master of the cluster, answers; slots without a master are contrary evidence.

    What cannot be reached from here counts as down, be it the server or the way to it.
    """

    name = "redis.reachable"
    summary = "Redis answers, as a master unless `primary: false`; of a cluster every master does."
    example = """
redis.reachable: cache
"""
    parameters = ReachableParameters

    def permissions(self, params: ReachableParameters) -> tuple[Permission, ...]:
        """Return the rights to ping and to read what the server says of itself."""
        return commands(params.target, "ping", "info")

    async def evaluate(self, ctx: StepContext, params: ReachableParameters) -> Verdict:
        """Ask once; a refused password is an error, since it says nothing of the server's health."""
        where = f"redis target {params.target}"
        try:
            found = await ctx.systems.cache(params.target).ping()
        except UnavailableError as e:
            return Verdict(holds=False, detail=str(e))
        except TemporaryError as e:
            return Verdict(holds=None, detail=str(e))
        if not found.covered:
            return Verdict(holds=False, detail=f"{where}: slots of the cluster have no master")
        if params.primary and not found.primary:
            return Verdict(holds=False, detail=f"{where} answers as a replica")
        who = f"all {found.masters} masters answer" if found.cluster else "answers"
        return Verdict(holds=True, detail=f"{where}: {who}" if found.cluster else f"{where} {who}")
