"""Free loopback ports.

Every service of the harness listens on its own port, so that workers running side by side never meet. Ports lie below
the kernel's ephemeral range: an outgoing connection of another test can then never take a port between the moment it
is picked and the moment the service binds it.
"""

from __future__ import annotations

import os
import random
import socket

_FIRST = 20_000
_LAST = 32_000

_handed_out: set[int] = set()
_random = random.Random(os.getpid())


def free_port() -> int:
    """A loopback TCP port that nothing listens on and that this process has not handed out before."""
    for _ in range(1000):
        port = _random.randrange(_FIRST, _LAST)
        if port not in _handed_out and _can_bind(port):
            _handed_out.add(port)
            return port
    raise RuntimeError(f"no free port between {_FIRST} and {_LAST}")


def _can_bind(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
