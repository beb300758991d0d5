"""Which settings exist, read off the models: names of variables, which of them are secret, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from hdr_responder.documents.source import Loc
from hdr_responder.domain.durations import format_duration
from hdr_responder.settings.root import Settings

PREFIX = "HDR_"
SEPARATOR = "__"
FILE_SUFFIX = "_file"
ANY_NAME = "<name>"
"""Stands in a path for the name that people give to a target or source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """One setting for people: ``key`` in responder.yaml, ``variable`` in the environment."""

    key: str
    variable: str
    default: str
    secret: bool
    """Whether the variable with ``_FILE`` appended may name a file that holds the value."""
    description: str


def describe_settings() -> list[SettingDescription]:
    """Return every setting, in the order of the models."""
    return [
        SettingDescription(
            key=".".join(str(p) for p in loc),
            variable=variable(loc),
            default=_default(field),
            secret=holds_secret(field.annotation),
            description=(field.description or "").strip(),
        )
        for loc, field in _leaves(Settings, ())
    ]


def variable(loc: Loc) -> str:
    """Return the environment variable of a setting."""
    parts = (str(p) if p == ANY_NAME else str(p).upper().replace("-", "_") for p in loc)
    return PREFIX + SEPARATOR.join(parts)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a section, None for a plain value."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def named_section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model of the entries where people give the names (``targets.postgres``), None elsewhere."""
    return section_of(get_args(annotation)[1]) if get_origin(annotation) is dict else None


def holds_secret(annotation: Any) -> bool:
    """Tell whether a value of this kind may carry a credential."""
    model = section_of(annotation)
    if model is not None:
        return any(holds_secret(f.annotation) for f in model.model_fields.values())
    return annotation is SecretStr or any(holds_secret(a) for a in get_args(annotation) if a is not NoneType)


def known_variables() -> list[str]:
    """Return the variables that have no chosen name in them, secret files included."""
    found = []
    for loc, field in _leaves(Settings, ()):
        if ANY_NAME not in loc:
            found.append(variable(loc))
            if holds_secret(field.annotation):
                found.append(variable(loc) + FILE_SUFFIX.upper())
    return found


def _leaves(model: type[BaseModel], loc: Loc) -> Iterator[tuple[Loc, FieldInfo]]:
    for name, field in model.model_fields.items():
        section, named = section_of(field.annotation), named_section_of(field.annotation)
        if section:
            yield from _leaves(section, (*loc, name))
        elif named:
            yield from _leaves(named, (*loc, name, ANY_NAME))
        else:
            yield (*loc, name), field


def _default(field: FieldInfo) -> str:
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["default"])
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None or value in ((), {}):
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    return format_duration(value) if hasattr(value, "total_seconds") else str(value)
