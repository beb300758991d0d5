from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, JsonValue

from hdr_responder.documents.scope import ScopeValues, base_scope, cel_type, names_of, step_scope
from hdr_responder.domain.durations import Duration
from hdr_responder.domain.workloads import Workload
from tests.unit.documents.example_actions import ReleaseResult
from tests.unit.documents.scopes import scope, values


class _Word(StrEnum):
    A = "a"


class _Number(IntEnum):
    ONE = 1


class _Thing(Enum):
    X = object()


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (bool, "bool"), (int, "int"), (float, "double"), (str, "string"), (timedelta, "duration"),
        (Duration, "duration"),
        (datetime, "timestamp"), (str | None, "string_wrapper"), (float | None, "double_wrapper"),
        (Duration | None, "duration"), (Annotated[int, Field(ge=1)], "int"), (_Word, "string"), (_Number, "int"),
        (_Thing, "dyn"), (Literal["a", "b"], "string"), (Literal["a", 1], "dyn"), (int | str, "dyn"), (Any, "dyn"),
        (JsonValue, "dyn"), (list[str], "list<string>"), (tuple[int, ...], "list<int>"), (tuple[int, str], "list<dyn>"),
        (list[timedelta], "list<string>"), (dict[str, float], "map<string, double>"), (dict[int, str], "dyn"),
        (list[Workload], "list<map<string, dyn>>"), (list[int | None], "list<int_wrapper>"), (Workload, "workload"),
        (Workload | None, "workload"),
    ],
)  # fmt: skip
def test_annotations_have_cel_types(annotation: Any, kind: str) -> None:
    assert cel_type(annotation) == kind


class _Node(BaseModel):
    name: str
    next: _Node | None = None


def test_a_model_that_holds_itself_ends() -> None:
    names = names_of("x", _Node)
    assert names["x.next.name"] == "string"
    assert max(n.count(".") for n in names) < 8


def test_what_is_declared_has_its_value_under_the_same_name() -> None:
    declared, given = scope().names, values()
    assert set(given) <= set(declared)
    assert set(declared) - set(given) == {n for n in declared if n.startswith("service.")}


def test_a_step_gives_its_outcome_and_result() -> None:
    assert step_scope("r", ReleaseResult) == {
        "steps.r.ok": "bool",
        "steps.r.failed": "bool",
        "steps.r.skipped": "bool",
        "steps.r.age": "duration",
        "steps.r.ratio": "double_wrapper",
        "steps.r.previous": "revision",
        "steps.r.previous.number": "int",
        "steps.r.previous.at": "timestamp",
        "steps.r.pods": "list<map<string, dyn>>",
    }


def test_the_scope_promised_to_authors_is_there() -> None:
    promised = {"alert.labels", "alert.annotations", "alert.status", "alert.fingerprint", "alert.starts_at", "alerts"}
    promised |= {f"incident.{f}" for f in ("ref", "title", "service", "priority", "cluster", "problem")}
    promised |= {f"service.{f}" for f in ("name", "title", "tier", "owner", "namespace", "workload", "depends_on")}
    assert promised <= set(base_scope().names)


def test_values_without_alert_or_service_have_no_such_names() -> None:
    given = ScopeValues.model_validate(
        {"incident": dict.fromkeys(("ref", "title", "service", "priority", "cluster", "problem"), "x")}
    )
    assert {n.split(".")[0] for n in given.mapping()} == {"incident", "alerts"}
