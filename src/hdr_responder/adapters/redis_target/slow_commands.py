"""Reads the slow log and leaves out every value that it holds.

Redis logs the arguments of slow commands, and those of a SET are what people store. Only names of keys are shown, where
a command is known to have them; of all other arguments only the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hdr_responder.adapters.redis_target.node import text
from hdr_responder.domain.ports.redis import SlowCommand
from hdr_responder.errors import AdapterError

MAX_KEYS = 10
MAX_CHARACTERS = 100


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_FIRST_IS_KEY = _words(
    """
    append bitcount bitfield bitpos decr decrby dump expire expireat get getbit getdel getex getrange getset hdel
    hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals
    incr incrby incrbyfloat lindex linsert llen lpop lpos lpush lpushx lrange lrem lset ltrim persist pexpire
    pexpireat pfadd psetex pttl restore rpop rpush rpushx sadd scard set setbit setex setnx setrange sismember
    smembers smismember sort sort_ro spop srandmember srem sscan strlen substr ttl type xack xadd xdel xlen xrange
    xrevrange xtrim zadd zcard zcount zincrby zlexcount zpopmax zpopmin zrandmember zrange zrangebylex
    zrangebyscore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange zrevrangebyscore zrevrank
    zscan zscore
    """
)
_ALL_ARE_KEYS = _words(
    """
    del exists keys mget pfcount pfmerge rename renamenx sdiff sdiffstore sinter sinterstore sunion sunionstore
    touch unlink watch
    """
)
_HAS_SUBCOMMANDS = _words(
    """
    acl client cluster config debug function latency memory object script slowlog xinfo
    """
)
_CUT = (b"... (", " more arguments)")


def slow_command(node: str, entry: Sequence[Any]) -> SlowCommand:
    """Read one entry of ``SLOWLOG GET``: id, unix time, microseconds, arguments, client; who sent it is left out."""
    try:
        id_, at, micros, arguments = int(entry[0]), int(entry[1]), int(entry[2]), [*entry[3]]
    except (IndexError, TypeError, ValueError) as e:
        raise AdapterError(f"{node}: slowlog|get answered in an unknown form") from e
    name = text(arguments[0]).lower() if arguments else ""
    rest, more = _counted(arguments[1:])
    known = name.isascii() and name.replace("_", "").replace(".", "").isalnum() and len(name) <= 40
    if known and name in _HAS_SUBCOMMANDS and rest and rest[0].isalpha():
        name, rest = f"{name} {text(rest[0]).lower()[:20]}", rest[1:]
    keys = _keys(name, rest)
    return SlowCommand(
        node=node,
        id=id_,
        started_at=datetime.fromtimestamp(at, tz=UTC),
        seconds=micros / 1_000_000,
        command=name if known else "(unknown)",
        keys=tuple(text(key)[:MAX_CHARACTERS] for key in keys[:MAX_KEYS]),
        hidden=len(rest) - min(len(keys), MAX_KEYS) + more,
    )


def _counted(arguments: list[bytes]) -> tuple[list[bytes], int]:
    """Return the arguments, and how many more there were: the log shows 32 and says so in the last."""
    last = arguments[-1] if arguments else b""
    if last.startswith(_CUT[0]) and last.endswith(_CUT[1].encode()):
        number = last[len(_CUT[0]) : -len(_CUT[1])]
        return arguments[:-1], int(number) if number.isdigit() else 1
    return arguments, 0


def _keys(name: str, arguments: Sequence[bytes]) -> Sequence[bytes]:
    if name in _ALL_ARE_KEYS:
        return arguments
    return arguments[:1] if name in _FIRST_IS_KEY else ()
