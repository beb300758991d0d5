"""Sends one body again and again over a few connections, from a process of its own: wrk, or a small client of ours."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.services.processes import ServiceError

CONNECTIONS = 64
_MARK = "RESULT "
_SCRIPT = """\
wrk.method = "POST"
wrk.body = io.open("BODY", "rb"):read("*a")
HEADERS
done = function(summary)
    local errors = summary.errors
    io.write(string.format('RESULT {"answers": %d, "seconds": %.6f, "refused": %d, "broken": %d}\\n',
        summary.requests, summary.duration / 1e6, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What came of one burst; ``generator_cpu`` is the share of one core that sending took."""

    answers: int
    seconds: float
    generator_cpu: float

    @property
    def per_second(self) -> float:
        """Answered requests per second."""
        return self.answers / self.seconds


class Generator:
    """Sends ``body``, all requests alike."""

    def __init__(self, folder: Path, body: bytes, headers: Mapping[str, str]) -> None:
        self._wrk = shutil.which("wrk")
        self._body = folder / "body.json"
        self._body.write_bytes(body)
        self._headers = headers
        self._script = folder / "burst.lua"
        lines = "\n".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items())
        self._script.write_text(_SCRIPT.replace("BODY", str(self._body)).replace("HEADERS", lines))

    @property
    def name(self) -> str:
        """What sends."""
        return "wrk" if self._wrk else "the built-in client (wrk is not installed; it takes a larger share of a core)"

    def burst(self, url: str, seconds: int) -> Burst:
        """Send for whole ``seconds``; raises ServiceError when a request was refused or its connection broke."""
        before = _children_cpu()
        done = subprocess.run(
            self._command(url, seconds), capture_output=True, text=True, check=False, timeout=seconds + 60
        )
        cpu = _children_cpu() - before
        result = next((line for line in done.stdout.splitlines() if line.startswith(_MARK)), None)
        if done.returncode != 0 or result is None:
            raise ServiceError(f"the load generator failed: {done.stderr or done.stdout}")
        counted = json.loads(result.removeprefix(_MARK))
        if counted["refused"] or counted["broken"] or not counted["answers"]:
            raise ServiceError(f"not every request was answered 2xx: {counted}")
        took = counted["seconds"]
        return Burst(answers=counted["answers"], seconds=took, generator_cpu=cpu / took)

    def _command(self, url: str, seconds: int) -> list[str]:
        if self._wrk:
            shape = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s"]
            return [self._wrk, *shape, "-s", str(self._script), url]
        shape = [url, str(CONNECTIONS), str(seconds), str(self._body), json.dumps(dict(self._headers))]
        return [sys.executable, "-m", "tests.bench.keepalive", *shape]


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
