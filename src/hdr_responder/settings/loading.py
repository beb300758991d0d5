"""From `responder.yaml` and the environment to `Settings`, with every mistake reported at once and at its place."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hdr_responder.documents.problems import nearest
from hdr_responder.documents.source import Loc, Source, read_sources
from hdr_responder.errors import ConfigError
from hdr_responder.settings.environment import Values, parse_text, read_environment, read_secret_file
from hdr_responder.settings.models import default_data_dir
from hdr_responder.settings.root import Settings
from hdr_responder.settings.structure import FILE_SUFFIX, holds_secret, named_section_of, section_of, variable

FILE_NAME = "responder.yaml"
_DIR_VARIABLE = "HDR_CONFIG__DIR"
_MESSAGES = {
    "missing": "is required",
    "tuple_type": "must be a list (in the environment a JSON list)",
    "dict_type": "must be a mapping (in the environment a JSON object)",
    "model_type": "must be a mapping",
    "string_type": "must be text",
    "int_parsing": "must be a whole number",
    "bool_parsing": "must be true or false",
}
_log = logging.getLogger(__name__)

RESERVED: Mapping[Loc, str] = {
    ("smtp",): "this version sends no e-mail",
    ("pagerduty", "webhook_secret"): "this version takes no PagerDuty webhooks",
}
"""Names that are fixed for settings which nothing reads yet: they are named in a warning and otherwise ignored."""


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of ``path`` (by default responder.yaml in ``HDR_CONFIG__DIR`` or ``config/``, if there).

    Raises ConfigError with one line per mistake, each beginning with ``file:line:column`` or the variable's name.
    """
    environ = os.environ if environ is None else environ
    loading = _Loading()
    loading.read_document(path or Path(environ.get(_DIR_VARIABLE) or "config") / FILE_NAME, required=path is not None)
    loading.read_environment(environ)
    loading.read_secret_files()
    loading.set_default(("database", "data_dir"), str(default_data_dir(environ)))
    if path is not None:
        loading.set_default(("config", "dir"), str(path.parent))
    return loading.finish()


@dataclass(slots=True, repr=False)
class _Loading:
    """What is known so far; ``data`` is the document with the environment's values laid over it."""

    data: dict[str, Any] = field(default_factory=dict)
    source: Source | None = None
    environment: Values = field(default_factory=Values)
    problems: list[str] = field(default_factory=list)
    secret_places: dict[Loc, str] = field(default_factory=dict)

    def read_document(self, path: Path, *, required: bool) -> None:
        """Read the file; a default one may be absent or empty."""
        if not required and not path.exists():
            return
        sources, problems = read_sources(path)
        self.problems.extend(str(p) for p in problems)
        if problems or not sources:
            return
        self.source = sources[0]
        if len(sources) > 1 or not isinstance(self.source.data, dict):
            self.problems.append(str(self.source.problem((), "must be one document, a mapping")))
            return
        self.data = _copied(self.source.data)
        self._drop_reserved()
        _fill_empty_sections(self.data, Settings)

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Lay the environment's values over the document, the shallow ones first."""
        used = {name: text for name, text in environ.items() if not self._is_reserved(name, text)}
        self.environment = read_environment(used, self.data)
        self.problems.extend(self.environment.problems)
        for loc, value in sorted(self.environment.values.items(), key=lambda item: len(item[0])):
            self._put(loc, value)

    def read_secret_files(self) -> None:
        """Replace every ``<secret>_file`` of the document by the file's content, unless the environment has it."""
        self._read_secret_files(self.data, Settings, ())

    def set_default(self, loc: Loc, value: str) -> None:
        """Set what nobody set."""
        found: Any = self.data
        for part in loc:
            found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            self._put(loc, value)

    def finish(self) -> Settings:
        """Validate; raise ConfigError when anything was or is wrong."""
        try:
            settings = Settings(**self.data)
        except ValidationError as e:
            errors = e.errors(include_url=False, include_context=False, include_input=False)
            raise ConfigError("\n".join([*self.problems, *(self._told(error) for error in errors)])) from None
        if self.problems:
            raise ConfigError("\n".join(self.problems))
        return settings

    def _put(self, loc: Loc, value: Any) -> None:
        inner: dict[Any, Any] = self.data
        for part in loc[:-1]:
            if not isinstance(inner.get(part), dict):
                inner[part] = {}
            inner = inner[part]
        inner[loc[-1]] = value
        inner.pop(f"{loc[-1]}{FILE_SUFFIX}", None)

    def _read_secret_files(self, data: Any, model: type[BaseModel], loc: Loc) -> None:
        for key in list(data) if isinstance(data, dict) else ():
            known = model.model_fields.get(key)
            section = section_of(known.annotation) if known else None
            named = named_section_of(known.annotation) if known else None
            if section:
                self._read_secret_files(data[key], section, (*loc, key))
            elif named and isinstance(data[key], dict):
                for name, entry in data[key].items():
                    self._read_secret_files(entry, named, (*loc, key, name))
            elif known is None:
                self._read_secret_file(data, model, (*loc, key))

    def _read_secret_file(self, data: dict[str, Any], model: type[BaseModel], loc: Loc) -> None:
        key = str(loc[-1])
        base = key.removesuffix(FILE_SUFFIX)
        known = model.model_fields.get(base)
        if base == key or known is None or not holds_secret(known.annotation):
            return
        place, file = self._place(loc), data.pop(key)
        self.secret_places[(*loc[:-1], base)] = place
        if base in data:
            self.problems.append(f"{place}: {_dotted(loc)}: only one of {base} and {key} may be set")
        elif not isinstance(file, str):
            self.problems.append(f"{place}: {_dotted(loc)}: must be the path of a file")
        else:
            try:
                data[base] = parse_text(read_secret_file(Path(file)), known.annotation)
            except ValueError as e:
                self.problems.append(f"{place}: {_dotted(loc)}: {e}")

    def _told(self, error: ErrorDetails) -> str:
        loc, at_key = error["loc"], False
        message = _MESSAGES.get(error["type"], error["msg"].removeprefix("Value error, "))
        if error["type"] == "extra_forbidden":
            suggestion = nearest(str(loc[-1]), _siblings(loc))
            message, at_key = "no such setting" + (f" (did you mean {suggestion!r}?)" if suggestion else ""), True
        elif loc[-1:] == ("[key]",):
            loc, message, at_key = loc[:-1], f"this name {message}", True
        place = self._place(loc, at_key=at_key)
        return f"{place}: {message}" if place == variable(loc) else f"{place}: {_dotted(loc)}: {message}"

    def _place(self, loc: Loc, *, at_key: bool = False) -> str:
        """Return where a setting was written, or else the variable that would set it."""
        for length in range(len(loc), 0, -1):
            written = self.environment.places.get(loc[:length]) or self.secret_places.get(loc[:length])
            if written:
                return written
        setting = next((loc[:i] for i, part in enumerate(loc) if isinstance(part, int)), loc)
        if self.source is None or (not at_key and self.source.value(setting) is None):
            return variable(setting)
        at = self.source.key_position(loc) if at_key else self.source.position(loc)
        return f"{self.source.file}:{at.line}:{at.column}"

    def _drop_reserved(self) -> None:
        for loc, reason in RESERVED.items():
            inner: Any = self.data
            for part in loc[:-1]:
                inner = inner.get(part) if isinstance(inner, dict) else None
            keys = (loc[-1], f"{loc[-1]}{FILE_SUFFIX}")
            ignored = [inner.pop(key, None) for key in keys] if isinstance(inner, dict) else []
            if any(value is not None for value in ignored):
                _log.warning("%s is ignored: %s", _dotted(loc), reason)

    def _is_reserved(self, name: str, text: str) -> bool:
        for loc, reason in RESERVED.items():
            reserved = variable(loc)
            if name in (reserved, f"{reserved}{FILE_SUFFIX.upper()}") or name.startswith(f"{reserved}__"):
                if text.strip():
                    _log.warning("%s is ignored: %s", name, reason)
                return True
        return False


def _copied(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copied(value) for key, value in data.items()}
    return list(data) if isinstance(data, list) else data


def _fill_empty_sections(data: dict[str, Any], model: type[BaseModel]) -> None:
    """A section whose lines are all commented out reads as null: it is an empty one."""
    for key, known in model.model_fields.items():
        section, named = section_of(known.annotation), named_section_of(known.annotation)
        if key not in data or not (section or named):
            continue
        data[key] = {} if data[key] is None else data[key]
        if section and isinstance(data[key], dict):
            _fill_empty_sections(data[key], section)
        elif isinstance(data[key], dict):
            data[key] = {name: {} if entry is None else entry for name, entry in data[key].items()}


def _siblings(loc: Loc) -> list[str]:
    model: type[BaseModel] = Settings
    for part in loc[:-1]:
        known = model.model_fields.get(str(part))
        if known is not None:
            item = next(iter(get_args(known.annotation)), None)
            model = section_of(known.annotation) or named_section_of(known.annotation) or section_of(item) or model
    return list(model.model_fields)


def _dotted(loc: Loc) -> str:
    return ".".join(str(part) for part in loc)
