"""A playbook's own parameters: values with a type, given by a default, an expression or a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import JsonValue

from hdr_responder.documents.arguments import accepts
from hdr_responder.documents.expressions import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    WORKLOAD,
    CelType,
    ExpressionError,
    Scope,
    type_name,
)
from hdr_responder.documents.findings import Finding, from_fault, unknown
from hdr_responder.documents.playbook_document import Param
from hdr_responder.documents.source import Loc
from hdr_responder.documents.strict import workload_from
from hdr_responder.documents.templates import InvalidTemplateError, Template, compile_template
from hdr_responder.domain.durations import format_duration, parse_duration
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import InvalidInputError

_TYPES: Mapping[str, CelType] = {
    "string": STRING,
    "int": INT,
    "number": DOUBLE,
    "bool": BOOL,
    "duration": DURATION,
    "workload": WORKLOAD,
}
_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledParam:
    """One parameter; ``default`` None means that a person must give it."""

    name: str
    type: CelType
    default: Template | None

    def resolve(self, values: Mapping[str, object], given: Mapping[str, object]) -> object:
        """Return the value, typed.

        Raises InvalidInputError when a person gave none or a wrong one, ExpressionError when the default has no value.
        """
        if self.name in given:
            try:
                return self.typed(given[self.name], values)
            except ValueError as e:
                raise InvalidInputError(str(e), field=f"params.{self.name}") from e
        if self.default is None:
            raise InvalidInputError("a value is required", field=f"params.{self.name}")
        value = self.default.evaluate(values)
        if value is None:
            raise ExpressionError(f"params.{self.name}: {self.default.source} gives null")
        try:
            return self.typed(value, values)
        except ValueError as e:
            raise ExpressionError(f"params.{self.name}: {e}") from e

    def typed(self, value: object, values: Mapping[str, object]) -> object:
        """Return the value as this parameter's type; texts are read (``30m``, ``deployment/x``). Raises ValueError."""
        if self.type == WORKLOAD and isinstance(value, str):
            return _workload(value, values)
        return _typed(value, self.type)

    def from_json(self, value: JsonValue) -> object:
        """Return the value that `to_json` wrote."""
        if self.type == WORKLOAD and isinstance(value, dict):
            return Workload.model_validate(value)
        return _typed(value, self.type)


def to_json(value: object) -> JsonValue:
    """Return a parameter's value as it is frozen into a plan."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Workload):
        return value.model_dump(mode="json")
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list):
        return [to_json(v) for v in value]
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    raise TypeError(f"a parameter cannot be a {type(value).__name__}")


def compile_param(name: str, written: Any, scope: Scope) -> tuple[CompiledParam | None, list[Finding]]:
    """Compile one entry of ``params``; ``written`` is a `Param` or a plain value."""
    at: Loc = ("params", name)
    declared: CelType | None = None
    if isinstance(written, Param):
        declared = _TYPES[written.type]
        if written.default is None:
            return CompiledParam(name=name, type=declared, default=None), []
        at, written = (*at, "default"), written.default
    try:
        template = compile_template(written, scope)
    except InvalidTemplateError as e:
        return None, [from_fault(at, fault) for fault in e.faults]
    given = _given_type(template, written)
    param = CompiledParam(name=name, type=declared or given, default=template)
    if declared is None:
        return param, []
    if not template.is_static and not accepts(declared, given):
        message = f"parameter {name!r} is {type_name(declared)}, this gives {type_name(given)}"
        return param, [Finding(loc=at, message=message)]
    return param, _static_faults(param, written, at) if template.is_static else []


def check_given(params: Sequence[CompiledParam], given: Mapping[str, Template], at: Loc) -> list[Finding]:
    """Check what a call gives to the params of the playbook that it calls: names, types, and none missing."""
    known = {p.name: p for p in params}
    found: list[Finding] = []
    for name, template in given.items():
        param, place = known.get(name), (*at, name)
        if param is None:
            found.append(unknown(place, "parameter", name, known, at_key=True))
        elif template.is_static:
            found.extend(_static_faults(param, template.source, place))
        elif not _fits(param.type, _given_type(template, template.source)):
            message = (
                f"parameter {name!r} is {type_name(param.type)}, this gives {type_name(_given_type(template, ''))}"
            )
            found.append(Finding(loc=place, message=message))
    missing = [p.name for p in params if p.default is None and p.name not in given]
    found.extend(Finding(loc=at, message=f"parameter {n!r} must be given", at_key=True) for n in missing)
    return found


def _fits(expected: CelType, given: CelType) -> bool:
    """Tell whether a param takes a value of this type; text is read as its type when it is planned."""
    return given == STRING or accepts(expected, given)


def entry_type(template: Template) -> CelType | None:
    """Return the type of a list's entries; None when the template gives no list."""
    if isinstance(template.source, list):
        kinds = {_plain_type(entry) for entry in template.source} if template.is_static else {DYN}
        return kinds.pop() if len(kinds) == 1 else DYN
    given = _given_type(template, template.source)
    if given.startswith("list<"):
        return given.removeprefix("list<").removesuffix(">")
    return DYN if given == DYN else None


def _given_type(template: Template, written: Any) -> CelType:
    if template.expressions:
        alone = template.expressions[0][1]
        return alone.type if alone else STRING
    return _plain_type(written)


def _plain_type(value: object) -> CelType:
    kinds: tuple[tuple[type, CelType], ...] = ((bool, BOOL), (int, INT), (float, DOUBLE))
    return next((kind for python, kind in kinds if isinstance(value, python)), STRING)


def _static_faults(param: CompiledParam, written: Any, at: Loc) -> list[Finding]:
    try:
        param.typed(written, {"incident.cluster": "any", "service.namespace": "any"})
    except ValueError as e:
        return [Finding(loc=at, message=str(e))]
    return []


def _workload(text: str, values: Mapping[str, object]) -> Workload:
    cluster, namespace = values.get("incident.cluster"), values.get("service.namespace")
    if not isinstance(cluster, str) or not cluster:
        raise ValueError(f"{text!r} names a workload, but the incident has no cluster")
    if text.count("/") < 2 and not isinstance(namespace, str):
        raise ValueError(f"{text!r} names no namespace, and the incident has no known service to take it from")
    return workload_from(text, cluster=cluster, namespace=str(namespace))


def _typed(value: object, kind: CelType) -> object:
    if kind == BOOL and isinstance(value, str) and value in _BOOLS:
        return _BOOLS[value]
    if kind == INT and isinstance(value, str):
        return _number(value, int)
    if kind == DOUBLE and isinstance(value, str):
        return _number(value, float)
    if kind == DOUBLE and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == DURATION and isinstance(value, str):
        return parse_duration(value)
    wanted: Mapping[CelType, type] = {
        STRING: str,
        INT: int,
        DOUBLE: float,
        BOOL: bool,
        DURATION: timedelta,
        WORKLOAD: Workload,
    }
    python = wanted.get(kind, object)
    if not isinstance(value, python) or (isinstance(value, bool) and kind not in (BOOL, "dyn")):
        raise ValueError(f"expected {type_name(kind)}, got {value!r}")
    return value


def _number(text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError as e:
        raise ValueError(f"expected a number, got {text!r}") from e
