"""Which parameters of a database server may be changed, and how their values are written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hdr_responder.actions.postgres.configuration import SetConfigParameters
from hdr_responder.actions.postgres.upkeep import AnalyzeParameters, VacuumParameters
from tests.unit.actions.hostile import HOSTILE


def setting(parameter: str = "work_mem", value: Any = "64MB") -> SetConfigParameters:
    return SetConfigParameters.model_validate({"target": "empire", "parameter": parameter, "value": value})


@pytest.mark.parametrize(
    ("parameter", "value", "text"),
    [
        ("work_mem", "64MB", "64MB"),
        ("checkpoint_timeout", "10m", "600000ms"),
        ("jit", False, "off"),
        ("random_page_cost", 1.1, "1.1"),
        ("default_statistics_target", 500, "500"),
        ("temp_file_limit", -1, "-1"),
    ],
)
def test_values_as_they_are_written(parameter: str, value: object, text: str) -> None:
    assert setting(parameter, value).wanted().text == text


@pytest.mark.parametrize("parameter", [*HOSTILE, "archive_command", "shared_buffers", "WORK_MEM", "fsync", ""])
def test_parameters_off_the_list_are_refused(parameter: str) -> None:
    with pytest.raises(ValidationError, match="may not be changed"):
        setting(parameter)


@pytest.mark.parametrize(
    "value", [*HOSTILE, "64", "64 MB", "-1MB", "64MB'", "99999999999MB", True, 64, 1.5, None, "x" * 300, "\n"]
)
def test_values_of_another_kind_are_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        setting("work_mem", value)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("jit", "on"), ("jit", 1), ("random_page_cost", "1"), ("random_page_cost", True), ("checkpoint_timeout", 60)],
)
def test_each_kind_is_written_in_one_way(parameter: str, value: object) -> None:
    with pytest.raises(ValidationError, match=f"{parameter} is "):
        setting(parameter, value)


@pytest.mark.parametrize("name", ["", "\n", "a\x00", "x" * 300, "é" * 40, "\ud800"], ids=ascii)
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    for names in ({"table": name}, {"table": "jobs", "schema_name": name}):
        with pytest.raises(ValidationError):
            AnalyzeParameters.model_validate({"target": "empire", **names})


def test_a_full_vacuum_is_not_offered() -> None:
    with pytest.raises(ValidationError, match="full"):
        VacuumParameters.model_validate({"target": "empire", "table": "jobs", "full": True})
