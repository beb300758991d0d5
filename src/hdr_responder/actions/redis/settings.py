"""Changing settings of a running Redis, out of a list of those that cannot open it, move its files or lose its data.

``CONFIG SET`` changes the running server alone; its file is left as it is, so a restart undoes the change, and nobody
finds a setting in a file that they did not write. A cluster is changed node by node, replicas included: one of them
becomes master at the next fail-over. Redis cannot compare and set, so what somebody sets in the very moment between
our look and our writing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field, StrictInt, field_validator
from pydantic_core.core_schema import ValidationInfo

from hdr_responder.actions.contract import (
    Mutation,
    Observed,
    Parameters,
    Permission,
    Result,
    Seen,
    State,
    StepContext,
    Target,
    Undo,
    Undone,
)
from hdr_responder.actions.redis.rights import commands
from hdr_responder.errors import ConflictError

Setting = Literal[
    "maxmemory",
    "maxmemory-policy",
    "maxmemory-samples",
    "lazyfree-lazy-eviction",
    "lazyfree-lazy-expire",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "latency-monitor-threshold",
    "timeout",
    "tcp-keepalive",
]
_POLICIES = (
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
)
_MEMORY = re.compile(r"([0-9]{1,15})(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}
_MAX_BYTES = 1 << 50

Reader = Callable[[str], str]
"""Returns a value as Redis tells it back; raises ValueError."""


def _number(low: int, high: int) -> Reader:
    def read(value: str) -> str:
        if not re.fullmatch(r"-?[0-9]{1,15}", value) or not low <= int(value) <= high:
            raise ValueError(f"must be a number from {low} to {high}")
        return str(int(value))

    return read


def _one_of(*choices: str) -> Reader:
    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return read


def _bytes(value: str) -> str:
    match = _MEMORY.fullmatch(value)
    size = int(match[1]) * _UNITS[(match[2] or "").lower()] if match else -1
    if not 0 <= size <= _MAX_BYTES:
        raise ValueError("must be a number of bytes, for example 2gb (0: no limit)")
    return str(size)


_READERS: Mapping[str, Reader] = {
    "maxmemory": _bytes,
    "maxmemory-policy": _one_of(*_POLICIES),
    "maxmemory-samples": _number(1, 64),
    "lazyfree-lazy-eviction": _one_of("yes", "no"),
    "lazyfree-lazy-expire": _one_of("yes", "no"),
    "slowlog-log-slower-than": _number(-1, 3_600_000_000),
    "slowlog-max-len": _number(0, 100_000),
    "latency-monitor-threshold": _number(0, 3_600_000),
    "timeout": _number(0, 86_400),
    "tcp-keepalive": _number(0, 86_400),
}


class SetConfigParameters(Parameters):
    """``target``: a name under ``targets.redis``."""

    target: str
    setting: Setting
    value: str | StrictInt = Field(description="As redis.conf takes it: allkeys-lru, 2gb, yes, 10000.")

    @field_validator("value")
    @classmethod
    def _fits(cls, value: str | int, info: ValidationInfo) -> str:
        read = _READERS.get(info.data.get("setting", ""))
        return read(str(value)) if read else str(value)


class SetConfigResult(Result):
    """What was set, until the server restarts."""

    changed: bool = Field(description="False when every node had this value already.")
    value: str
    was: str = Field(description="The value before; several, joined by commas, when the nodes differed.")
    nodes: int
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What `capture` decided: the value to write and, by node, the one before."""

    value: str
    before: Mapping[str, str]

    @staticmethod
    def of(state: State) -> _Change:
        before = state["before"]
        if not isinstance(before, dict):
            raise TypeError("the captured values are no mapping")
        return _Change(value=str(state["value"]), before={id_: str(old) for id_, old in before.items()})

    @property
    def after(self) -> dict[str, str]:
        return dict.fromkeys(self.before, self.value)


class SetConfig(Mutation[SetConfigParameters, SetConfigResult]):
    """Changes one allow-listed setting of the running server, or of every node of the cluster."""

    name = "redis.set_config"
    summary = "Change a setting of the running Redis until it restarts; its file is left alone."
    example = """
id: policy
action: redis.set_config
with: {target: cache, setting: maxmemory-policy, value: allkeys-lru}
"""
    parameters = SetConfigParameters
    result = SetConfigResult
    undoable: ClassVar[Undo] = Undo.RESTORES
    effect_group = "settings"
    holds_fence: ClassVar[bool] = False
    destructive: ClassVar[bool] = False
    awaits_dependencies: ClassVar[bool] = False

    def permissions(self, params: SetConfigParameters) -> tuple[Permission, ...]:
        """Return the rights to read and write settings, and to see the role and the memory in use."""
        return commands(params.target, "config|get", "config|set", "info")

    def target(self, params: SetConfigParameters) -> Target:
        """Return the server."""
        title = f"settings of redis {params.target}"
        return Target(key=f"redis:{params.target}", effect_group=self.effect_group, title=title)

    async def dry_run(self, ctx: StepContext, params: SetConfigParameters) -> None:
        """Read the setting and write a value that no server takes.

        Raises NotFoundError when a node does not know the setting, ConflictError on a replica and for a memory limit
        below what is used.
        """
        server = ctx.systems.cache(params.target)
        await server.config(params.setting)
        await server.rehearse_config(params.setting)
        await self._refuse_eviction(ctx, params)

    async def capture(self, ctx: StepContext, params: SetConfigParameters) -> State:
        """Return the values before, by node."""
        await self._refuse_eviction(ctx, params)
        before = await ctx.systems.cache(params.target).config(params.setting)
        return {"value": str(params.value), "before": dict(before)}

    async def execute(self, ctx: StepContext, params: SetConfigParameters, state: State) -> SetConfigResult:
        """Write the value on every node that was captured.

        Raises ConflictError when one of them has left the cluster, AmbiguousError when some may have been changed.
        """
        change = _Change.of(state)
        await ctx.systems.cache(params.target).set_config(params.setting, change.after)
        return _outcome(params, change)

    async def observe(self, ctx: StepContext, params: SetConfigParameters, state: State) -> Observed[SetConfigResult]:
        """Read the setting: all nodes hold the new value, all the old one, or it cannot be told."""
        change = _Change.of(state)
        present = await ctx.systems.cache(params.target).config(params.setting)
        held = {id_: present.get(id_) for id_ in change.before}
        if held == change.after:
            return Observed(seen=Seen.TOOK_EFFECT, result=_outcome(params, change), detail="every node holds the value")
        if held == dict(change.before):
            return Observed(seen=Seen.NO_EFFECT, detail="every node holds the value from before")
        return Observed(seen=Seen.UNKNOWN, detail="some nodes hold the value and some do not")

    async def undo(self, ctx: StepContext, params: SetConfigParameters, state: State) -> Undone:
        """Put the old value back on the nodes that hold ours; a node that left the cluster has nothing to put back."""
        change, server = _Change.of(state), ctx.systems.cache(params.target)
        present = await server.config(params.setting)
        moved = {id_: old for id_, old in change.before.items() if id_ in present and old != change.value}
        ours = {id_: old for id_, old in moved.items() if present[id_] == change.value}
        if ours:
            await server.set_config(params.setting, ours)
        if any(present[id_] not in {change.value, old} for id_, old in moved.items()):
            return Undone.DRIFTED
        return Undone.UNDONE if ours else Undone.NOTHING_TO_UNDO

    async def _refuse_eviction(self, ctx: StepContext, params: SetConfigParameters) -> None:
        """Refuse a memory limit below what is used: it would drop data at once, or refuse all writes."""
        limit = int(params.value) if params.setting == "maxmemory" else 0
        if not limit:
            return
        for node in await ctx.systems.cache(params.target).nodes():
            if node.used_bytes > limit:
                raise ConflictError(
                    f"redis target {params.target}: {node.title} uses {node.used_bytes} bytes, more than {limit}"
                )


def _outcome(params: SetConfigParameters, change: _Change) -> SetConfigResult:
    was = ",".join(sorted(set(change.before.values())))
    where = f" on {len(change.before)} nodes" if len(change.before) > 1 else ""
    return SetConfigResult(
        changed=was != change.value,
        value=change.value,
        was=was,
        nodes=len(change.before),
        summary=f"{params.setting} {was} -> {change.value}{where}, until a restart",
    )
