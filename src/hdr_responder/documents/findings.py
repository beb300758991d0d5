"""Mistakes in a document's data, before their place in the file is known.

Models, expressions and cross-checks report where in the data they found something (pydantic's ``loc``); the source
turns that into a line and column. A playbook that comes out of the database has no file, and its findings name the
path.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hdr_responder.documents.expressions import Fault
from hdr_responder.documents.problems import Problem, nearest, shown
from hdr_responder.documents.source import Loc, Source

_SHOULD_BE = "Input should be "


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A mistake at ``loc`` of a document's data.

    ``offset`` points into the text that stands there, ``at_key`` at the entry's key instead of its value.
    """

    loc: Loc
    message: str
    value: str | None = None
    expected: str | None = None
    suggestion: str | None = None
    offset: int | None = None
    at_key: bool = False

    def problem(self, source: Source) -> Problem:
        """Return the problem at its place in the file."""
        if self.offset is not None:
            place = source.position_within(self.loc, self.offset)
        else:
            place = source.key_position(self.loc) if self.at_key else source.position(self.loc)
        return Problem(
            file=source.file,
            line=place.line,
            column=place.column,
            message=self.message,
            value=self.value,
            expected=self.expected,
            suggestion=self.suggestion,
        )

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.loc))}: {self.message}"


def from_fault(loc: Loc, fault: Fault) -> Finding:
    """Return the finding for a fault of the expression or template at ``loc``."""
    return Finding(loc=loc, message=fault.message, suggestion=fault.suggestion, offset=fault.offset)


def unknown(loc: Loc, what: str, word: str, known: Iterable[str], *, at_key: bool = False) -> Finding:
    """Return the finding for a name that is not among the known ones."""
    names = sorted(known)
    suggestion = nearest(word, names)
    expected = None if suggestion or len(names) > 12 else f"one of {', '.join(names)}" if names else "none is known"
    return Finding(
        loc=loc, message=f"unknown {what}", value=shown(word), expected=expected, suggestion=suggestion, at_key=at_key
    )


def from_validation(
    error: ValidationError,
    model: type[BaseModel],
    data: Any,
    at: Loc = (),
    but: Callable[[Loc], bool] = lambda _loc: False,
) -> list[Finding]:
    """Return a finding for every error of a model, ``but`` those at the places (in ``data``) that it is true for.

    ``at`` is where ``data`` stands in the document.
    """
    errors = error.errors(include_url=False)
    placed = [(_existing(e["loc"], data), e) for e in errors if not _follows(e, errors)]
    return [_finding(e, model, (*at, *place)) for place, e in placed if not but(place)]


def _finding(error: ErrorDetails, model: type[BaseModel], where: Loc) -> Finding:
    kind = error["type"]
    if kind == "missing":
        return Finding(loc=where, message=f"missing required key {error['loc'][-1]!r}")
    if kind in ("too_short", "too_long"):
        return Finding(loc=where, message=_length(error))
    if kind == "extra_forbidden" and error["loc"][-1] in _keys_at(model, error["loc"][:-1]):
        message = f"{error['loc'][-1]!r} cannot stand beside the other keys here"
        return Finding(loc=where, message=message, at_key=True)
    if kind == "extra_forbidden":
        return unknown(where, "key", str(error["loc"][-1]), _keys_at(model, error["loc"][:-1]), at_key=True)
    raised = error.get("ctx", {}).get("error")
    expected, suggestion = (None, None) if isinstance(raised, Exception) else _expected(error)
    message = str(raised) if isinstance(raised, Exception) else error["msg"][0].lower() + error["msg"][1:]
    return Finding(
        loc=where,
        message=f"invalid {_named(where)}" if expected else message,
        value=shown(error["input"]) if expected or not raised else None,
        expected=expected,
        suggestion=suggestion,
        at_key="[key]" in error["loc"],
    )


def _follows(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    """Tell whether a list is too short only because its entries have mistakes, which are told themselves."""
    where = error["loc"]
    inside = (e for e in errors if len(e["loc"]) > len(where) and e["loc"][: len(where)] == where)
    return error["type"] == "too_short" and any(inside)


def _length(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if error["type"] == "too_short":
        return f"needs at least {_counted(context['min_length'])}, has {context['actual_length']}"
    return f"takes at most {_counted(context['max_length'])}"


def _counted(entries: int) -> str:
    return f"{entries} {'entry' if entries == 1 else 'entries'}"


def _expected(error: ErrorDetails) -> tuple[str | None, str | None]:
    """Return what would be right and the nearest right value, as far as pydantic tells."""
    context = error.get("ctx", {})
    if error["type"] in ("enum", "literal_error"):
        expected = str(context["expected"])
        choices = [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
        return expected, nearest(str(error["input"]), choices)
    if error["type"] == "string_pattern_mismatch":
        return f"text like {context.get('pattern', '')}", None
    if error["msg"].startswith(_SHOULD_BE):
        expected = error["msg"].removeprefix(_SHOULD_BE)
        for raw, word in (("a valid dictionary", "a mapping"), ("tuple", "list"), ("dictionary", "mapping")):
            expected = expected.replace(raw, word)
        return expected, None
    return None, None


def _existing(loc: tuple[int | str, ...], data: Any) -> Loc:
    """Return the parts of pydantic's ``loc`` that are places in the data; the others name a union's branch."""
    kept: list[int | str] = []
    for part in loc:
        inside = (isinstance(data, dict) and part in data) or (
            isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        )
        if inside:
            kept.append(part)
            data = data[part]
    return tuple(kept)


def _named(loc: Loc) -> str:
    names = [part for part in loc if isinstance(part, str)]
    return f"value for {names[-1]!r}" if names else "document"


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> set[str]:
    """Return the keys that the model at ``loc`` knows, following field annotations."""
    candidates: set[type[BaseModel]] = {model}
    for part in loc:
        following: set[type[BaseModel]] = set()
        for candidate in candidates:
            for name, info in candidate.model_fields.items():
                if part in (info.alias, name):
                    following |= _models_in(info.annotation)
        candidates = following or candidates
    return {info.alias or name for candidate in candidates for name, info in candidate.model_fields.items()}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    if get_origin(annotation) in (Annotated, Union, types.UnionType, list, tuple, dict):
        return {model for argument in get_args(annotation) for model in _models_in(argument)}
    return set()
