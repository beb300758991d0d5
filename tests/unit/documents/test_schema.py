from __future__ import annotations

import json
from typing import Any

import pytest

from hdr_responder.documents.schema import KINDS, schema
from tests.unit.documents.example_actions import registry


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_references(v) for v in node.values()))
    return set().union(*(_references(v) for v in node)) if isinstance(node, list) else set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_closed_schema(kind: str) -> None:
    made = schema(kind, registry())
    json.dumps(made)
    assert made["additionalProperties"] is False
    assert made["properties"]["kind"]["const"] == kind
    assert made["properties"]["apiVersion"]["const"] == "hdr-responder/v1"
    missing = {r for r in _references(made) if r.removeprefix("#/$defs/") not in made.get("$defs", {})}
    assert not missing


def test_a_playbook_schema_knows_actions_and_checks() -> None:
    made = schema("Playbook", registry())
    step = made["$defs"]["ActionStep"]
    assert {a["const"] for a in step["properties"]["action"]["oneOf"]} == set(registry().actions)
    logs = next(c for c in step["allOf"] if c["if"]["properties"]["action"]["const"] == "kubernetes.logs")
    parameters, shorthand = logs["then"]["properties"]["with"]["anyOf"]
    assert set(parameters["properties"]) == {"workload", "tail", "grep", "level", "since"}
    assert parameters["additionalProperties"] is False
    assert shorthand == parameters["properties"]["workload"]
    checks = made["$defs"]["Verify"]["properties"]["all"]["items"]
    assert set(checks["properties"]) == {"prometheus", "alert"}


def test_a_catalogue_schema_knows_the_checks_that_tell_health() -> None:
    health = schema("ServiceCatalogue", registry())["$defs"]["Service"]["properties"]["health"]
    assert set(health["properties"]) == {"prometheus"}


def test_keys_are_as_authors_write_them() -> None:
    step = schema("Playbook", registry())["$defs"]["ActionStep"]["properties"]
    assert {"with", "for", "when"} <= set(step)
    assert "with_" not in step


def test_an_unknown_kind_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        schema("Runbook", registry())
