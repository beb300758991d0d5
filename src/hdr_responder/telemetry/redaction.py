"""Keeps secrets out of logs, whoever writes them: drivers put addresses with passwords into their errors.

Known values are registered by whoever reads them; passwords in addresses and credentials of well-known shape are
recognised without that. The registry is the process's, because logging is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

from structlog.typing import EventDict, WrappedLogger

MASK = "***"
SHORTEST = 6
"""Shorter secrets are not searched for: they would blot out ordinary words."""
_MOST_NESTED = 8
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@]{0,200}:)[^\s@/]{1,1000}@", re.IGNORECASE), rf"\1{MASK}@"),
    (re.compile(r"\b(password|passwd|token|secret)=[^\s&'\",;]+", re.IGNORECASE), rf"\1={MASK}"),
    (re.compile(r"\b(Bearer|Basic) [A-Za-z0-9._~+/=-]{6,}"), rf"\1 {MASK}"),
    (re.compile(r"\b(xox[a-z]|xapp)-[A-Za-z0-9-]+"), rf"\1-{MASK}"),
)


class _Known:
    """The registered values, as one pattern, the longest first."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self.pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        with self._lock:
            if len(value) < SHORTEST or value in self._values:
                return
            self._values |= {value}
            longest_first = sorted(self._values, key=len, reverse=True)
            self.pattern = re.compile("|".join(re.escape(v) for v in longest_first))


_known = _Known()


def register_secret(value: str) -> None:
    """Replace ``value`` by `MASK` in all logs from now on; values under `SHORTEST` characters are left alone."""
    _known.add(value)


def redact(text: str) -> str:
    """Return the text without registered secrets, passwords in addresses and credentials of well-known shape."""
    if _known.pattern is not None:
        text = _known.pattern.sub(MASK, text)
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return text


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact all texts of a log event; what is no plain value becomes its text."""
    return {key: _redacted(value, 0) for key, value in event.items()}


def _redacted(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < _MOST_NESTED and isinstance(value, Mapping):
        return {redact(str(key)): _redacted(item, depth + 1) for key, item in value.items()}
    if depth < _MOST_NESTED and isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item, depth + 1) for item in value]
    return redact(str(value))
