"""Starts, watches and ends the processes of real services.

Everything here is synchronous, so that session-wide fixtures need no event loop. In an async test that talks to a part
running in the same loop, wrap calls that wait: ``await asyncio.to_thread(server.restart)``.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

POLL_SECONDS = 0.05
START_SECONDS = 60.0
STOP_SECONDS = 10.0
_TAIL_BYTES = 4000


class ServiceError(RuntimeError):
    """A service did not start, stop or answer as it must; the message carries the end of its log."""


@dataclass(slots=True, kw_only=True)
class ServiceProcess:
    """One process of a service: started, signalled and ended by its process id, its output in a file."""

    name: str
    argv: Sequence[str]
    log_path: Path
    env: Mapping[str, str] | None = None
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """Process id of the last start; raises ServiceError when it was never started."""
        if self._process is None:
            raise ServiceError(f"{self.name} was never started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self.is_running:
            raise ServiceError(f"{self.name} runs already")
        group = None if self.user is None else pwd.getpwnam(self.user).pw_gid
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self.env is None else {**os.environ, **self.env},
                cwd=self.log_path.parent,
                user=self.user,
                group=group,
                extra_groups=None if self.user is None else [],
                start_new_session=True,
            )
        _reaper.tell(f"+{self._process.pid}")

    def wait_ready(self, ready: Callable[[], bool], *, seconds: float = START_SECONDS) -> None:
        """Wait until ``ready()`` is true; raises ServiceError when the process ends or the time is up."""

        def ready_or_dead() -> bool:
            return not self.is_running or ready()

        if not poll(ready_or_dead, seconds=seconds):
            raise ServiceError(f"{self.name} was not ready after {seconds:.0f} s\n{self.log_tail()}")
        if not self.is_running:
            raise ServiceError(f"{self.name} ended while starting, code {self.returncode}\n{self.log_tail()}")

    @property
    def returncode(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def stop(self, *, seconds: float = STOP_SECONDS) -> None:
        """End the process: its stop signal, then SIGKILL when it has not ended after ``seconds``. No-op when ended."""
        if self._process is None or not self.is_running:
            self._forget()
            return
        self.resume()
        self.signal(self.stop_signal)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._forget()

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            self._forget()

    def suspend(self) -> None:
        """SIGSTOP: the process keeps its connections and answers nothing, like a host that hangs."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: the opposite of ``suspend``."""
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def log_tail(self) -> str:
        """The last lines of the service's output."""
        return tail(self.log_path)

    def _forget(self) -> None:
        if self._process is not None:
            _reaper.tell(f"-{self._process.pid}")


def poll(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Ask ``condition`` at short intervals; True as soon as it holds, False when ``seconds`` have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def accepts_connections(port: int) -> bool:
    """Whether something accepts TCP connections on this loopback port."""
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex(("127.0.0.1", port)) == 0


def answers_ok(url: str) -> bool:
    """Whether a GET of this plain HTTP address answers 2xx within a second."""
    try:
        with urllib.request.urlopen(url, timeout=1.0) as response:
            return bool(200 <= response.status < 300)
    except (urllib.error.URLError, OSError):
        return False


def tail(path: Path) -> str:
    """The last 4,000 bytes of a file as text, with the file's name above it."""
    if not path.exists():
        return f"({path} does not exist)"
    text = path.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
    return f"--- end of {path.name} ---\n{text}"


@contextlib.contextmanager
def service_folder(name: str) -> Iterator[Path]:
    """A temporary folder with a short path (UNIX sockets allow 107 bytes), removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"hdr-{name}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Reaper:
    """The program that ends what this process leaves behind; started with the first service."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def tell(self, line: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("reaper.py"))],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
            atexit.register(self._close, self._process)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(STOP_SECONDS)


_reaper = _Reaper()
