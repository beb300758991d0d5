"""A PostgreSQL server of our own, for development and the demo: the first who needs it starts it, the last stops it.

Users of one data folder share one server. Each holds a shared file lock for as long as it lives, so that a killed
process counts no longer, whatever it left behind; the one that leaves last, and finds no other lock, stops the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from hdr_responder.adapters.store.embedded_programs import Programs
from hdr_responder.errors import UnavailableError

PORT = 5432
"""Names the socket; the server listens on no network address."""
START_SECONDS = 60
STOP_SECONDS = 30

_LONGEST_SOCKET_PATH = 100
"""Bytes; Linux takes 107, macOS 103."""
_PLAIN_PATH = re.compile(r"[\w./ @+=~-]+")


class EmbeddedServer:
    """A share in the server of one data folder."""

    def __init__(self, data_dir: Path, url: str, share: IO[bytes], programs: Programs) -> None:
        self.url = url
        self._data_dir = data_dir
        self._share = share
        self._programs = programs

    @classmethod
    async def start(cls, data_dir: Path) -> Self:
        """Start the server of ``data_dir``, or join it where it runs; the folder is created when it is missing.

        Raises ConfigError when the server's programs are not installed, UnavailableError when it does not start.
        """
        return await asyncio.to_thread(cls._start, data_dir)

    @classmethod
    def _start(cls, data_dir: Path) -> Self:
        programs = Programs()
        data_dir = data_dir.expanduser().absolute()
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            with _alone(data_dir):
                url = _ensure_running(data_dir, programs)
                return cls(data_dir, url, _join(data_dir), programs)
        except OSError as error:
            raise UnavailableError(f"the embedded database: {error.strerror}: {error.filename}") from error

    async def stop(self) -> None:
        """Give the share back; the last one stops the server. Calling it again does nothing."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        if self._share.closed:
            return
        with _alone(self._data_dir):
            self._share.close()
            with contextlib.suppress(BlockingIOError), _users(self._data_dir) as users:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _Postmaster.read(self._data_dir) is not None:
                    cluster, run = _folders(self._data_dir)
                    stop = ("-D", str(cluster), "-m", "fast", "-w", "-t", str(STOP_SECONDS), "stop")
                    self._programs.run("pg_ctl", *stop, folder=run)


async def find_running(data_dir: Path) -> str | None:
    """Return the address of the server that runs on ``data_dir``, None when there is none; starts nothing."""
    return await asyncio.to_thread(_find_running, data_dir)


def _find_running(data_dir: Path) -> str | None:
    postmaster = _Postmaster.read(data_dir.expanduser().absolute())
    return postmaster.url if postmaster is not None and postmaster.answers else None


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What the server's lock file says; the file outlives a killed server."""

    socket_folder: str
    status: str

    @classmethod
    def read(cls, data_dir: Path) -> _Postmaster | None:
        try:
            lines = (_folders(data_dir)[0] / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return None
        lines += [""] * (8 - len(lines))
        return cls(socket_folder=lines[4].strip(), status=lines[7].strip())

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(self.socket_folder, safe='/')}"

    @property
    def answers(self) -> bool:
        """Whether a server that was ready listens."""
        if self.status != "ready" or not self.socket_folder:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            try:
                client.connect(f"{self.socket_folder}/.s.PGSQL.{PORT}")
            except OSError:
                return False
        return True


def _is_at_work(cluster: Path) -> bool:
    """Whether a server process works on ``cluster``: its number alone may be another process's after a crash.

    Also true while it recovers or shuts down, and for sessions that have outlived a killed server.
    """
    import psutil

    folder = str(cluster.resolve())
    processes = psutil.process_iter(["name", "cwd"])
    return any(process.info["name"] == "postgres" and process.info["cwd"] == folder for process in processes)


def _ensure_running(data_dir: Path, programs: Programs) -> str:
    cluster, run = _folders(data_dir)
    programs.own(run)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        postmaster = _Postmaster.read(data_dir)
        if postmaster is not None and postmaster.answers:
            return postmaster.url
        if postmaster is not None and _is_at_work(cluster):
            time.sleep(0.1)
            continue
        (cluster / "postmaster.pid").unlink(missing_ok=True)
        _launch(data_dir, programs)
    raise UnavailableError(f"the embedded database was not ready after {START_SECONDS} s; see {run / 'postgres.log'}")


def _launch(data_dir: Path, programs: Programs) -> None:
    cluster, run = _folders(data_dir)
    if not cluster.exists():
        _create(data_dir, programs)
    sockets = _socket_folder(run, programs)
    for left in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (sockets / left).unlink(missing_ok=True)
    programs.write(cluster / "postgresql.conf", _configuration(sockets))
    log = run / "postgres.log"
    try:
        start = ("-D", str(cluster), "-l", str(log), "-w", "-t", str(START_SECONDS), "start")
        programs.run("pg_ctl", *start, folder=run)
    except UnavailableError as error:
        said = log.read_text(encoding="utf-8", errors="replace").strip()[-300:] if log.exists() else ""
        raise UnavailableError(f"{error}\n{said}") from error


def _create(data_dir: Path, programs: Programs) -> None:
    """Create the data beside its place and move it there complete: a start that is killed leaves nothing half made."""
    cluster, run = _folders(data_dir)
    new = cluster.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    programs.own(new)
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale")
    programs.run("initdb", "-D", str(new), *options, folder=run)
    new.rename(cluster)


def _configuration(sockets: Path) -> str:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "port": str(PORT),
        "max_connections": "100",
        "shared_buffers": "64MB",
        "timezone": "UTC",
    }
    lines = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items())
    return "# Written at every start.\n" + "\n".join(lines) + "\n"


def _socket_folder(run: Path, programs: Programs) -> Path:
    """Return ``run``, or a short path where that is too long for a socket or holds what an address cannot."""
    path = str(run / f".s.PGSQL.{PORT}")
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH and _PLAIN_PATH.fullmatch(path):
        return run
    digest = hashlib.sha256(os.fsencode(run)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"hdr-responder-{os.geteuid()}-{digest}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.is_symlink() or folder.stat().st_uid not in {run.stat().st_uid, os.geteuid()}:
        raise UnavailableError(f"the embedded database: {folder} belongs to somebody else")
    programs.own(folder)
    return folder


def _folders(data_dir: Path) -> tuple[Path, Path]:
    """Return where the data is and where socket and logs are."""
    return data_dir / "postgres", data_dir / "run"


@contextlib.contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Keep other processes from starting or stopping the server meanwhile."""
    with (data_dir / ".starting").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _users(data_dir: Path) -> IO[bytes]:
    return (data_dir / ".users").open("wb")


def _join(data_dir: Path) -> IO[bytes]:
    share = _users(data_dir)
    fcntl.flock(share, fcntl.LOCK_SH)
    return share
