"""Sends one request again and again over connections that stay open, one at a time on each, without pipelining.

Run as ``python -m tests.bench.keepalive URL CONNECTIONS SECONDS BODY-FILE HEADERS-AS-JSON``.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Tally:
    """What came back."""

    answers: int = 0
    refused: int = 0
    broken: int = 0


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer to the last one is complete."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self._request = request
        self._tally = tally
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or len(body) < int(length[1] if length else 0):
            return
        self._tally.answers += 1
        self._tally.refused += not head.startswith(b"HTTP/1.1 2")
        self._received = b""
        if self._transport is not None and not self.stopped:
            self._transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self._tally.broken += not self.stopped

    def stop(self) -> None:
        self.stopped = True
        if self._transport is not None:
            self._transport.abort()


async def _send(url: str, connections: int, seconds: float, request: bytes) -> None:
    address, tally = urlsplit(url), Tally()
    assert address.hostname is not None
    assert address.port is not None
    loop = asyncio.get_running_loop()
    begun = time.monotonic()
    opened = [
        (await loop.create_connection(lambda: Connection(request, tally), address.hostname, address.port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    took = time.monotonic() - begun
    for connection in opened:
        connection.stop()
    counted = {"answers": tally.answers, "seconds": took, "refused": tally.refused, "broken": tally.broken}
    print(f"RESULT {json.dumps(counted)}")


def main() -> None:
    """Send, and print the result as wrk's script does."""
    url, connections, seconds, body_file, headers = sys.argv[1:]
    body, address = Path(body_file).read_bytes(), urlsplit(url)
    lines = {"Host": address.netloc, "Content-Length": str(len(body)), **json.loads(headers)}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    request = f"POST {address.path} HTTP/1.1\r\n{head}\r\n".encode() + body
    uvloop.run(_send(url, int(connections), float(seconds), request))


if __name__ == "__main__":
    main()
