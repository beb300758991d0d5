"""A real Prometheus server with the configuration and rules of a test."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.services.ports import free_port
from tests.services.processes import ServiceProcess, answers_ok, service_folder
from tests.services.tools import require_program


class PrometheusServer:
    """One server on one port; its configuration may name the files given beside it by their bare names."""

    def __init__(self, folder: Path, config: str, files: Mapping[str, str]) -> None:
        self.port = free_port()
        self._folder = folder
        self.write("prometheus.yml", config)
        for name, text in files.items():
            self.write(name, text)
        self.process = ServiceProcess(
            name="prometheus",
            argv=[
                str(require_program("prometheus")),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=warn",
            ],
            log_path=folder / "prometheus.log",
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start on the same port and data; returns when it is ready."""
        self.process.start()
        self.process.wait_ready(lambda: answers_ok(f"{self.url}/-/ready"))

    def stop(self) -> None:
        self.process.stop()

    def write(self, name: str, text: str) -> None:
        """Put a file (rules, targets) beside the configuration; ``reload`` makes the server read it."""
        (self._folder / name).write_text(text)

    def reload(self) -> None:
        self.process.signal(signal.SIGHUP)


@contextlib.contextmanager
def run_prometheus(config: str, files: Mapping[str, str] | None = None) -> Iterator[PrometheusServer]:
    """A running server in a temporary folder, ended with the block.

    ``files`` maps names to texts, for ``rule_files: [rules.yml]`` and the like.
    """
    with service_folder("prometheus") as folder:
        server = PrometheusServer(folder, config, files or {})
        try:
            server.start()
            yield server
        finally:
            server.stop()
