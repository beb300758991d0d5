"""What expressions can read: one list of names and types for `check`, and the values behind them for a run.

Both sides live here, so that a name which is declared always has its value under the same spelling. The values are
plain data and are frozen into a plan as JSON.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from hdr_responder.documents.expressions import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    WORKLOAD,
    CelType,
    Scope,
)
from hdr_responder.domain.workloads import Workload

_MAX_DEPTH = 4
_SCALARS: tuple[tuple[type, CelType], ...] = (
    (bool, BOOL),
    (int, INT),
    (float, DOUBLE),
    (str, STRING),
    (timedelta, DURATION),
    (datetime, TIMESTAMP),
)
_NULLABLE = {BOOL: "bool_wrapper", INT: "int_wrapper", DOUBLE: "double_wrapper", STRING: "string_wrapper"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AlertValues(_Frozen):
    """One alert as expressions see it."""

    labels: dict[str, str]
    annotations: dict[str, str]
    status: str
    fingerprint: str
    starts_at: datetime


class IncidentValues(_Frozen):
    """The incident as expressions see it; ``service`` and ``cluster`` are None where the alerts named none."""

    ref: str
    title: str
    service: str | None
    priority: str
    cluster: str | None
    problem: str


class ServiceValues(_Frozen):
    """The incident's service from the catalogue; ``workload`` is None without a cluster or a catalogued workload."""

    name: str
    title: str
    tier: str
    owner: str
    namespace: str
    critical: bool
    replicas: int | None
    depends_on: tuple[str, ...]
    workload: Workload | None


class StepOutcome(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class StepValues(_Frozen):
    """A step as later expressions see it; ``outcome`` None means that the run has not reached it."""

    outcome: StepOutcome | None
    result: Any = None
    """The action's `Result`, None when there is none."""


class ScopeValues(_Frozen):
    """Everything that expressions of one run can read.

    Without an alert (a person started the playbook) or a known service, their names have no value, and an expression
    that reads one is an error.
    """

    incident: IncidentValues
    alert: AlertValues | None = None
    alerts: tuple[AlertValues, ...] = ()
    service: ServiceValues | None = None
    params: Mapping[str, Any] = {}
    steps: Mapping[str, StepValues] = {}
    item: Any = None
    """The present entry of a ``for_each``."""

    def mapping(self) -> dict[str, object]:
        """Return qualified names with their values, as `Expression.evaluate` takes them."""
        values: dict[str, object] = {"alerts": self.alerts}
        for root, part in (("alert", self.alert), ("incident", self.incident), ("service", self.service)):
            if part is not None:
                values |= _fields_of(root, part)
        if self.item is not None:
            values["item"] = self.item
        for name, value in self.params.items():
            values |= _values_of(f"params.{name}", value)
        for step_id, step in self.steps.items():
            values |= {f"steps.{step_id}.{o.value}": step.outcome is o for o in StepOutcome}
            if isinstance(step.result, BaseModel):
                values |= _fields_of(f"steps.{step_id}", step.result)
        return values


def base_scope() -> Scope:
    """Return what every playbook may read before it has params and steps."""
    return Scope(names=dict(_BASE))


def triage_scope() -> Scope:
    """Return what triage may read: the alert, since there is no incident yet."""
    return Scope(names=_fields_in("alert", AlertValues))


def params_scope(params: Mapping[str, CelType]) -> dict[str, CelType]:
    """Return the names of the params with these types."""
    names: dict[str, CelType] = {}
    for name, kind in params.items():
        names |= names_of(f"params.{name}", Workload) if kind == WORKLOAD else {f"params.{name}": kind}
    return names


def step_scope(step_id: str, result: type[BaseModel] | None) -> dict[str, CelType]:
    """Return the names that a step gives to the steps after it; None: it has no result."""
    outcomes = {f"steps.{step_id}.{o.value}": BOOL for o in StepOutcome}
    return {**(_fields_in(f"steps.{step_id}", result) if result else {}), **outcomes}


def cel_type(annotation: Any) -> CelType:
    """Return the CEL type of a Python annotation; what CEL cannot type is ``dyn``."""
    return names_of("x", annotation)["x"]


def names_of(name: str, annotation: Any, depth: int = 0) -> dict[str, CelType]:
    """Return the names that a value of this annotation gives: itself and, for a model, its fields."""
    base, nullable = _unwrap(annotation)
    if isinstance(base, type) and issubclass(base, BaseModel) and depth < _MAX_DEPTH:
        return {name: base.__name__.lower(), **_fields_in(name, base, depth + 1)}
    kind = _kind(base)
    return {name: _NULLABLE.get(kind, kind) if nullable else kind}


def _fields_in(root: str, model: type[BaseModel], depth: int = 0) -> dict[str, CelType]:
    return {f"{root}.{field}": kind for field, kind in _fields(model, depth)}


@lru_cache(maxsize=512)
def _fields(model: type[BaseModel], depth: int) -> tuple[tuple[str, CelType], ...]:
    names: dict[str, CelType] = {}
    for field, info in model.model_fields.items():
        names |= names_of(field, info.annotation, depth)
    return tuple(names.items())


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """Strip Annotated, aliases and None; tell whether None was among the choices."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            choices = [a for a in get_args(annotation) if a is not type(None)]
            nullable = len(choices) < len(get_args(annotation))
            return (_unwrap(choices[0])[0] if len(choices) == 1 else Any), nullable
        else:
            return annotation, False


def _kind(base: Any) -> CelType:
    origin = get_origin(base)
    if origin is Literal:
        return _common({_kind(type(choice)) for choice in get_args(base)})
    if origin in (list, tuple, set, frozenset, Sequence):
        items = {_element(a) for a in get_args(base) if a is not Ellipsis}
        return f"list<{_common(items)}>"
    if origin in (dict, Mapping):
        key, value = get_args(base)
        return f"map<string, {_element(value)}>" if _unwrap(key)[0] is str else DYN
    return _scalar(base) if isinstance(base, type) else DYN


def _scalar(base: type) -> CelType:
    if issubclass(base, BaseModel):
        return base.__name__.lower()
    if issubclass(base, Enum) and not issubclass(base, str | int):
        return DYN
    return next((kind for python, kind in _SCALARS if issubclass(base, python)), DYN)


def _element(annotation: Any) -> CelType:
    """Return the type of a list's or map's element: there, models are maps and times are text."""
    base, nullable = _unwrap(annotation)
    if isinstance(base, type) and issubclass(base, BaseModel):
        return f"map<string, {DYN}>"
    kind = _kind(base)
    if kind in (DURATION, TIMESTAMP):
        return STRING
    return _NULLABLE.get(kind, kind) if nullable else kind


def _common(kinds: set[CelType]) -> CelType:
    return kinds.pop() if len(kinds) == 1 else DYN


def _fields_of(root: str, value: BaseModel, depth: int = 0) -> dict[str, object]:
    values: dict[str, object] = {}
    for field in type(value).model_fields:
        values |= _values_of(f"{root}.{field}", getattr(value, field), depth)
    return values


def _values_of(name: str, value: object, depth: int = 0) -> dict[str, object]:
    """Return the values behind `names_of`: the same names for the same value."""
    if isinstance(value, BaseModel) and depth < _MAX_DEPTH:
        return {name: value, **_fields_of(name, value, depth + 1)}
    return {name: value}


def _base_names() -> dict[str, CelType]:
    service = {**_fields_in("service", ServiceValues)}
    return {
        **_fields_in("alert", AlertValues),
        "alerts": f"list<map<string, {DYN}>>",
        **_fields_in("incident", IncidentValues),
        **service,
    }


_BASE = _base_names()

__all__ = [
    "AlertValues",
    "IncidentValues",
    "ScopeValues",
    "ServiceValues",
    "StepOutcome",
    "StepValues",
    "base_scope",
    "cel_type",
    "names_of",
    "params_scope",
    "step_scope",
    "triage_scope",
]
