"""Losing an answer on the way back, which no server does on request."""

from __future__ import annotations

import asyncio
import contextlib

from tests.services.ports import free_port


class AnswerLoser:
    """A relay to the server that loses the answer to the execution of one statement, after the server gave it.

    A ``simple`` statement is executed as it is sent, without being prepared before.
    """

    def __init__(self, server_port: int, statement: bytes, *, simple: bool = False) -> None:
        self.port = free_port()
        self.cut = False
        self._server_port = server_port
        self._statement = statement
        self._simple = simple
        self._open: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> AnswerLoser:
        self._relay = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._relay.close()
        await self._relay.wait_closed()

    async def drop(self) -> None:
        """Cut every connection off, on both sides, as a network does that is gone."""
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._open += [to_client, to_server]
        executed = asyncio.Event()
        up = asyncio.create_task(self._ask(client, to_server, executed))
        try:
            while answer := await server.read(1 << 20):
                if executed.is_set():
                    self.cut = True
                    break
                to_client.write(answer)
        except OSError:
            pass
        finally:
            up.cancel()
            to_server.close()
            to_client.close()

    async def _ask(
        self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter, executed: asyncio.Event
    ) -> None:
        """Pass on what the client asks; it waits for the answer to preparing a statement before it executes it."""
        prepared = False
        with contextlib.suppress(OSError):
            while asked := await client.read(1 << 20):
                if prepared or (self._simple and self._statement in asked):
                    executed.set()
                prepared = self._statement in asked
                to_server.write(asked)
        to_server.close()
