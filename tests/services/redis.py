"""Real Redis servers, in memory only: one alone, with replicas, with TLS, or a cluster."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from tests.services.ports import free_port
from tests.services.processes import ServiceError, ServiceProcess, poll, service_folder
from tests.services.tools import require_program

_ANSWER_SECONDS = 5.0
_CLUSTER_SECONDS = 20.0
SLOTS = 16384
"""Of every Redis cluster."""
_CLUSTER_SETTINGS = (
    *("--cluster-enabled", "yes"),
    *("--cluster-node-timeout", "2000"),
    *("--repl-ping-replica-period", "1"),
    *("--repl-diskless-sync-delay", "0"),
)


class RedisServer:
    """One server on one port; what it held is gone after a stop."""

    def __init__(self, folder: Path, *settings: str) -> None:
        """``settings`` are further words of the command line (``--maxmemory``, ``10mb``)."""
        self.port = free_port()
        program = str(require_program("redis-server"))
        always = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = ServiceProcess(
            name="redis", argv=[program, *always, "--dir", str(folder), *settings], log_path=folder / "redis.log"
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

    def admin(self, *words: str | bytes | int) -> Any:
        """Run one command as the administrator; the driver's answer, errors included."""
        with redis.Redis(port=self.port, socket_timeout=_ANSWER_SECONDS) as client:
            return client.execute_command(*words)

    def admin_each(self, commands: Sequence[Sequence[str | bytes | int]]) -> None:
        """Run commands as the administrator in one round trip."""
        with redis.Redis(port=self.port, socket_timeout=_ANSWER_SECONDS) as client:
            pipeline = client.pipeline(transaction=False)
            for words in commands:
                pipeline.execute_command(*words)
            pipeline.execute()

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


class RedisCluster:
    """Masters that share the slots in equal parts, each with so many replicas."""

    def __init__(self, masters: Sequence[RedisServer], replicas: Sequence[RedisServer]) -> None:
        self.masters = masters
        self.replicas = replicas

    @property
    def nodes(self) -> list[RedisServer]:
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        return self.masters[0].url

    def admin(self, *words: str | bytes | int) -> None:
        """Run one command on every node."""
        for node in self.nodes:
            node.admin(*words)

    def form(self, bus_ports: Sequence[int]) -> None:
        """Make them a cluster; returns when every node says that all is well."""
        first = [-(-i * SLOTS // len(self.masters)) for i in range(len(self.masters) + 1)]
        for master, low, beyond in zip(self.masters, first, first[1:], strict=False):
            master.admin("CLUSTER", "ADDSLOTSRANGE", low, beyond - 1)
        for i, node in enumerate(self.nodes):
            node.admin("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        for node, bus_port in zip(self.nodes[1:], bus_ports[1:], strict=True):
            self.nodes[0].admin("CLUSTER", "MEET", "127.0.0.1", node.port, bus_port)
        known = f"cluster_known_nodes:{len(self.nodes)}\r".encode()
        self._until(lambda node: known in node.admin("CLUSTER", "INFO"), "the nodes did not meet")
        for i, replica in enumerate(self.replicas):
            replica.admin("CLUSTER", "REPLICATE", self.masters[i % len(self.masters)].admin("CLUSTER", "MYID"))
        self._until(self._is_well, "the cluster did not become ready")

    def _is_well(self, node: RedisServer) -> bool:
        """Whether the node serves, and lists every replica: it does once they have something to tell."""
        listed = sum(len(part) - 2 for part in node.admin("CLUSTER", "SLOTS"))
        return b"cluster_state:ok" in node.admin("CLUSTER", "INFO") and listed == len(self.nodes)

    def _until(self, holds: Callable[[RedisServer], bool], problem: str) -> None:
        for node in self.nodes:
            if not poll(functools.partial(holds, node), seconds=_CLUSTER_SECONDS):
                raise ServiceError(f"{problem}\n{node.process.log_tail()}")


@contextlib.contextmanager
def run_redis(*settings: str) -> Iterator[RedisServer]:
    """A running server in a temporary folder, ended with the block."""
    with service_folder("redis") as folder:
        server = RedisServer(folder, *settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def run_redis_cluster(*, masters: int = 3, replicas: int = 3) -> Iterator[RedisCluster]:
    """A running cluster; its nodes run until the block ends."""
    with contextlib.ExitStack() as stack:
        bus_ports = [free_port() for _ in range(masters + replicas)]
        nodes = [stack.enter_context(run_redis("--cluster-port", str(port), *_CLUSTER_SETTINGS)) for port in bus_ports]
        cluster = RedisCluster(nodes[:masters], nodes[masters:])
        cluster.form(bus_ports)
        yield cluster
