"""Which commands take Redis long: it does one thing at a time, and everybody waits for the slowest."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.redis.rights import commands
from hdr_responder.domain.ports.redis import SlowCommand


class SlowlogParameters(Parameters):
    """``target``: a name under ``targets.redis``."""

    target: str
    limit: Annotated[int, Field(ge=1, le=128)] = Field(default=20, description="Latest entries of each node.")


class SlowlogResult(Result):
    """The slow commands, the slowest first, without the values that they carried."""

    count: int
    slowest_seconds: float = Field(description="0 when there are none.")
    entries: tuple[SlowCommand, ...] = Field(description="The slowest 20.")
    artifact: str = Field(description="All of them; empty when there are none.")
    summary: str


class Slowlog(Read[SlowlogParameters, SlowlogResult]):
    """The latest slow commands of every master."""

    name = "redis.slowlog"
    summary = "Read the latest slow commands: names of commands and keys, never values."
    example = """
id: slow
action: redis.slowlog
with: {target: cache, limit: 20}
"""
    parameters = SlowlogParameters
    result = SlowlogResult
    default_timeout_seconds = 15.0

    def permissions(self, params: SlowlogParameters) -> tuple[Permission, ...]:
        """Return the right to read the slow log."""
        return commands(params.target, "slowlog|get")

    async def execute(self, ctx: StepContext, params: SlowlogParameters) -> SlowlogResult:
        """Raise UnavailableError when a node does not answer in time."""
        found = await ctx.systems.cache(params.target).slowlog(params.limit)
        listing = json.dumps([entry.model_dump(mode="json") for entry in found], indent=2).encode()
        first = f"; the slowest is {found[0].command} with {found[0].seconds * 1000:.1f} ms" if found else ""
        return SlowlogResult(
            count=len(found),
            slowest_seconds=found[0].seconds if found else 0.0,
            entries=found[:20],
            artifact=await ctx.evidence.keep("slowlog.json", "application/json", listing) if found else "",
            summary=f"{len(found)} slow commands logged{first}",
        )
