"""Commands that are run in a container to read what only the inside tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerCommand:
    """What to run where, without a shell, a terminal or input; it reads at most ``max_bytes`` in ``seconds``."""

    namespace: str
    pod: str
    container: str
    argv: tuple[str, ...]
    max_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutput:
    """What a command wrote; ``exit_code`` is None when it was ``cut`` at the most bytes before it ended."""

    stdout: bytes
    stderr: bytes
    exit_code: int | None
    cut: bool


class ExecCalls(Protocol):
    """Runs commands in containers."""

    async def run_in_container(self, command: ContainerCommand) -> CommandOutput:
        """Run a command and return what it wrote, whatever its exit code.

        Raises PermanentError when it could not be started, UnavailableError when it did not end in time or the
        connection broke.
        """
