"""The `RedisServer` port over bare connections of redis-py.

Every call opens connections of its own and closes them: calls are rare, and after a fail-over a kept connection would
still lead to the old master.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from redis.crc import key_slot

from hdr_responder.actions.contract import Permission
from hdr_responder.adapters.redis_target.errors import NoAnswerError
from hdr_responder.adapters.redis_target.info import fields, is_master, node_info
from hdr_responder.adapters.redis_target.node import Address, Node, counted, text
from hdr_responder.adapters.redis_target.rights import found_excess, found_missing, made_up_key
from hdr_responder.adapters.redis_target.slow_commands import slow_command
from hdr_responder.adapters.redis_target.topology import Nodes, open_nodes
from hdr_responder.domain.ports.redis import NodeInfo, Ping, Scan, SlowCommand
from hdr_responder.errors import AdapterError, AmbiguousError, ConflictError, HdrError, NotFoundError, PermanentError

SCAN_COUNT = 1000
"""Keys that one SCAN looks at: some hundred microseconds of a server that does one thing at a time."""
BATCH = 100
"""Keys a round trip."""
NO_VALUE = "hdr-responder-rehearsal"
"""A value that no setting takes."""


class RedisTarget:
    """One Redis server or cluster by its name in settings.

    ``url`` leads to the server, or to any node of the cluster; ``timeout`` (seconds) bounds connecting and each answer.
    Constructing connects to nothing and raises ConfigError for an address that is none.
    """

    def __init__(self, name: str, url: str, *, cluster: bool = False, timeout: float = 5.0) -> None:
        self._name = name
        self._address = Address(name, url, timeout)
        self._cluster = cluster

    def __repr__(self) -> str:
        return f"RedisTarget({self._name!r})"

    @property
    def name(self) -> str:
        """The name in ``targets.redis``."""
        return self._name

    async def ping(self) -> Ping:
        """Ask every master, or the one server, whether it answers."""
        async with self._open(complete=False) as nodes:
            slowest = max(await asyncio.gather(*(_latency(node) for node in nodes.masters)))
            first = await fields(nodes.masters[0])
        return Ping(
            version=first.get("redis_version", "of an unknown version"),
            primary=is_master(first),
            cluster=bool(nodes.shards),
            masters=len(nodes.masters),
            covered=nodes.covered,
            latency_seconds=slowest,
        )

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """Return what every master, or the one server, says of itself."""
        async with self._open() as nodes:
            found = await asyncio.gather(*(fields(node) for node in nodes.masters))
            return tuple(node_info(n, _title(n), f) for n, f in zip(nodes.masters, found, strict=True))

    async def scan(self, pattern: str, *, limit: int, within: timedelta) -> Scan:
        """Look for keys by a glob-style pattern, until more than ``limit`` are found or the time is up."""
        ends_at = time.monotonic() + within.total_seconds()
        keys: dict[bytes, None] = {}
        async with self._open() as nodes:
            for node in nodes.masters:
                cursor = b"0"
                while True:
                    cursor, found = await _scanned(node, cursor, pattern)
                    keys |= dict.fromkeys(found)
                    if len(keys) > limit:
                        return Scan(keys=tuple(keys)[:limit], cut=f"more than {limit} keys match")
                    if cursor == b"0":
                        break
                    if time.monotonic() >= ends_at:
                        return Scan(
                            keys=tuple(keys), cut=f"not all keys were looked at in {within.total_seconds():g} s"
                        )
        return Scan(keys=tuple(keys), cut="")

    async def slowlog(self, limit: int) -> tuple[SlowCommand, ...]:
        """Return the latest slow commands of all masters, the slowest first."""
        async with self._open() as nodes:
            found = await asyncio.gather(*(node.ask("SLOWLOG", "GET", limit) for node in nodes.masters))
            entries = [
                slow_command(_title(n), entry) for n, log in zip(nodes.masters, found, strict=True) for entry in log
            ]
        return tuple(sorted(entries, key=lambda e: -e.seconds))

    async def rehearse_delete(self, pattern: str) -> None:
        """Delete a key that matches the pattern and cannot exist."""
        key = made_up_key(pattern)
        async with self._open() as nodes:
            owner = nodes.owner(key_slot(key))
            await owner.ask("UNLINK", key)
            await owner.ask("EXISTS", key)

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete the keys and return how many there were."""
        deleted = 0
        async with self._open() as nodes:
            for node, some in _batches(nodes, keys):
                try:
                    answers = await node.ask_each([("UNLINK", key) for key in some])
                except NoAnswerError as e:
                    raise AmbiguousError(f"{e}; keys may or may not have been deleted") from e
                number, refused = counted(node, answers)
                deleted += number
                if refused is not None:
                    raise _after(refused, deleted, f"{deleted} keys were deleted before")
        return deleted

    async def existing(self, keys: Sequence[bytes]) -> int:
        """Return how many of the keys exist."""
        there = 0
        async with self._open() as nodes:
            for node, some in _batches(nodes, keys):
                number, refused = counted(node, await node.ask_each([("EXISTS", key) for key in some]))
                if refused is not None:
                    raise refused
                there += number
        return there

    async def config(self, setting: str) -> Mapping[str, str]:
        """Return a setting of every node by the node's id."""
        async with self._open(replicas=True) as nodes:
            values = await asyncio.gather(*(_config(node, setting) for node in nodes.nodes))
            return {node.id: value for node, value in zip(nodes.nodes, values, strict=True)}

    async def rehearse_config(self, setting: str) -> None:
        """Set a value that every server refuses."""
        async with self._open(replicas=True) as nodes:
            for node in nodes.masters:
                if not is_master(await fields(node)):
                    raise ConflictError(f"{node.where} is a replica: settings are changed on the master")
            await asyncio.gather(*(_refused(node, setting) for node in nodes.nodes))

    async def set_config(self, setting: str, values: Mapping[str, str]) -> None:
        """Set a setting, by node."""
        changed = 0
        async with self._open(replicas=True) as nodes:
            present = {node.id: node for node in nodes.nodes}
            if values.keys() - present.keys():
                raise ConflictError(f"redis target {self._name}: a node has left the cluster, nothing was set")
            for id_, value in values.items():
                try:
                    await present[id_].ask("CONFIG", "SET", setting, value)
                except NoAnswerError as e:
                    raise AmbiguousError(f"{e}; nodes may or may not have been changed") from e
                except HdrError as e:
                    raise _after(e, changed, f"{changed} nodes were changed before") from e
                changed += 1

    async def missing(self, permissions: Sequence[Permission]) -> tuple[str, ...]:
        """Return those of ``permissions`` that our user lacks on some node, as an ACL spells them.

        Each command is tried in a form that changes nothing, so no right to look at ACLs is needed. A right whose
        command is not known here is returned as such.
        """
        async with self._open(replicas=True) as nodes:
            return await found_missing(nodes, permissions)

    async def excess(self, permissions: Sequence[Permission] | None = None) -> tuple[str, ...]:
        """Return what our user may do beyond what an action ever needs, and beyond ``permissions`` where given.

        Read from the user's own ACL where we may, which is then named as too much itself; else found by trying
        harmless commands that no action needs, which finds the gross cases only.
        """
        async with self._open(complete=False) as nodes:
            return await found_excess(nodes, permissions)

    def _open(self, *, replicas: bool = False, complete: bool = True) -> AbstractAsyncContextManager[Nodes]:
        return open_nodes(self._name, self._address, cluster=self._cluster, replicas=replicas, complete=complete)


async def _latency(node: Node) -> float:
    started = time.monotonic()
    await node.ask("PING")
    return time.monotonic() - started


async def _scanned(node: Node, cursor: bytes, pattern: str) -> tuple[bytes, list[bytes]]:
    answer = await node.ask("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
    try:
        next_cursor, keys = answer
        return bytes(next_cursor), list(keys)
    except (TypeError, ValueError) as e:
        raise AdapterError(f"{node.where}: scan answered in an unknown form") from e


async def _config(node: Node, setting: str) -> str:
    answer: Any = await node.ask("CONFIG", "GET", setting)
    if not isinstance(answer, list) or len(answer) != 2:
        raise NotFoundError(f"{node.where} has no setting {setting}")
    return text(answer[1])


async def _refused(node: Node, setting: str) -> None:
    try:
        await node.ask("CONFIG", "SET", setting, NO_VALUE)
    except PermanentError as e:
        if type(e) is not PermanentError or "CONFIG SET" not in str(e):
            raise
    else:
        raise AdapterError(f"{node.where}: {setting} was set to {NO_VALUE!r}, which no server should take")


def _batches(nodes: Nodes, keys: Sequence[bytes]) -> Iterator[tuple[Node, list[bytes]]]:
    """Yield the keys by the node that holds them, some at a time."""
    owned: dict[str, tuple[Node, list[bytes]]] = {}
    for key in keys:
        owner = nodes.owner(key_slot(key))
        owned.setdefault(owner.id, (owner, []))[1].append(key)
    for node, all_of_node in owned.values():
        for start in range(0, len(all_of_node), BATCH):
            yield node, all_of_node[start : start + BATCH]


def _after(error: HdrError, changed: int, what: str) -> HdrError:
    return AmbiguousError(f"{error}; {what}") if changed else error


def _title(node: Node) -> str:
    return node.where.partition(", ")[2] or "server"
