"""Reads what ``INFO`` answers."""

from __future__ import annotations

from typing import Any

from hdr_responder.adapters.redis_target.node import Node, text
from hdr_responder.domain.ports.redis import NodeInfo
from hdr_responder.errors import AdapterError

Fields = dict[str, str]


async def fields(node: Node) -> Fields:
    """Ask for the default sections."""
    lines = text(await node.ask("INFO")).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def is_master(found: Fields) -> bool:
    """Tell whether the node takes writes."""
    return found.get("role") == "master"


def node_info(node: Node, title: str, found: Fields) -> NodeInfo:
    """Return what a node says of itself; raises AdapterError when it leaves something out."""
    try:
        return NodeInfo(
            title=title,
            version=found["redis_version"],
            primary=is_master(found),
            run_id=found["run_id"],
            **_numbers(found),
            fragmentation=float(found["mem_fragmentation_ratio"]),
            policy=found["maxmemory_policy"],
        )
    except (KeyError, ValueError) as e:
        raise AdapterError(f"{node.where}: info left out or garbled {e}") from e


def _numbers(found: Fields) -> dict[str, Any]:
    names = {
        "uptime_seconds": "uptime_in_seconds",
        "used_bytes": "used_memory",
        "peak_bytes": "used_memory_peak",
        "max_bytes": "maxmemory",
        "hits": "keyspace_hits",
        "misses": "keyspace_misses",
        "evicted": "evicted_keys",
        "expired": "expired_keys",
    }
    return {ours: int(found[theirs]) for ours, theirs in names.items()}
