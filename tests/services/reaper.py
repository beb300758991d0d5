"""Ends services whose test process died without cleaning up.

A test process that is killed (a crash, a hard timeout) cannot stop what it started. Each test process starts this
program once and holds the writing end of its input: when that closes, for whatever reason, every process that is still
registered is ended. It is run by its path and imports nothing of the project.

Lines on its input: ``+PID`` registers a process, ``-PID`` forgets it.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_GRACE_SECONDS = 3.0


def main() -> None:
    pids: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            pids.add(pid)
        else:
            pids.discard(pid)
    for pid in pids:
        _signal(pid, signal.SIGCONT)
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and any(_signal(pid, 0) for pid in pids):
        time.sleep(0.05)
    for pid in pids:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
