"""The rights that actions on Redis declare, as an ACL spells them."""

from __future__ import annotations

from hdr_responder.actions.contract import Permission

TOPOLOGY = "cluster|slots"
"""Asked of every target: it tells which nodes a cluster has, and that a single server is none."""


def commands(target: str, *verbs: str) -> tuple[Permission, ...]:
    """Return the rights to run these commands and to find the nodes."""
    return tuple(Permission(system="redis", scope=target, verb=verb) for verb in (TOPOLOGY, *verbs))


def on_keys(target: str, pattern: str, *verbs: str) -> tuple[Permission, ...]:
    """Return the rights to run these commands on the keys of a pattern."""
    return tuple(Permission(system="redis", scope=target, verb=verb, resource=f"~{pattern}") for verb in verbs)
