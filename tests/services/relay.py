"""Losing an answer on the way back, which no server does on request."""

from __future__ import annotations

import asyncio

from tests.services.ports import free_port

_CHUNK = 1 << 20


class AnswerLoser:
    """A relay to a server that loses its answer to what holds ``command``, after the server has carried it out."""

    def __init__(self, server_port: int, command: bytes) -> None:
        self.port = free_port()
        self.cut = False
        self._server_port = server_port
        self._command = command

    async def __aenter__(self) -> AnswerLoser:
        self._relay = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._relay.close()
        await self._relay.wait_closed()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Pass on both ways until one side closes or the answer comes that is to be lost."""
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        asked = asyncio.Event()
        ways = [
            asyncio.create_task(self._ask(client, to_server, asked)),
            asyncio.create_task(self._answer(server, to_client, asked)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_server.close()
            to_client.close()

    async def _ask(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        while chunk := await client.read(_CHUNK):
            if self._command in chunk:
                asked.set()
            to_server.write(chunk)

    async def _answer(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        while chunk := await server.read(_CHUNK):
            if asked.is_set():
                self.cut = True
                return
            to_client.write(chunk)
