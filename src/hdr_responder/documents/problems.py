"""One mistake in one document, said so that the author can fix it without reading our code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from hdr_responder.errors import ConfigError

_LONGEST_VALUE = 80


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """A mistake at ``file:line:column`` (both from 1).

    ``value`` is the offending value as written, ``expected`` what would be right, ``suggestion`` the nearest right
    value.
    """

    file: str
    line: int
    column: int
    message: str
    value: str | None = None
    expected: str | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        hints = [
            f"got {self.value!r}" if self.value is not None else "",
            f"expected {self.expected}" if self.expected else "",
            f"did you mean {self.suggestion!r}?" if self.suggestion else "",
        ]
        told = "; ".join(h for h in hints if h)
        return f"{self.file}:{self.line}:{self.column}: {self.message}" + (f" ({told})" if told else "")

    def to_json(self) -> dict[str, str | int | None]:
        """Return the fields for ``check --json``."""
        return asdict(self)


class DocumentError(ConfigError):
    """Documents are wrong; ``problems`` holds every mistake found, sorted by place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=_place))
        super().__init__("\n".join(str(p) for p in self.problems))


def shown(value: object) -> str | None:
    """Return a value short enough for a message, None for lists and mappings, which nobody wants to read there."""
    if isinstance(value, list | dict | tuple):
        return None
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that ``word`` was probably meant to be."""
    words = list(known)
    begun = [w for w in words if len(word) > 2 and w.startswith(word)]
    return begun[0] if len(begun) == 1 else next(iter(difflib.get_close_matches(word, words, n=1)), None)


def _place(problem: Problem) -> tuple[str, int, int, str]:
    return (problem.file, problem.line, problem.column, problem.message)
