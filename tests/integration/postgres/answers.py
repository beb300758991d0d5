"""Losing an answer on the way back, which no server does on request."""

from __future__ import annotations

import asyncio

from tests.services.ports import free_port


class AnswerLoser:
    """A relay to the server that loses the answer to the execution of one statement, after the server gave it."""

    def __init__(self, server_port: int, statement: bytes) -> None:
        self.port = free_port()
        self.cut = False
        self._server_port = server_port
        self._statement = statement

    async def __aenter__(self) -> AnswerLoser:
        self._relay = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._relay.close()
        await self._relay.wait_closed()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """PostgreSQL's clients ask and wait, so one chunk of each side at a time is a dialogue."""
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        prepared = False
        try:
            while asked := await client.read(1 << 20):
                to_server.write(asked)
                answer = await server.read(1 << 20)
                if prepared:
                    self.cut = True
                    break
                prepared = self._statement in asked
                to_client.write(answer)
        finally:
            to_server.close()
            to_client.close()
