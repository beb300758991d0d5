"""The API's OpenAPI 3.1 description, generated from the endpoints and the very models that read and write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from hdr_responder import __version__
from hdr_responder.adapters.http.endpoint import AnyEndpoint, Nothing
from hdr_responder.adapters.http.problems import CONTENT_TYPE
from hdr_responder.records.views import View

PATH = "/api/openapi.json"
_REFS = "#/components/schemas/{model}"
_STATUSES = {
    "400": "A field is wrong",
    "401": "Missing or unknown token",
    "403": "The token lacks the scope",
    "404": "There is no such thing",
    "409": "Its state does not allow this",
    "503": "Try again later",
}


class Problem(View):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    """The field that is wrong, if one is."""


def describe(endpoints: Sequence[AnyEndpoint]) -> dict[str, Any]:
    """Return the OpenAPI document of the endpoints."""
    refs, definitions = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hdr-responder", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


Refs = dict[type[BaseModel], dict[str, Any]]


def _schemas(endpoints: Sequence[AnyEndpoint]) -> tuple[Refs, dict[str, Any]]:
    wanted: dict[type[BaseModel], JsonSchemaMode] = {Problem: "serialization"}
    for endpoint in endpoints:
        if isinstance(endpoint.answer, type):
            wanted[endpoint.answer] = "serialization"
        if endpoint.body is not Nothing:
            wanted[endpoint.body] = "validation"
    found, document = models_json_schema(list(wanted.items()), ref_template=_REFS)
    refs = {model: schema for (model, _), schema in found.items() if issubclass(model, BaseModel)}
    return refs, document["$defs"]


def _operation(endpoint: AnyEndpoint, refs: Refs) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "description": f"Needs the scope `{endpoint.scope}`.",
        "operationId": f"{endpoint.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', endpoint.path.lower()).strip('_')}",
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {str(endpoint.status): _answer(endpoint, refs), **_errors(refs)},
    }
    if endpoint.body is not Nothing:
        required = any(f.is_required() for f in endpoint.body.model_fields.values())
        operation["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": refs[endpoint.body]}},
        }
    return operation


def _answer(endpoint: AnyEndpoint, refs: Refs) -> dict[str, Any]:
    if isinstance(endpoint.answer, str):
        return {"description": "Done", "content": {endpoint.answer: {"schema": {"type": "string"}}}}
    return {"description": "Done", "content": {"application/json": {"schema": refs[endpoint.answer]}}}


def _errors(refs: Refs) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": refs[Problem]}}
    return {status: {"description": text, "content": content} for status, text in _STATUSES.items()}


def _path_parameters(endpoint: AnyEndpoint) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", endpoint.path)
    return [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]


def _query_parameters(endpoint: AnyEndpoint) -> list[dict[str, Any]]:
    schema = endpoint.query.model_json_schema(ref_template=_REFS)
    definitions = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "schema": _inlined(field, definitions),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return a query's schema without references: its enumerations are short and used there only."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}
