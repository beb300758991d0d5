"""JSON Schema of every kind of document, from the models that load them, for editors to complete and check with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from hdr_responder.actions.contract import AnyAction, AnyCheck, Parameters, Registry
from hdr_responder.documents.calendar import Calendar
from hdr_responder.documents.escalation import EscalationPolicy
from hdr_responder.documents.playbook_document import Playbook
from hdr_responder.documents.services import ServiceCatalogue
from hdr_responder.documents.strict import Document
from hdr_responder.documents.triage import Triage

Schema = dict[str, Any]

KINDS: Mapping[str, type[Document]] = {
    "Playbook": Playbook,
    "ServiceCatalogue": ServiceCatalogue,
    "Triage": Triage,
    "Escalation": EscalationPolicy,
    "Calendar": Calendar,
}
_EXPRESSION: Schema = {"type": "string", "pattern": r"\$\{", "description": "An expression: ${...}"}


def schema(kind: str, registry: Registry) -> Schema:
    """Return the JSON Schema (2020-12) of one kind; where actions and checks are named, it knows their parameters.

    Raises KeyError for an unknown kind.
    """
    document = KINDS[kind].model_json_schema(by_alias=True)
    document["$schema"] = GenerateJsonSchema.schema_dialect
    if kind == "Playbook":
        _inline(document, registry)
    if kind == "ServiceCatalogue":
        probes = [check for check in registry.checks.values() if check.is_health_probe]
        document["$defs"]["Service"]["properties"]["health"] = _one_of(probes, document["$defs"])
    return document


def _inline(document: Schema, registry: Registry) -> None:
    definitions: Schema = document["$defs"]
    for owner in ("ActionStep", "Reaction"):
        properties = definitions[owner]["properties"]
        properties["action"] = {
            "type": "string",
            "oneOf": [{"const": a.name, "description": a.summary} for a in registry.actions.values()],
        }
        definitions[owner]["allOf"] = [_when_action(action, definitions) for action in registry.actions.values()]
    entry = _one_of(registry.checks.values(), definitions)
    for key in ("all", "any"):
        definitions["Verify"]["properties"][key] = {"type": "array", "minItems": 1, "items": entry}


def _one_of(checks: Iterable[AnyCheck], definitions: Schema) -> Schema:
    """Return the schema of a mapping with one check as its key."""
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {check.name: _described(check, definitions) for check in checks},
    }


def _when_action(action: AnyAction, definitions: Schema) -> Schema:
    return {
        "if": {"properties": {"action": {"const": action.name}}, "required": ["action"]},
        "then": {"properties": {"with": _parameters(action.name, action.parameters, definitions)}},
    }


def _described(check: AnyCheck, definitions: Schema) -> Schema:
    return {**_parameters(check.name, check.parameters, definitions), "description": check.summary}


def _parameters(name: str, model: type[Parameters], definitions: Schema) -> Schema:
    """Return the schema of a parameter model, in which every value may also be an expression."""
    own = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
    for inner, definition in own.pop("$defs", {}).items():
        definitions[f"{name}.{inner}"] = definition
    fields: Schema = own.get("properties", {})
    own["properties"] = {key: {"anyOf": [value, _EXPRESSION]} for key, value in fields.items()}
    shorthand = _field(model, model.shorthand)
    return {"anyOf": [own, own["properties"][shorthand]]} if shorthand else own


def _field(model: type[BaseModel], name: str | None) -> str | None:
    return (model.model_fields[name].alias or name) if name else None
