"""CEL expressions, typed when a document is loaded and honest when they are evaluated.

Every name of the scope is declared fully qualified with its type (``steps.release.age``), so that a typo or a
comparison of unlike things is found by ``check`` and not at night. Google's runtime returns evaluation errors as
values; they become `ExpressionError` in this module and nowhere else, so that a failed condition can never pass for an
answer.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from pydantic import BaseModel

from hdr_responder.documents.protobuf import referenced_names
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import ConfigError, PermanentError

MAX_LENGTH = 2_000
"""Longest expression accepted, in characters."""

CelType = str
"""A CEL type as text: ``string``, ``double``, ``list<map<string, dyn>>``; ``string_wrapper`` may also be null. A word
that CEL does not know (``workload``) is an object that can be passed on but not looked into."""

Names = tuple[tuple[str, CelType], ...]
BOOL, INT, DOUBLE, STRING, DURATION, TIMESTAMP, DYN = "bool", "int", "double", "string", "duration", "timestamp", "dyn"
WORKLOAD = "workload"
_TEMPORAL = (DURATION, TIMESTAMP)
_MILLISECOND = timedelta(milliseconds=1)
_ERROR_LINE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_SYNTAX = "Syntax error: "
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_OVERLOAD = re.compile(r"found no matching overload for '([^']+)' applied to '(.+)'")
_MISSING_KEY = re.compile(r'Key not found in map : (?:"(.*)"|(.*))', re.DOTALL)
_MISSING_NAME = re.compile(r'No value with name "([^"]+)" found')


class ExpressionError(PermanentError):
    """A condition or template could not be evaluated. It is never read as false or as empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One mistake in an expression or template; ``offset`` is the 0-based place in its text."""

    offset: int
    message: str
    suggestion: str | None = None

    def shifted(self, by: int) -> Fault:
        """Return the same fault seen from the text that this one is embedded in."""
        return Fault(offset=self.offset + by, message=self.message, suggestion=self.suggestion)


class InvalidExpressionError(ConfigError):
    """A text is no valid expression or template for its scope; carries every fault found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"column {f.offset + 1}: {f.message}" for f in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The names that an expression may use, with their types.

    ``later`` are ids of steps that exist but come after the place of the expression: naming one is an error that says
    so. ``unresolved`` are beginnings of names whose own declaration is wrong: that was told there and is not told
    again. Scopes with equal names share their compiler.
    """

    names: Mapping[str, CelType]
    later: frozenset[str] = frozenset()
    unresolved: tuple[str, ...] = ()
    _key: Names = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key", self._key or tuple(sorted(self.names.items())))

    @property
    def key(self) -> Names:
        """The names in order, to find their compiler by."""
        return self._key

    def with_names(self, more: Mapping[str, CelType]) -> Scope:
        """Return a scope that knows ``more`` as well."""
        return replace(self, names={**self.names, **more}, _key=())

    def hiding(self, steps: frozenset[str]) -> Scope:
        """Return the scope as seen from a place before these steps."""
        return replace(self, later=steps)

    def without(self, unresolved: tuple[str, ...]) -> Scope:
        """Return a scope that keeps quiet about names that begin with these."""
        return replace(self, unresolved=unresolved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A checked expression. ``names`` are the names of the scope that it uses, ``type`` is what it gives."""

    text: str
    type: CelType
    names: frozenset[str]
    temporal: tuple[tuple[str, CelType], ...]
    checked: bytes

    @property
    def depends_on_steps(self) -> frozenset[str]:
        """Ids of the steps whose outcome or result the expression reads."""
        return frozenset(n.split(".")[1] for n in self.names if n.startswith("steps."))

    def evaluate(self, values: Mapping[str, object]) -> Any:
        """Return the value as plain Python (a workload as `Workload`).

        ``values`` maps qualified names to values; a name without an entry has no value. A name alone gives its very
        value, so that whole results pass between steps unchanged. Raises ExpressionError.
        """
        name = self.text.strip()
        if name in self.names and name in values:
            return values[name]
        data = {n: _to_cel(n, values[n]) for n in self.names if n in values}
        program = _program(self.checked, tuple(t for t in self.temporal if data.get(t[0]) is not None))
        try:
            value = program.eval(data=_plain(data, self.temporal))
            if value.type() == cel.Type.ERROR:
                raise ExpressionError(f"{self.text}: {self._explain(str(value.value()))}")
            plain = value.plain_value()
        except RuntimeError as e:
            raise ExpressionError(f"{self.text}: {_first_line(e)}") from e
        return Workload.model_validate(plain) if self.type == WORKLOAD and plain is not None else plain

    def _explain(self, error: str) -> str:
        if missing := _MISSING_KEY.search(error):
            key = missing[1] if missing[1] is not None else missing[2]
            return self._no_key(key)
        if missing := _MISSING_NAME.search(error):
            return f"{missing[1]} has no value"
        nulls = "null_type" in error
        return "a value that the expression needs is null" if nulls else error.partition(": ")[2] or error

    def _no_key(self, key: str) -> str:
        read = self.names & {"alert.labels", "alert.annotations"}
        if len(read) == 1:
            return f"the alert has no {next(iter(read)).removeprefix('alert.').removesuffix('s')} {key!r}"
        return f"{' or '.join(sorted(self.names)) or 'the map'} has no {key!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """An expression that is true or false."""

    expression: Expression

    @property
    def text(self) -> str:
        """The expression as the author wrote it."""
        return self.expression.text

    @property
    def depends_on_steps(self) -> frozenset[str]:
        """Ids of the steps whose outcome or result the condition reads."""
        return self.expression.depends_on_steps

    def evaluate(self, values: Mapping[str, object]) -> bool:
        """Return the answer. Raises ExpressionError where there is none."""
        answer = self.expression.evaluate(values)
        if not isinstance(answer, bool):
            raise ExpressionError(f"{self.text}: gives {answer!r} and not true or false")
        return answer


def compile_condition(text: str, scope: Scope) -> Condition:
    """Check that ``text`` is a condition over the scope.

    Raises InvalidExpressionError, also when it gives anything but a bool.
    """
    expression = compile_expression(text, scope)
    if expression.type != BOOL:
        raise InvalidExpressionError(
            [Fault(offset=0, message=f"a condition must give bool, this gives {type_name(expression.type)}")]
        )
    return Condition(expression=expression)


def compile_expression(text: str, scope: Scope) -> Expression:
    """Check ``text`` against the scope. Raises InvalidExpressionError with every fault found."""
    if len(text) > MAX_LENGTH:
        raise InvalidExpressionError([Fault(offset=0, message=f"expression is longer than {MAX_LENGTH} characters")])
    if not text.strip():
        raise InvalidExpressionError([Fault(offset=0, message="empty expression")])
    try:
        expression = _compiled(text, scope.key)
    except RuntimeError as e:
        raise InvalidExpressionError(_faults(text, scope, str(e))) from e
    if early := sorted(n for n in expression.names if n.startswith("steps.") and n.split(".")[1] in scope.later):
        raise InvalidExpressionError([_too_early(text, n) for n in early])
    return expression


def type_name(kind: CelType) -> str:
    """Return what people call this type."""
    return _human(kind)


def to_text(value: object) -> str:
    """Return how a value reads inside a text: ``true``, ``3``, ``1h30m``, ``deployment/neural-hdr``.

    Raises ExpressionError for null, lists and maps, which have no one form.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str | int | float | Workload):
        return str(value)
    kind = "null" if value is None else "a list or a map"
    raise ExpressionError(f"{kind} cannot be written into a text")


def _human(name: str) -> str:
    for raw, word in (("google.protobuf.", ""), ("wrapper(", "nullable ("), ("_wrapper", " or null")):
        name = name.replace(raw, word)
    return name.lower()


@lru_cache(maxsize=4096)
def _compiled(text: str, names: Names) -> Expression:
    """Check an expression; the same text comes many times in a playbook, and again when its run is taken up."""
    compiled, types = _environment(names).compile(text), dict(names)
    checked = compiled.serialize()
    used = referenced_names(checked) & types.keys()
    temporal = tuple((n, t) for n in sorted(used) if (t := types[n]) in _TEMPORAL)
    return Expression(
        text=text, type=compiled.return_type().name().lower(), names=used, temporal=temporal, checked=checked
    )


@lru_cache(maxsize=512)
def _environment(names: Names) -> Any:
    """Return the compiler for these names.

    It compiles once at the start because the runtime learns its declared names at the first compilation only: before
    it, a loaded expression refuses every time value.
    """
    environment = cel.NewEnv(
        variables={name: _type(kind) for name, kind in names}, extensions=[ext_strings.ExtStrings()]
    )
    environment.compile("true")
    return environment


@lru_cache(maxsize=512)
def _type(kind: CelType) -> Any:
    return cel.Type(kind)


@lru_cache(maxsize=4096)
def _program(checked: bytes, temporal: tuple[tuple[str, CelType], ...]) -> Any:
    """Load a checked expression where values are taken as they come.

    The checking environment would refuse null for a nullable number and any value for a workload; this one knows only
    the names that hold times, since the runtime takes those for declared names alone.
    """
    return _environment(temporal).deserialize(checked)


def _plain(data: Mapping[str, object], temporal: tuple[tuple[str, CelType], ...]) -> dict[str, object]:
    declared = {name for name, _ in temporal}
    return {n: v if n in declared else _nested(n, v) for n, v in data.items()}


def _to_cel(name: str, value: object) -> object:
    return value if isinstance(value, timedelta | datetime) else _nested(name, value)


def _nested(name: str, value: object) -> object:
    """Return the value in the runtime's own kinds; inside a list or map, times become text that CEL can read back."""
    if isinstance(value, BaseModel):
        value = {k: getattr(value, k) for k in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(k): _nested(f"{name}[{k!r}]", v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_nested(name, v) for v in value]
    return _scalar(name, value.value if isinstance(value, Enum) else value)


def _scalar(name: str, value: object) -> object:
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= c <= "\udfff" for c in value)):
        raise ExpressionError(f"{name} holds a character that is no text (NUL or half a surrogate pair)")
    if isinstance(value, timedelta):
        return f"{round(value / _MILLISECOND)}ms"
    return value.isoformat() if isinstance(value, datetime) else value


def _faults(text: str, scope: Scope, error: str) -> list[Fault]:
    lines = list(_ERROR_LINE.finditer(error))
    if not lines:
        return [Fault(offset=0, message=_first_line(error))]
    if _SYNTAX in lines[0][3]:
        del lines[1:]
    named = ((m, _UNDECLARED.search(m[3])) for m in lines)
    told = (m for m, name in named if not (name and name[1].startswith(scope.unresolved)))
    return [_fault(text, scope, int(m[1]), int(m[2]), m[3]) for m in told]


def _fault(text: str, scope: Scope, line: int, column: int, message: str) -> Fault:
    offset = sum(len(row) + 1 for row in text.split("\n")[: line - 1]) + column - 1
    if undeclared := _UNDECLARED.search(message):
        return _unknown(text, scope, offset, undeclared[1])
    if "operand of a select operation" in message and (name := _name_around(text, offset)):
        return _unknown(text, scope, offset, name)
    return Fault(offset=min(offset, len(text)), message=_readable(message))


def _unknown(text: str, scope: Scope, offset: int, name: str) -> Fault:
    """Point at the start of an unknown name; the runtime points at its last dot."""
    start = max(0, offset - name.rfind(".")) if "." in name else offset
    return Fault(
        offset=start if text.startswith(name, start) else offset,
        message=f"unknown name {name}",
        suggestion=next(iter(difflib.get_close_matches(name, scope.names, n=1)), None),
    )


def _name_around(text: str, dot: int) -> str | None:
    before, after = re.search(r"[\w.]*$", text[:dot]), re.match(r"\.\w+", text[dot:])
    return before[0] + after[0] if before and after else None


def _readable(message: str) -> str:
    if overload := _OVERLOAD.search(message):
        operator, operands = overload[1].strip("_@").replace("_", " "), _human(overload[2])
        hint = ""
        if "double" in operands and "int" in operands:
            hint = "; write 5.0 for a double, or convert with double(x)"
        elif "duration" in operands and ("string" in operands or "int" in operands):
            hint = "; write duration('5m') for a duration"
        return f"{operator!r} cannot take {operands}{hint}"
    return _human(message.partition(", expecting")[0].partition(" expecting {")[0].replace(_SYNTAX, "syntax error: "))


def _too_early(text: str, name: str) -> Fault:
    step = ".".join(name.split(".")[:2])
    return Fault(offset=max(0, text.find(step)), message=f"{step} comes later; only earlier steps can be read")


def _first_line(error: object) -> str:
    return str(error).partition("\n")[0]
