"""One connection to one Redis node, which sends what it is told exactly once.

The driver's clients repeat a command whose answer was lost, follow redirections and name themselves to the server; a
change must not be repeated unseen, and every further command is a further right. So its connections are used bare.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import ResponseError

from hdr_responder.adapters.redis_target.errors import CAUGHT, translate
from hdr_responder.errors import AdapterError, ConfigError, HdrError

Word = str | bytes | int
Command = tuple[Word, ...]

_CONTAINERS = frozenset({"CONFIG", "CLUSTER", "SLOWLOG", "ACL"})


def acl_name(command: Sequence[Word]) -> str:
    """Return the command as an ACL spells it (``config|set``)."""
    words = [text(word) for word in command[:2]]
    return "|".join(words if words[0] in _CONTAINERS else words[:1]).lower()


class Address:
    """How a target is reached: the options of its address, for its own host and for other nodes of its cluster."""

    def __init__(self, target: str, url: str, timeout: float) -> None:
        """``timeout`` in seconds bounds connecting and each answer. Raises ConfigError for an address that is none."""
        try:
            options: dict[str, Any] = dict(parse_url(url))
            self._kind: type[AbstractConnection] = options.pop("connection_class", Connection)
            self._options = options | {
                "socket_timeout": timeout,
                "socket_connect_timeout": timeout,
                "retry": None,
                "retry_on_timeout": False,
                "health_check_interval": 0,
                "driver_info": None,
                "protocol": 2,
            }
            self.host = str(options.get("host", "localhost"))
            self.connection()
        except (ValueError, TypeError, *CAUGHT):
            raise ConfigError(f"targets.redis.{target}: the address is not a valid Redis address") from None

    def connection(self, host: str | None = None, port: int | None = None) -> AbstractConnection:
        """Return a connection that is not yet opened, to this node of the cluster where one is given."""
        elsewhere: dict[str, object] = {"host": host, "port": port} if host is not None else {}
        return self._kind(**(self._options | elsewhere))


class Node:
    """An open connection; ``where`` names target and node for people, ``id`` is the node's in its cluster."""

    def __init__(self, where: str, id_: str, connection: AbstractConnection) -> None:
        self.where = where
        self.id = id_
        self._connection = connection

    async def open(self) -> None:
        """Connect and log in."""
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]
        except CAUGHT as e:
            raise translate(self.where, "", e) from e

    async def close(self) -> None:
        """Close; never raises."""
        with contextlib.suppress(*CAUGHT):
            await self._connection.disconnect(nowait=True)

    async def ask(self, *command: Word) -> Any:
        """Send one command and return its answer; raises NoAnswerError when none came."""
        try:
            return await self.ask_plainly(*command)
        except CAUGHT as e:
            raise translate(self.where, acl_name(command), e) from e

    async def ask_plainly(self, *command: Word) -> Any:
        """Send one command and return its answer, with the driver's errors."""
        await self._connection.send_command(*command)
        return await self._connection.read_response()

    async def ask_each(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands at once and return their answers; an error in the place of what the server refused.

        Raises NoAnswerError when an answer did not come, whatever came before.
        """
        try:
            await self._connection.send_packed_command(self._connection.pack_commands(commands))
            return [await self._one(command) for command in commands]
        except CAUGHT as e:
            raise translate(self.where, acl_name(commands[0]), e) from e

    async def _one(self, command: Command) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as e:
            return translate(self.where, acl_name(command), e)


def counted(node: Node, answers: Sequence[Any]) -> tuple[int, HdrError | None]:
    """Return the sum of integer answers and the first refusal among them."""
    refused = next((a for a in answers if isinstance(a, HdrError)), None)
    numbers = [a for a in answers if not isinstance(a, HdrError)]
    if not all(isinstance(n, int) for n in numbers):
        raise AdapterError(f"{node.where}: counted keys with something that is no number")
    return sum(numbers), refused


def text(raw: object) -> str:
    """Return what a server said as text; bytes that are no UTF-8 are written as ``\\xff``."""
    return raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else str(raw)
