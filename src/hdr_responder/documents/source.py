"""YAML with positions: what an editor needs to put the cursor on a mistake.

YAML is composed to nodes, whose marks say where each key and value stands, and made into plain data here by the rules
of YAML 1.2: only ``true`` and ``false`` are booleans, and ``22:00``, ``on`` and ``yes`` stay text. Files are bounded in
size, depth and in what aliases can unfold to, so that a document cannot exhaust the service that reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hdr_responder.documents.composing import TAG, compose
from hdr_responder.documents.problems import DocumentError, Problem, shown

MAX_BYTES = 1024 * 1024
MAX_NODES = 100_000
MAX_DEPTH = 40

Loc = tuple[str | int, ...]

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?([0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?|\.[0-9]+([eE][-+][0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)"
)
_NOT_ONLY_TEXT = frozenset("~nNtTfF+-.0123456789")
"""How a plain text begins that may be something else."""
_TAGS = frozenset({TAG + kind for kind in ("map", "seq", "str", "null", "bool", "int", "float")})
_RESOLVED_TAGS = _TAGS | {TAG + kind for kind in ("timestamp", "merge", "value")}
"""Also those that the composer may give to plain text, which stays text here."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, both from 1."""

    line: int
    column: int


_Mark = tuple[int, int, str | None]
"""Where a value stands (line and column, both from 1) and its YAML quoting (None, ``'``, ``"``, ``|``, ``>``)."""


@dataclass(frozen=True, slots=True)
class Source:
    """One YAML document of a file: plain data, and where everything in it stands."""

    file: str
    data: Any
    lines: tuple[str, ...] = field(repr=False)
    _values: Mapping[Loc, _Mark] = field(repr=False)
    _keys: Mapping[Loc, _Mark] = field(repr=False)

    def position(self, loc: Loc) -> Position:
        """Return where the value at ``loc`` stands, or the nearest place around it that exists."""
        while loc and loc not in self._values:
            loc = loc[:-1]
        mark = self._values.get(loc)
        return Position(*mark[:2]) if mark else Position(1, 1)

    def key_position(self, loc: Loc) -> Position:
        """Return where the key of the entry at ``loc`` stands; for list items and what is absent, as `position`."""
        mark = self._keys.get(loc)
        return Position(*mark[:2]) if mark else self.position(loc)

    def position_within(self, loc: Loc, offset: int) -> Position:
        """Return where the character at ``offset`` of the text at ``loc`` stands.

        Exact for texts on one line and for ``|`` blocks; in a text that YAML refolds it is the text's beginning.
        """
        mark, value = self._values.get(loc), self.value(loc)
        if mark is None or not isinstance(value, str):
            return self.position(loc)
        line, column, style = mark
        if style == "|":
            return self._in_block(Position(line, column), value, offset)
        start = column - 1 + (1 if style in ("'", '"') else 0)
        if self.lines[line - 1].startswith(value, start):
            return Position(line, start + offset + 1)
        return Position(line, column)

    def value(self, loc: Loc) -> Any:
        """Return the value at ``loc``, None where there is none."""
        found = self.data
        for part in loc:
            known = found if isinstance(found, dict) else range(len(found) if isinstance(found, list) else 0)
            if part not in known:
                return None
            found = found[part]
        return found

    def problem(self, loc: Loc, message: str, *, at_key: bool = False, **hints: str | None) -> Problem:
        """Return a problem at the value (or key) of ``loc``; ``hints`` are its value, expected and suggestion."""
        place = self.key_position(loc) if at_key else self.position(loc)
        return Problem(file=self.file, line=place.line, column=place.column, message=message, **hints)

    def _in_block(self, start: Position, value: str, offset: int) -> Position:
        before = value[:offset]
        row = start.line + before.count("\n")
        if row >= len(self.lines):
            return start
        first = next((ln for ln in self.lines[start.line :] if ln.strip()), "")
        indent = len(first) - len(first.lstrip(" "))
        return Position(row + 1, indent + offset - (before.rfind("\n") + 1) + 1)


def load_source(path: Path) -> Source:
    """Read a file that holds one YAML document. Raises DocumentError with every problem found."""
    sources, problems = read_sources(path)
    if not problems and len(sources) != 1:
        problems = [_at_top(str(path), f"expected one document, found {len(sources)}")]
    if problems:
        raise DocumentError(problems)
    return sources[0]


def read_sources(path: Path) -> tuple[list[Source], list[Problem]]:
    """Read every document of a file, with the problems of its YAML."""
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as e:
        return [], [_at_top(str(path), f"cannot be read: {e.strerror or type(e).__name__}")]
    if raw is None:
        return [], [_at_top(str(path), f"is larger than {MAX_BYTES // 1024} KiB")]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        return [], [_at_top(str(path), f"is not UTF-8 text (byte {e.start})")]
    return parse_sources(text, str(path))


def parse_sources(text: str, file: str) -> tuple[list[Source], list[Problem]]:
    """Read every document of a text; ``file`` is its name in problems. Empty documents are left out."""
    sources: list[Source] = []
    problems: list[Problem] = []
    lines = tuple(text.splitlines())
    try:
        for node in compose(text):
            reader = _Reader(file)
            data = reader.read(node)
            problems.extend(reader.problems)
            if not (data is None and not reader.problems):
                sources.append(Source(file, data, lines, reader.values, reader.keys))
    except MarkedYAMLError as e:
        problems.append(_syntax(file, e))
    except YAMLError as e:
        problems.append(_at_top(file, f"is not YAML: {str(e).partition(chr(10))[0]}"))
    except RecursionError:
        problems.append(_at_top(file, "is nested too deeply"))
    return sources, problems


class _TooBigError(Exception):
    """Aliases unfold to more than `MAX_NODES` values."""


class _Reader:
    """Turns nodes into plain data and remembers where each stood."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[Loc, _Mark] = {}
        self.keys: dict[Loc, _Mark] = {}
        self.problems: list[Problem] = []
        self._count = 0

    def read(self, node: Node | None) -> Any:
        try:
            return self._value(node, ()) if node is not None else None
        except _TooBigError:
            self._report(node, f"aliases unfold to more than {MAX_NODES} values")
            return None

    def _value(self, node: Node, loc: Loc) -> Any:
        self._count += 1
        if self._count > MAX_NODES:
            raise _TooBigError
        mark = self.values[loc] = _mark(node)
        if len(loc) > MAX_DEPTH:
            return self._report(node, f"is nested deeper than {MAX_DEPTH} levels")
        tag, is_plain = str(node.tag), isinstance(node, ScalarNode) and mark[2] is None
        if tag not in (_RESOLVED_TAGS if is_plain else _TAGS):
            self._report(node, f"unsupported YAML tag {tag.replace(TAG, '!!')}")
        if isinstance(node, MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, SequenceNode):
            return [self._value(item, (*loc, i)) for i, item in enumerate(node.value)]
        return _scalar(node.value) if is_plain and tag != TAG + "str" else node.value

    def _mapping(self, node: MappingNode, loc: Loc) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._report(key_node, "a key must be plain text")
                continue
            key = key_node.value
            if key in data:
                first, *_ = self.keys[(*loc, key)]
                self._report(key_node, f"duplicate key (first at line {first})", key)
                continue
            self.keys[(*loc, key)] = _mark(key_node)
            data[key] = self._value(value_node, (*loc, key))
            if data[key] is None and value_node.value == "":
                self.values[(*loc, key)] = _behind(key_node)
        return data

    def _report(self, node: Node | None, message: str, value: str | None = None) -> None:
        line, column, _ = _mark(node) if node is not None else (1, 1, None)
        self.problems.append(Problem(file=self.file, line=line, column=column, message=message, value=value))


def _scalar(text: str) -> str | int | float | bool | None:
    if text and text[0] not in _NOT_ONLY_TEXT:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text) and len(text) < 20:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan").replace(".Inf", "inf").replace(".NaN", "nan"))
    return text


def _mark(node: Node) -> _Mark:
    start = node.start_mark
    return start.line + 1, start.column + 1, node.style if isinstance(node, ScalarNode) else None


def _behind(key: Node) -> _Mark:
    """Return where the absent value of a key is put, on which the parsers do not agree: behind its colon."""
    return key.end_mark.line + 1, key.end_mark.column + 2, None


def _syntax(file: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = (error.problem or "invalid YAML").replace("'<", "<").replace(">'", ">")
    where = f" {error.context}" if error.context else ""
    return Problem(
        file=file,
        line=mark.line + 1 if mark else 1,
        column=mark.column + 1 if mark else 1,
        message=f"YAML syntax: {shown(what)}{where}",
    )


def _at_top(file: str, message: str) -> Problem:
    return Problem(file=file, line=1, column=1, message=message)
