"""What a playbook passes to an action or a check, checked against its typed parameters as far as it is known.

Static values are validated by the parameter model itself when the document is loaded; a lone expression is compared by
type; the rest is validated when the expressions have their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hdr_responder.actions.contract import Parameters
from hdr_responder.documents.expressions import DOUBLE, DYN, INT, STRING, CelType, ExpressionError, Scope, type_name
from hdr_responder.documents.findings import Finding, from_fault, from_validation
from hdr_responder.documents.scope import cel_type
from hdr_responder.documents.source import Loc
from hdr_responder.documents.templates import InvalidTemplateError, Path, Template, compile_template


class _Unresolved:
    """Stands for a value that an expression will give."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parameters of one action or check as written; ``template`` always is a mapping."""

    template: Template
    model: type[Parameters]

    @property
    def depends_on_steps(self) -> frozenset[str]:
        """Ids of the steps that must have ended before this can be resolved."""
        return self.template.depends_on_steps

    def resolve(self, values: Mapping[str, object]) -> Parameters:
        """Return the typed parameters.

        Raises ExpressionError when an expression has no value or gives one that the parameters refuse.
        """
        given = self.template.evaluate(values)
        try:
            return self.model.model_validate(given)
        except ValidationError as e:
            told = "; ".join(f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in e.errors(include_input=False))
            raise ExpressionError(f"the parameters are refused: {told}") from e


def compile_arguments(
    written: Any, model: type[Parameters], scope: Scope, at: Loc
) -> tuple[Arguments | None, list[Finding]]:
    """Compile what stands at ``at``. Returns None with the findings when an expression is invalid."""
    short = model.shorthand if not isinstance(written, Mapping) and written is not None else None
    if written is None:
        written = {}
    if short is None and not isinstance(written, Mapping):
        return None, [Finding(loc=at, message="parameters must be a mapping", value=str(written))]
    value = {short: written} if short else written
    try:
        template = compile_template(value, scope)
    except InvalidTemplateError as e:
        return None, [from_fault(_place(at, p, short), f) for p, faults in e.by_path.items() for f in faults]
    findings = _static(template, model, at, short) + _types(template, model, at, short)
    return Arguments(template, model), findings


def accepts(expected: CelType, given: CelType) -> bool:
    """Tell whether a value of the CEL type ``given`` can stand where ``expected`` is wanted."""
    expected, given = _bare(expected), _bare(given)
    if DYN in (expected, given) or expected == given or (expected, given) == (DOUBLE, INT):
        return True
    for outer in ("list<", "map<"):
        if expected.startswith(outer) and given.startswith(outer):
            return DYN in expected + given
    return given.startswith("map<") and not expected.startswith("list<") and "<" not in expected and _is_model(expected)


def _is_model(kind: CelType) -> bool:
    return kind not in (STRING, INT, DOUBLE, "bool", "duration", "timestamp", "bytes", "null")


def _bare(kind: CelType) -> CelType:
    return kind.removesuffix("_wrapper")


def _place(at: Loc, path: Path, short: str | None) -> Loc:
    return (*at, *(path[1:] if short else path))


def _static(template: Template, model: type[Parameters], at: Loc, short: str | None) -> list[Finding]:
    """Let the model judge everything that is known; a text that is not yet known is stood for by some text."""
    given = {path: alone.type if alone else STRING for path, alone in template.expressions}
    stand_ins = {path: "placeholder" if kind == STRING else _Unresolved() for path, kind in given.items()}
    data = _with_stand_ins(template.source, (), stand_ins)
    try:
        model.model_validate(data)
    except ValidationError as e:
        findings = from_validation(e, model, data, but=lambda loc: any(loc[: len(path)] == path for path in given))
        return [_moved(f, _place(at, f.loc, short)) for f in findings]
    return []


def _moved(finding: Finding, loc: Loc) -> Finding:
    return Finding(
        loc=loc,
        message=finding.message,
        value=finding.value,
        expected=finding.expected,
        suggestion=finding.suggestion,
        at_key=finding.at_key,
    )


def _with_stand_ins(value: Any, path: Path, stand_ins: Mapping[Path, object]) -> Any:
    if path in stand_ins:
        return stand_ins[path]
    if isinstance(value, Mapping):
        return {k: _with_stand_ins(v, (*path, k), stand_ins) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_stand_ins(v, (*path, i), stand_ins) for i, v in enumerate(value)]
    return value


def _types(template: Template, model: type[Parameters], at: Loc, short: str | None) -> list[Finding]:
    findings: list[Finding] = []
    for path, alone in template.expressions:
        field = _field(model, path[0])
        if field is None:
            continue
        place = _place(at, path, short)
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("literal"):
            message = f"{path[0]!r} is in a language of its own and takes no expressions; pass values as its arguments"
            findings.append(Finding(loc=place, message=message))
            continue
        expected, given = _expected(field.annotation, path[1:]), alone.type if alone else STRING
        if not accepts(expected, given):
            message = f"{path[0]!r} takes {type_name(expected)}, this gives {type_name(given)}"
            findings.append(Finding(loc=place, message=message))
    return findings


def _field(model: type[BaseModel], key: str | int) -> Any:
    return next((f for name, f in model.model_fields.items() if key == (f.alias or name)), None)


def _expected(annotation: Any, path: Path) -> CelType:
    """Return the type wanted at a path below a field; what lies deeper than one level is left to the run."""
    kind = cel_type(annotation)
    if not path:
        return kind
    arguments = get_args(annotation)
    if len(path) == 1 and kind.startswith(("list<", "map<")) and arguments:
        return cel_type(next(a for a in reversed(arguments) if a is not Ellipsis))
    return DYN
