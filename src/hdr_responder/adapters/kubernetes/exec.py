"""Runs commands in containers through the API server, over a WebSocket.

The protocol is ``v4.channel.k8s.io``: every message starts with the byte of its channel, and the error channel carries
one ``Status`` object when the command has ended. Version 5 adds to that the end of an input that we never send.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from hdr_responder.adapters.kubernetes.calls import Calls, at
from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.domain.ports.kubernetes import CommandOutput, ContainerCommand
from hdr_responder.errors import AdapterError, PermanentError, UnavailableError

PROTOCOL = "v4.channel.k8s.io"
STDERR_LIMIT = 4 * 1024
MESSAGE_LIMIT = 300


class Exec(Calls):
    """Implements `ExecCalls`."""

    async def run_in_container(self, command: ContainerCommand) -> CommandOutput:
        """Run a command and return what it wrote."""
        request = ApiRequest(
            verb="get",
            resource="pods/exec",
            namespace=command.namespace,
            name=command.pod,
            query=(
                *(("command", each) for each in command.argv),
                ("container", command.container),
                ("stdout", "true"),
                ("stderr", "true"),
            ),
        )
        where = f"cluster {self._name}: {request}"
        async with self._connection.socket(request, PROTOCOL, command.seconds) as socket:
            return await _output(socket, command.max_bytes, where)


async def _output(socket: aiohttp.ClientWebSocketResponse, max_bytes: int, where: str) -> CommandOutput:
    stdout, stderr = bytearray(), bytearray()
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise AdapterError(f"{where}: a message of type {message.type.name}")
        channel, content = message.data[:1], message.data[1:]
        match channel:
            case b"\x01":  # standard output
                stdout += content
            case b"\x02":  # standard error
                stderr += content[: STDERR_LIMIT - len(stderr)]
            case b"\x03":  # the end
                return _ended(stdout, stderr, exit_code(content, where))
        if len(stdout) > max_bytes:
            return CommandOutput(stdout=bytes(stdout[:max_bytes]), stderr=bytes(stderr), exit_code=None, cut=True)
    raise UnavailableError(f"{where}: the connection broke before the command ended")


def _ended(stdout: bytearray, stderr: bytearray, code: int) -> CommandOutput:
    return CommandOutput(stdout=bytes(stdout), stderr=bytes(stderr), exit_code=code, cut=False)


def exit_code(content: bytes, where: str) -> int:
    """Return the exit code that a ``Status`` on the error channel tells.

    Raises PermanentError when it tells that the command could not be run, AdapterError when it is no Status.
    """
    try:
        status: Any = json.loads(content)
        if at(status, "status") == "Success":
            return 0
        causes = at(status, "details", "causes") or ()
        if at(status, "reason") == "NonZeroExitCode":
            return next(int(each["message"]) for each in causes if each["reason"] == "ExitCode")
    except (ValueError, LookupError, TypeError, StopIteration) as e:
        raise AdapterError(f"{where}: the command's end cannot be read") from e
    said = str(at(status, "message") or "no reason given")[:MESSAGE_LIMIT]
    raise PermanentError(f"{where}: the command could not be run: {said}")
