"""Values with ``${...}`` in them: text, or lists and mappings of text, whose expressions are checked when loaded.

A text that is one expression alone keeps the expression's type; inside a longer text the value is written out. What
an expression gives is data and is never read as a template again, so that a label cannot bring code. ``$${`` writes a
literal ``${``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hdr_responder.documents.expressions import (
    CelType,
    Expression,
    ExpressionError,
    Fault,
    InvalidExpressionError,
    Scope,
    compile_expression,
    to_text,
    type_name,
)

Path = tuple[str | int, ...]
_OPEN, _ESCAPED = "${", "$${"
_UNWRITABLE = ("list", "map", "null")


class InvalidTemplateError(InvalidExpressionError):
    """Texts of a template are invalid; ``by_path`` says which, with each one's faults."""

    def __init__(self, by_path: Mapping[Path, tuple[Fault, ...]]) -> None:
        super().__init__([f for faults in by_path.values() for f in faults])
        self.by_path = by_path


@dataclass(frozen=True, slots=True)
class _Text:
    """A text with expressions; ``parts`` alternate freely. Alone: exactly one expression, whose type is kept."""

    parts: tuple[str | Expression, ...]

    @property
    def alone(self) -> Expression | None:
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, Expression) else None

    def evaluate(self, values: Mapping[str, object]) -> Any:
        if self.alone:
            return self.alone.evaluate(values)
        return "".join(p if isinstance(p, str) else _written(p, values) for p in self.parts)


def _written(expression: Expression, values: Mapping[str, object]) -> str:
    try:
        return to_text(expression.evaluate(values))
    except ExpressionError as e:
        raise e if str(e).startswith(expression.text) else ExpressionError(f"{expression.text}: {e}") from e


@dataclass(frozen=True, slots=True)
class Template:
    """A value whose expressions are compiled. ``source`` is what the author wrote."""

    source: Any
    _tree: Any

    @property
    def expressions(self) -> tuple[tuple[Path, Expression | None], ...]:
        """The places that are not static: a lone expression, or None for a text with expressions in it."""
        return tuple((path, text.alone) for path, text in _texts(self._tree, ()))

    @property
    def fields(self) -> dict[str, Template]:
        """The entries of a mapping, each as a template of its own; empty for anything else."""
        if not isinstance(self._tree, dict):
            return {}
        return {key: Template(self.source[key], tree) for key, tree in self._tree.items()}

    @property
    def names(self) -> frozenset[str]:
        """The names of the scope that the template uses."""
        used = (p.names for _, text in _texts(self._tree, ()) for p in text.parts if isinstance(p, Expression))
        return frozenset[str]().union(*used)

    @property
    def depends_on_steps(self) -> frozenset[str]:
        """Ids of the steps whose outcome or result the template reads."""
        return frozenset(n.split(".")[1] for n in self.names if n.startswith("steps."))

    @property
    def is_static(self) -> bool:
        """Whether it holds no expression at all."""
        return not self.expressions

    def evaluate(self, values: Mapping[str, object]) -> Any:
        """Return the value with every expression replaced by what it gives. Raises ExpressionError."""
        return _evaluate(self._tree, values)


def compile_template(value: Any, scope: Scope) -> Template:
    """Compile every text in ``value`` (mapping keys excepted). Raises InvalidTemplateError with every fault found."""
    faults: dict[Path, tuple[Fault, ...]] = {}
    tree = _compile(value, scope, (), faults)
    if faults:
        raise InvalidTemplateError(faults)
    return Template(value, tree)


def _compile(value: Any, scope: Scope, path: Path, faults: dict[Path, tuple[Fault, ...]]) -> Any:
    if isinstance(value, Mapping):
        return {k: _compile(v, scope, (*path, k), faults) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_compile(v, scope, (*path, i), faults) for i, v in enumerate(value)]
    if not isinstance(value, str) or _OPEN not in value:
        return value
    try:
        parts = _parts(value, scope)
    except InvalidExpressionError as e:
        faults[path] = e.faults
        return value
    return _Text(parts) if any(isinstance(p, Expression) for p in parts) else "".join(str(p) for p in parts)


def _evaluate(tree: Any, values: Mapping[str, object]) -> Any:
    if isinstance(tree, dict):
        return {k: _evaluate(v, values) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_evaluate(v, values) for v in tree]
    return tree.evaluate(values) if isinstance(tree, _Text) else tree


def _texts(tree: Any, path: Path) -> list[tuple[Path, _Text]]:
    if isinstance(tree, dict):
        return [found for k, v in tree.items() for found in _texts(v, (*path, k))]
    if isinstance(tree, list):
        return [found for i, v in enumerate(tree) for found in _texts(v, (*path, i))]
    return [(path, tree)] if isinstance(tree, _Text) else []


def _parts(text: str, scope: Scope) -> tuple[str | Expression, ...]:
    parts: list[str | Expression] = []
    faults: list[Fault] = []
    at = 0
    while (start := text.find(_OPEN, at)) >= 0:
        if start > at and text[start - 1] == "$":
            parts.append(text[at : start - 1] + _OPEN)
            at = start + len(_OPEN)
            continue
        if start > at:
            parts.append(text[at:start])
        end = _closing(text, start + len(_OPEN))
        if end is None:
            faults.append(Fault(offset=start, message="${ is never closed by }; write $${ for a literal ${"))
            break
        try:
            parts.append(compile_expression(text[start + len(_OPEN) : end], scope))
        except InvalidExpressionError as e:
            faults.extend(f.shifted(start + len(_OPEN)) for f in e.faults)
        at = end + 1
    if at < len(text):
        parts.append(text[at:])
    if not faults and len(parts) > 1:
        faults.extend(_unwritable(text, parts))
    if faults:
        raise InvalidExpressionError(faults)
    return tuple(parts)


def _unwritable(text: str, parts: list[str | Expression]) -> list[Fault]:
    found: list[Fault] = []
    for part in parts:
        if isinstance(part, Expression) and (kind := _unwritable_kind(part.type)):
            place = text.find(_OPEN + part.text) + len(_OPEN)
            found.append(Fault(offset=place, message=f"a {kind} cannot be written into a text"))
    return found


def _unwritable_kind(kind: CelType) -> str | None:
    name = type_name(kind)
    return next((word for word in _UNWRITABLE if name.startswith(word)), None)


def _closing(text: str, at: int) -> int | None:
    """Return where the ``}`` stands that closes an expression, minding CEL's strings and map literals."""
    depth, quote = 1, ""
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return None
