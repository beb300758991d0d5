"""Which nodes a target has: the one server, or every master (and replica) of its cluster.

The server itself is asked, whatever the settings say: a SCAN of one node of a cluster would be taken for all of its
keys. ``CLUSTER SLOTS`` tells it in one command that every version since 3.0 knows, and its refusal tells that there is
no cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from hdr_responder.adapters.redis_target.errors import CAUGHT, translate
from hdr_responder.adapters.redis_target.node import Address, Node, text
from hdr_responder.domain.ports.redis import SINGLE
from hdr_responder.errors import AdapterError, ConfigError, PermanentError, UnavailableError

SLOTS = 16384
MAX_NODES = 100
_NO_CLUSTER = "cluster support disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A node of a cluster with the slots that it, or its master, serves."""

    id: str
    host: str
    port: int
    master: bool
    ranges: tuple[tuple[int, int], ...]

    @property
    def title(self) -> str:
        """Name it for people, by what it is there for and not by its address."""
        low, high = self.ranges[0]
        more = f" and {len(self.ranges) - 1} more ranges" if len(self.ranges) > 1 else ""
        return f"{'master' if self.master else 'replica'} of slots {low}-{high}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Open connections; ``shards`` is empty for a single server, whose only node is the first."""

    nodes: tuple[Node, ...]
    shards: tuple[Shard, ...]

    @property
    def masters(self) -> tuple[Node, ...]:
        """Return the nodes that hold the keys."""
        if not self.shards:
            return self.nodes
        return tuple(n for n, s in zip(self.nodes, self.shards, strict=True) if s.master)

    @property
    def covered(self) -> bool:
        """Whether every slot has a master."""
        return not self.shards or _served(self.shards) == SLOTS

    def owner(self, slot: int) -> Node:
        """Return the master of a slot; raises UnavailableError when it has none."""
        if not self.shards:
            return self.nodes[0]
        for node, shard in zip(self.nodes, self.shards, strict=True):
            if shard.master and any(low <= slot <= high for low, high in shard.ranges):
                return node
        raise UnavailableError(f"{self.nodes[0].where}: slot {slot} has no master")


@contextlib.asynccontextmanager
async def open_nodes(
    target: str, address: Address, *, cluster: bool, replicas: bool = False, complete: bool = True
) -> AsyncIterator[Nodes]:
    """Connect to the target's nodes, with ``replicas`` of a cluster where asked for.

    Raises ConfigError when it is a cluster and ``cluster`` is False, or the other way round, and with ``complete``
    UnavailableError when slots have no master.
    """
    where = f"redis target {target}"
    async with contextlib.AsyncExitStack() as stack:
        seed = Node(where, SINGLE, address.connection())
        stack.push_async_callback(seed.close)
        await seed.open()
        found = await _shards(seed, address.host)
        _agree(target, is_cluster=found is not None, cluster=cluster)
        if found is None:
            yield Nodes(nodes=(seed,), shards=())
            return
        shards = tuple(s for s in found if s.master or replicas)
        if complete and _served(shards) < SLOTS:
            raise UnavailableError(f"{where}: {SLOTS - _served(shards)} slots of the cluster have no master")
        nodes = tuple(Node(f"{where}, {s.title}", s.id, address.connection(s.host, s.port)) for s in shards)
        for node in nodes:
            stack.push_async_callback(node.close)
        await asyncio.gather(*(node.open() for node in nodes))
        yield Nodes(nodes=nodes, shards=shards)


def _agree(target: str, *, is_cluster: bool, cluster: bool) -> None:
    if is_cluster and not cluster:
        raise ConfigError(f"targets.redis.{target} is a node of a cluster: set cluster: true")
    if cluster and not is_cluster:
        raise ConfigError(f"targets.redis.{target} is no cluster: set cluster: false")


async def _shards(seed: Node, own_host: str) -> tuple[Shard, ...] | None:
    """Return the nodes of the cluster, None when there is none."""
    try:
        answer = await seed.ask_plainly("CLUSTER", "SLOTS")
    except CAUGHT as e:
        if isinstance(e, ResponseError) and _NO_CLUSTER in str(e):
            return None
        raise translate(seed.where, "cluster|slots", e) from e
    try:
        shards = _read(answer, own_host)
    except (IndexError, TypeError, ValueError) as e:
        raise AdapterError(f"{seed.where}: cluster|slots answered in an unknown form") from e
    if not shards:
        raise UnavailableError(f"{seed.where}: the cluster serves no slots")
    if len(shards) > MAX_NODES:
        raise PermanentError(f"{seed.where}: the cluster has {len(shards)} nodes, more than {MAX_NODES}")
    return shards


def _read(answer: Any, own_host: str) -> tuple[Shard, ...]:
    """Read ``[[low, high, [host, port, id, ...], replica, ...], ...]``; an empty host is the one that was asked."""
    nodes: dict[str, tuple[str, int, bool]] = {}
    ranges: dict[str, list[tuple[int, int]]] = {}
    for low, high, *members in answer:
        for place, member in enumerate(members):
            id_ = text(member[2])
            nodes[id_] = (text(member[0]) if member[0] else own_host, int(member[1]), place == 0)
            ranges.setdefault(id_, []).append((int(low), int(high)))
    return tuple(
        Shard(id=id_, host=host, port=port, master=master, ranges=tuple(sorted(ranges[id_])))
        for id_, (host, port, master) in sorted(nodes.items(), key=lambda n: (not n[1][2], min(ranges[n[0]])))
    )


def _served(shards: Sequence[Shard]) -> int:
    return sum(high - low + 1 for s in shards if s.master for low, high in s.ranges)
