"""From environment variables to values with their places, refusing names that are probably mistyped.

A mistyped variable that is silently ignored leaves a service running on a default that nobody chose; so every ``HDR_``
variable of a known section must exist, and one that looks like a known one is taken for it. Others are left alone: the
prefix is not ours alone.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel

from hdr_responder.documents.source import Loc
from hdr_responder.settings.models import AlertmanagerSource
from hdr_responder.settings.root import Settings
from hdr_responder.settings.structure import (
    FILE_SUFFIX,
    PREFIX,
    SEPARATOR,
    holds_secret,
    known_variables,
    named_section_of,
    section_of,
)

MAX_SECRET_BYTES = 1024 * 1024
_LIKENESS = 0.87
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_\d+_(TCP|UDP|SCTP)")
"""Kubernetes sets such variables for every Service, one named ``hdr-http`` included."""


@dataclass(slots=True, repr=False)
class Values:
    """Values by path, where each was written, and what was wrong."""

    values: dict[Loc, Any] = field(default_factory=dict)
    places: dict[Loc, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def put(self, loc: Loc, value: Any, place: str) -> None:
        """Take a value, unless the same was written in two ways."""
        if loc in self.places:
            self.problems.append(f"{place}: {self.places[loc]} sets the same; only one of them may be set")
            return
        self.values[loc], self.places[loc] = value, place


@dataclass(frozen=True, slots=True)
class _Variable:
    loc: Loc
    annotation: Any
    is_file: bool = False


def read_environment(environ: Mapping[str, str], document: Any) -> Values:
    """Read the ``HDR_`` variables; empty ones count as unset.

    ``document`` is responder.yaml's data, whose spelling of targets' and sources' names is kept.
    """
    found = Values()
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or not text.strip() or _is_service_link(name, text):
            continue
        parts = name.removeprefix(PREFIX).lower().split(SEPARATOR)
        known = _resolve(parts, document)
        if known is None:
            found.problems.extend(_unknown(name, parts))
            continue
        try:
            content = read_secret_file(Path(text.strip())) if known.is_file else text
            found.put(known.loc, parse_text(content, known.annotation), name)
        except ValueError as e:
            found.problems.append(f"{name}: {e}")
    return found


def read_secret_file(path: Path) -> str:
    """Return a secret file's content without its line end; raises ValueError saying what is wrong with the file."""
    try:
        with path.expanduser().open("rb") as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
        content = raw.decode().rstrip("\r\n")
    except OSError as e:
        raise ValueError(f"{path} cannot be read: {e.strerror or type(e).__name__}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if len(raw) > MAX_SECRET_BYTES:
        raise ValueError(f"{path} is larger than {MAX_SECRET_BYTES} bytes")
    if not content:
        raise ValueError(f"{path} is empty")
    return content


def _resolve(parts: list[str], document: Any) -> _Variable | None:
    """Return the setting that a variable's parts name, None when there is none (or only a section)."""
    model: type[BaseModel] = Settings
    loc: Loc = ()
    while parts:
        part, *parts = parts
        known = model.model_fields.get(part)
        if known is None:
            return _file_variable(model, loc, part) if not parts else None
        loc, annotation = (*loc, part), known.annotation
        section, named = section_of(annotation), named_section_of(annotation)
        if named and parts:
            name, *parts = parts
            loc, section = (*loc, _spelling(name, loc, document, named)), named
        if section is None:
            return _Variable(loc, annotation) if not parts else None
        model = section
    return None


def _file_variable(model: type[BaseModel], loc: Loc, part: str) -> _Variable | None:
    base = part.removesuffix(FILE_SUFFIX)
    known = model.model_fields.get(base)
    if base == part or known is None or section_of(known.annotation) or not holds_secret(known.annotation):
        return None
    return _Variable((*loc, base), known.annotation, is_file=True)


def _spelling(name: str, loc: Loc, document: Any, named: type[BaseModel]) -> str:
    """Return a chosen name as responder.yaml spells it: variables have neither dashes nor lower case."""
    for part in loc:
        document = document.get(part) if isinstance(document, dict) else None
    for written in document if isinstance(document, dict) else ():
        if str(written).lower().replace("-", "_") == name.replace("-", "_"):
            return str(written)
    return name.replace("_", "-") if named is AlertmanagerSource else name


def parse_text(text: str, annotation: Any) -> Any:
    """Return what a text means: JSON where the setting is a list or mapping, otherwise the text.

    Raises ValueError, without the text, when it is not the JSON that it looks like.
    """
    if get_origin(annotation) not in (tuple, dict) or text.lstrip()[:1] not in ("[", "{"):
        return text if holds_secret(annotation) else text.strip()
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise ValueError(f"is not JSON: {e.msg} (line {e.lineno}, column {e.colno})") from None


def _unknown(name: str, parts: list[str]) -> Iterator[str]:
    known = known_variables()
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=_LIKENESS)
    if parts[0] in Settings.model_fields:
        nearest = nearest or difflib.get_close_matches(name, known, n=1)
    elif not nearest:
        return
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    yield f"{name}: no such setting{hint}"


def _is_service_link(name: str, text: str) -> bool:
    return bool(_SERVICE_LINK.search(name)) or (name.endswith("_PORT") and text.startswith(("tcp://", "udp://")))
