"""A real Redis server, in memory only."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.services.ports import free_port
from tests.services.processes import ServiceError, ServiceProcess, service_folder
from tests.services.tools import require_program

_ANSWER_SECONDS = 5.0


class RedisServer:
    """One server on one port; what it held is gone after a stop."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        program = str(require_program("redis-server"))
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = ServiceProcess(
            name="redis", argv=[program, *settings, "--dir", str(folder)], log_path=folder / "redis.log"
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def is_running(self) -> bool:
        return self.process.is_running

    def start(self) -> None:
        """Start on the same port; returns when it answers PING."""
        self.process.start()
        self.process.wait_ready(self._answers)

    def stop(self) -> None:
        self.process.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def crash(self) -> None:
        self.process.kill()

    def suspend(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self.process.suspend()

    def resume(self) -> None:
        self.process.resume()

    def ensure_running(self) -> None:
        """Bring it back after a test that stopped or froze it."""
        if self.is_running:
            self.resume()
        else:
            self.start()

    def flush(self) -> None:
        """Forget every key, whatever database it is in."""
        answer = self._ask("FLUSHALL")
        if answer != "+OK":
            raise ServiceError(f"redis answered {answer!r} to FLUSHALL")

    def _answers(self) -> bool:
        try:
            return self._ask("PING") == "+PONG"
        except OSError:
            return False

    def _ask(self, command: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=_ANSWER_SECONDS) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(256).decode().strip()


@contextlib.contextmanager
def run_redis() -> Iterator[RedisServer]:
    """A running server in a temporary folder, ended with the block."""
    with service_folder("redis") as folder:
        server = RedisServer(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
