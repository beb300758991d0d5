"""What the responder may ask of a target Redis, so that actions know nodes and keys but no driver and no addresses.

One name in settings is one server or one whole cluster. What is asked of a cluster is asked of every master, and a
cluster that lacks a master answers nothing, because a part of the keys would be taken for all of them. Keys are bytes:
Redis does not ask what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from pydantic import BaseModel, ConfigDict

SINGLE = "server"
"""The id of the one node of a target that is no cluster."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeInfo(_Frozen):
    """What one node says of itself. Counters run since it started, or since somebody reset them.

    ``title`` is for people (``master of slots 0-5460``). ``run_id`` changes with every start. ``max_bytes`` is 0
    without a limit. ``fragmentation`` is the memory that the system gave over the memory that is used.
    """

    title: str
    version: str
    primary: bool
    run_id: str
    uptime_seconds: int
    used_bytes: int
    peak_bytes: int
    max_bytes: int
    fragmentation: float
    policy: str
    hits: int
    misses: int
    evicted: int
    expired: int


class Ping(_Frozen):
    """What the nodes answer: ``masters`` is 1 without a cluster, ``primary`` whether the first node takes writes.

    ``covered``: every slot of the cluster has a master. ``latency_seconds`` is the slowest node's, without connecting.
    """

    version: str
    primary: bool
    cluster: bool
    masters: int
    covered: bool
    latency_seconds: float


class Scan(_Frozen):
    """The distinct keys that were found, in no order; ``cut`` says why these are not all, empty when they are."""

    keys: tuple[bytes, ...]
    cut: str


class SlowCommand(_Frozen):
    """A command that took long, without any value that it carried.

    ``keys`` are up to 10 names of keys, cut at 100 characters. ``hidden`` counts the arguments that are not shown.
    """

    node: str
    id: int
    started_at: datetime
    seconds: float
    command: str
    keys: tuple[str, ...]
    hidden: int


class RedisServer(Protocol):
    """One target Redis.

    Every method raises UnavailableError when a node cannot be reached in time or is not ready, ForbiddenError naming
    the command when our user may not run it, ConfigError when the address is wrong or ``cluster`` is set otherwise than
    the server is; all name the target, never its address or secrets.
    """

    @property
    def name(self) -> str:
        """The name in ``targets.redis``."""
        ...

    async def ping(self) -> Ping:
        """Ask every master, or the one server, whether it answers."""
        ...

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """Return what every master, or the one server, says of itself."""
        ...

    async def scan(self, pattern: str, *, limit: int, within: timedelta) -> Scan:
        """Look for keys by a glob-style pattern, until more than ``limit`` are found or the time is up."""
        ...

    async def slowlog(self, limit: int) -> tuple[SlowCommand, ...]:
        """Return the latest slow commands of all masters, the slowest first."""
        ...

    async def rehearse_delete(self, pattern: str) -> None:
        """Delete a key that matches the pattern and cannot exist: it proves the rights and that writes are taken.

        ``pattern`` needs a ``*`` for that. Raises ConflictError on a replica.
        """
        ...

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete the keys and return how many there were; memory is given back later (UNLINK).

        Raises what it raises only when no key was deleted, and AmbiguousError when some may have been.
        """
        ...

    async def existing(self, keys: Sequence[bytes]) -> int:
        """Return how many of the keys exist."""
        ...

    async def config(self, setting: str) -> Mapping[str, str]:
        """Return a setting of every node, replicas of a cluster included, by the node's id.

        Raises NotFoundError when a node does not know it, ConflictError when the one server is a replica.
        """
        ...

    async def rehearse_config(self, setting: str) -> None:
        """Set a value that every server refuses, which proves the right on every node and changes nothing."""
        ...

    async def set_config(self, setting: str, values: Mapping[str, str]) -> None:
        """Set a setting, by node; it lasts until the node restarts, because its file is left alone.

        Raises what it raises only when no node was changed, and AmbiguousError when some may have been.
        """
        ...
