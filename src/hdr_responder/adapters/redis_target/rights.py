"""What our user may do on a target, found out without any right to look at ACLs.

``ACL DRYRUN`` and ``ACL GETUSER`` would tell, but a user that may run them is an administrator, which ours shall not
be. A server checks the right before anything else, so each command is tried in a form that changes nothing.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence

from hdr_responder.actions.contract import Permission
from hdr_responder.adapters.redis_target.node import Command, Node, acl_name, text
from hdr_responder.adapters.redis_target.topology import Nodes
from hdr_responder.errors import AdapterError, ForbiddenError, PermanentError

_HARMLESS: Mapping[str, Command] = {
    "ping": ("PING",),
    "info": ("INFO", "server"),
    "scan": ("SCAN", "0", "COUNT", "1"),
    "cluster|slots": ("CLUSTER", "SLOTS"),
    "slowlog|get": ("SLOWLOG", "GET", "1"),
    "config|get": ("CONFIG", "GET", "maxmemory-policy"),
    "config|set": ("CONFIG", "SET", "maxmemory-policy", "hdr-responder-rehearsal"),
}
_ON_A_KEY = frozenset({"unlink", "exists"})
_NEVER_NEEDED: tuple[Command, ...] = (("DBSIZE",), ("TIME",), ("LASTSAVE",))
"""Commands that change and disclose nothing and that no action needs."""
_GLOB = re.compile(r"\*|\?")


async def found_missing(nodes: Nodes, permissions: Sequence[Permission]) -> tuple[str, ...]:
    """Return the rights that are lacking on some node."""
    wanted = list(dict.fromkeys((p.verb, p.resource) for p in permissions if p.system == "redis"))
    lacking = [await _lacks(nodes, verb, pattern) for verb, pattern in wanted]
    return tuple(told for told in lacking if told)


async def found_excess(nodes: Nodes, permissions: Sequence[Permission] | None) -> tuple[str, ...]:
    """Return what is too much on any master."""
    found = await asyncio.gather(*(_excess(node, permissions) for node in nodes.masters))
    return tuple(dict.fromkeys(told for of_node in found for told in of_node))


async def _excess(node: Node, permissions: Sequence[Permission] | None) -> tuple[str, ...]:
    try:
        name = text(await node.ask("ACL", "WHOAMI"))
        acl = await node.ask("ACL", "GETUSER", name)
    except PermanentError:
        return await _tried(node)
    return _read(name, acl, permissions)


async def _lacks(nodes: Nodes, verb: str, pattern: str) -> str:
    """Return the right as an ACL spells it when a node refuses it, empty when all allow it."""
    spelled = f"+{verb} {pattern}".rstrip()
    if verb in _ON_A_KEY and "*" in pattern:
        command: Command = (verb.upper(), made_up_key(pattern.removeprefix("~")))
        asked: tuple[Node, ...] = nodes.masters
    elif verb in _HARMLESS:
        command, asked = _HARMLESS[verb], nodes.nodes
    else:
        return f"{spelled} (cannot be tried)"
    answers = await asyncio.gather(*(_is_forbidden(node, command) for node in asked))
    return spelled if any(answers) else ""


async def _is_forbidden(node: Node, command: Command) -> bool:
    """Tell whether a command is refused for lack of rights; any other refusal comes after that check.

    A key that another node of the cluster owns is such another refusal.
    """
    answer = (await node.ask_each([command]))[0]
    return isinstance(answer, ForbiddenError)


def made_up_key(pattern: str) -> bytes:
    """Return a key that matches a pattern of ``*`` and ``?`` and that cannot exist.

    Raises AdapterError for a pattern without ``*``: every key that it matches may exist.
    """
    if "*" not in pattern:
        raise AdapterError("no key can be made up for a pattern without *")
    never = f"hdr-responder-{uuid.uuid4().hex}"
    return _GLOB.sub(lambda special: never if special[0] == "*" else "x", pattern).encode()


async def _tried(node: Node) -> tuple[str, ...]:
    found = [f"+{acl_name(command)}" for command in _NEVER_NEEDED if not await _is_forbidden(node, command)]
    anything: Command = ("EXISTS", made_up_key("*"))
    if not await _is_forbidden(node, anything):
        found.append("~* (every key)")
    return tuple(found)


def _read(name: str, acl: object, permissions: Sequence[Permission] | None) -> tuple[str, ...]:
    """Judge what ``ACL GETUSER`` tells: flags, and the rules of commands and keys as they were written."""
    told = _pairs(acl)
    flags = {text(flag) for flag in told.get("flags", ()) if isinstance(flag, bytes)}
    commands, keys = _rules(told.get("commands")), _rules(told.get("keys"))
    found = ["+acl|getuser (to look at users is an administrator's)"]
    found += [f"user {name}"] if name == "default" else []
    found += ["nopass (anybody may log in)"] if "nopass" in flags else []
    found += ["~* (every key)"] if {"allkeys", "~*"} & {*flags, *keys} else []
    found += ["&* (every channel)"] if {"allchannels", "&*"} & {*flags, *_rules(told.get("channels"), "&")} else []
    found += ["further selectors (not judged)"] if told.get("selectors") else []
    given = [rule for rule in commands if rule.startswith("+")]
    if permissions is None:
        return (*found, *(rule for rule in given if rule.startswith("+@")))
    needed = {p.verb for p in permissions} | {"acl|getuser", "acl|whoami"}
    patterns = {p.resource for p in permissions}
    found += [rule for rule in given if rule.removeprefix("+") not in needed]
    found += [key for key in keys if key not in {*patterns, "~*"}]
    return tuple(found)


def _pairs(acl: object) -> dict[str, list[object] | bytes]:
    listed = acl if isinstance(acl, list) else []
    return {text(name): value for name, value in zip(listed[::2], listed[1::2], strict=False)}


def _rules(told: list[object] | bytes | None, sign: str = "~") -> list[str]:
    """Read rules; Redis 6 lists patterns without their ``sign``."""
    if isinstance(told, list):
        return [rule if (rule := text(item)).startswith((sign, "%")) else f"{sign}{rule}" for item in told]
    return text(told).split() if told else []
