"""Parameters and checks as people read them, in plans, on timelines and in the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue

from hdr_responder.documents.compiled import CompiledCheck
from hdr_responder.documents.expressions import ExpressionError
from hdr_responder.documents.params import to_json
from hdr_responder.documents.playbooks import CompiledPlaybook
from hdr_responder.documents.templates import Template
from hdr_responder.domain.workloads import Workload


def check_lines(playbook: CompiledPlaybook, values: Mapping[str, object]) -> tuple[str, ...]:
    """Return each check of ``verify`` with its parameters; what a step gives is left as it is written."""
    return tuple(_check(check, values) for check in playbook.verify.checks) if playbook.verify else ()


def listed(values: Mapping[str, JsonValue]) -> str:
    """Return parameters as people read them: ``tail=100, workload=deployment/neural-hdr in hdr-empire (prod-eu)``."""
    return ", ".join(f"{name}={shown(value)}" for name, value in values.items()) or "nothing"


def shown(value: JsonValue) -> str:
    """Return a value as people read it."""
    if isinstance(value, dict) and value.keys() == Workload.model_fields.keys():
        return f"{value['kind']}/{value['name']} in {value['namespace']} ({value['cluster']})"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check(check: CompiledCheck, values: Mapping[str, object]) -> str:
    known = {name: _known(template, values) for name, template in check.with_.template.fields.items()}
    return f"{check.name}: {listed(known)}"


def _known(template: Template, values: Mapping[str, object]) -> JsonValue:
    try:
        return to_json(template.evaluate(values))
    except (ExpressionError, TypeError):
        written: JsonValue = template.source
        return written
