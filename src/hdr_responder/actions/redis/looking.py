"""Looking at a target Redis: whether it answers, its memory, how often it has what it is asked for, what it evicts.

Redis counts hits and evictions since it started, perhaps months ago; what matters at night is what happens now. So
these are taken twice, some seconds apart, and the difference is judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from hdr_responder.actions.contract import Parameters, Permission, Read, Result, StepContext
from hdr_responder.actions.redis.rights import commands
from hdr_responder.domain.durations import Duration, format_duration
from hdr_responder.domain.ports.redis import NodeInfo, RedisServer
from hdr_responder.errors import TemporaryError

Pause = Callable[[float], Awaitable[None]]
"""Waits that many seconds."""

MAX_INTERVAL = timedelta(minutes=1)
_MIB = 1024 * 1024


class TargetParameters(Parameters):
    """``target``: a name under ``targets.redis``."""

    target: str


class IntervalParameters(TargetParameters):
    """Over how long the counters are compared."""

    over: Annotated[Duration, Field(ge=timedelta(seconds=1), le=MAX_INTERVAL)] = Field(
        default=timedelta(seconds=10), description="How long to wait between the two looks."
    )


class PingResult(Result):
    """What the server, or the cluster, says of itself."""

    version: str
    role: str = Field(description="master or replica; of a cluster its masters are asked.")
    primary: bool = Field(description="Whether it takes writes.")
    cluster: bool
    masters: int
    covered: bool = Field(description="Whether every slot of the cluster has a master.")
    latency_seconds: float = Field(description="Of the slowest node, without connecting.")


class Ping(Read[TargetParameters, PingResult]):
    """Whether Redis answers; fails when it, or one master of the cluster, does not."""

    name = "redis.ping"
    summary = "Ask a Redis, or every master of a cluster, whether it answers and takes writes."
    example = """
id: cache
action: redis.ping
with: {target: cache}
"""
    parameters = TargetParameters
    result = PingResult
    default_timeout_seconds = 15.0

    def permissions(self, params: TargetParameters) -> tuple[Permission, ...]:
        """Return the rights to ping and to read what the server says of itself."""
        return commands(params.target, "ping", "info")

    async def execute(self, ctx: StepContext, params: TargetParameters) -> PingResult:
        """Raise UnavailableError when a node does not answer in time."""
        found = await ctx.systems.cache(params.target).ping()
        return PingResult(role="master" if found.primary else "replica", **found.model_dump())


class NodeMemory(Result):
    """The memory of one node; ``max_bytes`` is 0 without a limit."""

    node: str
    used_bytes: int
    peak_bytes: int
    max_bytes: int
    fragmentation: float
    policy: str


class MemoryResult(Result):
    """The memory of all nodes together; a cluster is as full as its fullest node."""

    used_bytes: int = Field(description="Of all masters together.")
    peak_bytes: int = Field(description="The sum of the masters' own peaks, which need not have been at one time.")
    max_bytes: int = Field(description="The sum of the limits; 0 when a node has none.")
    used_ratio: float | None = Field(description="Of the fullest node with a limit, 0 to 1; null when none has one.")
    fragmentation: float = Field(description="Of the most fragmented node: memory taken from the system over used.")
    policy: str = Field(description="The eviction policy; several, joined by commas, when the nodes differ.")
    nodes: tuple[NodeMemory, ...]
    summary: str


class Memory(Read[TargetParameters, MemoryResult]):
    """How full Redis is."""

    name = "redis.memory"
    summary = "Read used and highest memory, the limit, fragmentation and the eviction policy."
    example = """
id: memory
action: redis.memory
with: {target: cache}
"""
    parameters = TargetParameters
    result = MemoryResult
    default_timeout_seconds = 15.0

    def permissions(self, params: TargetParameters) -> tuple[Permission, ...]:
        """Return the right to read what the server says of itself."""
        return commands(params.target, "info")

    async def execute(self, ctx: StepContext, params: TargetParameters) -> MemoryResult:
        """Raise UnavailableError when a node does not answer in time."""
        nodes = await ctx.systems.cache(params.target).nodes()
        fullest = max((n.used_bytes / n.max_bytes for n in nodes if n.max_bytes), default=None)
        used, limit = sum(n.used_bytes for n in nodes), _limit(nodes)
        of = f" of {limit / _MIB:.1f} MiB" if limit else ", without a limit"
        policy = ",".join(sorted({n.policy for n in nodes}))
        return MemoryResult(
            used_bytes=used,
            peak_bytes=sum(n.peak_bytes for n in nodes),
            max_bytes=limit,
            used_ratio=fullest,
            fragmentation=max(n.fragmentation for n in nodes),
            policy=policy,
            nodes=tuple(_memory(n) for n in nodes),
            summary=f"{used / _MIB:.1f} MiB used{of}, policy {policy}",
        )


class HitRateResult(Result):
    """How often a key that was asked for was there; a rate without a single question is null, never a number."""

    rate: float | None = Field(description="0 to 1, over the interval; null when no key was asked for: no evidence.")
    hits: int
    misses: int
    rate_since_start: float | None = Field(description="0 to 1, since the nodes started or were reset.")
    over: Duration
    summary: str


class HitRate(Read[IntervalParameters, HitRateResult]):
    """How often Redis has what it is asked for, now and since it started."""

    name = "redis.hit_rate"
    summary = "Compare hits and misses of keys over some seconds, and since the start."
    example = """
id: hits
action: redis.hit_rate
with: {target: cache, over: 10s}
"""
    parameters = IntervalParameters
    result = HitRateResult
    default_timeout_seconds = 90.0

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause

    def permissions(self, params: IntervalParameters) -> tuple[Permission, ...]:
        """Return the right to read what the server says of itself."""
        return commands(params.target, "info")

    async def execute(self, ctx: StepContext, params: IntervalParameters) -> HitRateResult:
        """Raise TemporaryError when a node was restarted or reset between the looks."""
        looks = await _twice(ctx.systems.cache(params.target), params.over, self._pause)
        hits, misses = looks.more("hits"), looks.more("misses")
        rate, since = _rate(hits, misses), _rate(looks.total("hits"), looks.total("misses"))
        now = f"{rate:.1%} of {hits + misses} lookups hit" if rate is not None else "no key was asked for"
        ever = f"; {since:.1%} since the start" if since is not None else ""
        return HitRateResult(
            rate=rate,
            hits=hits,
            misses=misses,
            rate_since_start=since,
            over=params.over,
            summary=f"{now} in {format_duration(params.over)}{ever}",
        )


class EvictionsResult(Result):
    """How many keys were pushed out for lack of memory."""

    evicted: int = Field(description="Over the interval.")
    per_second: float
    evicted_since_start: int
    expired: int = Field(description="Keys whose time was up, over the interval.")
    policy: str = Field(description="The eviction policy; several, joined by commas, when the nodes differ.")
    over: Duration
    summary: str


class Evictions(Read[IntervalParameters, EvictionsResult]):
    """How many keys Redis pushes out for lack of memory, now and since it started."""

    name = "redis.evictions"
    summary = "Count evicted and expired keys over some seconds, and evicted ones since the start."
    example = """
id: evictions
action: redis.evictions
with: {target: cache, over: 10s}
"""
    parameters = IntervalParameters
    result = EvictionsResult
    default_timeout_seconds = 90.0

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause

    def permissions(self, params: IntervalParameters) -> tuple[Permission, ...]:
        """Return the right to read what the server says of itself."""
        return commands(params.target, "info")

    async def execute(self, ctx: StepContext, params: IntervalParameters) -> EvictionsResult:
        """Raise TemporaryError when a node was restarted or reset between the looks."""
        looks = await _twice(ctx.systems.cache(params.target), params.over, self._pause)
        evicted, total = looks.more("evicted"), looks.total("evicted")
        policy = ",".join(sorted({n.policy for n in looks.after}))
        return EvictionsResult(
            evicted=evicted,
            per_second=evicted / params.over.total_seconds(),
            evicted_since_start=total,
            expired=looks.more("expired"),
            policy=policy,
            over=params.over,
            summary=f"{evicted} keys evicted in {format_duration(params.over)}, {total} since the start ({policy})",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looks:
    """The same nodes at two times."""

    before: Sequence[NodeInfo]
    after: Sequence[NodeInfo]

    def total(self, counter: str) -> int:
        return sum(getattr(n, counter) for n in self.after)

    def more(self, counter: str) -> int:
        """Return how much a counter grew over all nodes; raises TemporaryError when one went back."""
        grown = [getattr(b, counter) - getattr(a, counter) for a, b in zip(self.before, self.after, strict=True)]
        if min(grown) < 0:
            raise TemporaryError("the counters were reset between the two looks, which proves nothing")
        return sum(grown)


async def _twice(server: RedisServer, over: timedelta, pause: Pause) -> _Looks:
    before = await server.nodes()
    await pause(over.total_seconds())
    after = await server.nodes()
    if {n.run_id for n in before} != {n.run_id for n in after}:
        raise TemporaryError(f"a node of redis target {server.name} was restarted or replaced between the two looks")
    return _Looks(before=sorted(before, key=lambda n: n.run_id), after=sorted(after, key=lambda n: n.run_id))


def _rate(hits: int, misses: int) -> float | None:
    return hits / (hits + misses) if hits + misses else None


def _limit(nodes: Sequence[NodeInfo]) -> int:
    limits = [n.max_bytes for n in nodes]
    return sum(limits) if all(limits) else 0


def _memory(node: NodeInfo) -> NodeMemory:
    return NodeMemory(
        node=node.title,
        used_bytes=node.used_bytes,
        peak_bytes=node.peak_bytes,
        max_bytes=node.max_bytes,
        fragmentation=node.fragmentation,
        policy=node.policy,
    )
