"""The reference of actions and checks, made from the registry: what each takes, gives, needs and leaves behind.

Rights are those that an action declares for its own example, so a page cannot say less than what is granted.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from io import StringIO
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from hdr_responder.actions.contract import Action, AnyAction, AnyCheck, AnyMutation, Mutation, Read, Undo
from hdr_responder.actions.places import TARGET_KINDS
from hdr_responder.actions.registry import registry
from hdr_responder.domain.durations import format_duration
from hdr_responder.domain.workloads import Workload
from tests.unit.actions.samples import alternatives, written
from tests.unit.actions.test_registry import EARLIER, PARAMS

Row = tuple[str, ...]
WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    timedelta: "duration",
    datetime: "time",
    Workload: "workload",
    type(None): "nothing",
    Any: "anything",
    object: "anything",
}
LONGEST = 60
"""Characters of a default that are shown."""
_EXPRESSION = re.compile(r"\$\{[^}]*\}")
_JSON: TypeAdapter[Any] = TypeAdapter(Any)


def action_reference() -> str:
    """A section for each action, by system."""
    return _by_system(registry().actions.values(), _action)


def check_reference() -> str:
    """A section for each check."""
    return "\n".join(_check(check) for check in registry().checks.values())


def fragment(user: AnyAction | AnyCheck) -> str:
    """The part of a playbook that an action's or check's example is, with the params and steps that it reads."""
    example = textwrap.dedent(user.example.strip("\n")).strip()
    read = " ".join(_EXPRESSION.findall(example))
    steps = [s for s in EARLIER if f"steps.{s['id']}." in read and f"id: {s['id']}\n" not in f"{example}\n"]
    lines = _params(read + " ".join(_EXPRESSION.findall(json.dumps(steps))))
    lines += ["steps:"] if steps or isinstance(user, Action) else []
    lines += [f"  - {line}" for step in steps for line in _step(step)]
    if isinstance(user, Action):
        lines += _listed(_said_undo(user, example), "  ")
    else:
        lines += ["verify:", "  all:", *_listed(example, "    ")]
    return "".join(f"{line}\n" for line in lines)


def _by_system(actions: Any, page: Any) -> str:
    found: dict[str, list[str]] = {}
    for action in actions:
        found.setdefault(action.name.partition(".")[0], []).append(page(action))
    return "\n".join(f"## Actions: {system}\n\n" + "\n".join(pages) for system, pages in found.items())


def _action(action: AnyAction) -> str:
    return "\n".join(
        [
            f"### {action.name}\n",
            f"{_sentence(action.summary)}{_more(action)}\n",
            _fields("parameter", action.parameters, action.name),
            _fields("result", action.result, action.name),
            _table(("about", ""), [*_about(action)]),
            f"```yaml\n{fragment(action)}```\n",
        ]
    )


def _check(check: AnyCheck) -> str:
    short = f" Short form: `{check.name}: <{check.parameters.shorthand}>`." if check.parameters.shorthand else ""
    probe = "yes" if check.is_health_probe else "no: it is about an incident or a change"
    about = [("rights", _rights(check)), ("may be a service's `health`", probe), ("judges", _doc(type(check).evaluate))]
    return "\n".join(
        [
            f"### {check.name}\n",
            f"{_sentence(check.summary)}{short}\n",
            _fields("parameter", check.parameters, check.name),
            _table(("about", ""), about),
            f"```yaml\n{fragment(check)}```\n",
        ]
    )


def _about(action: AnyAction) -> Iterator[Row]:
    yield "rights", _rights(action)
    yield "time limit", f"{format_duration(timedelta(seconds=action.default_timeout_seconds))}, or the step's `timeout`"
    if isinstance(action, Read):
        yield "changes", "nothing"
        yield "cancelled", "at once"
    elif isinstance(action, Mutation):
        yield from _about_mutation(action)


def _about_mutation(action: AnyMutation) -> Iterator[Row]:
    kind = type(action)
    waits = "not while a dependency is down" if action.awaits_dependencies else "also while a dependency is down"
    yield "changes", f"effect `{action.effect_group}`, {'' if action.destructive else 'not '}destructive; {waits}"
    yield "rehearsed", _doc(kind.dry_run)
    fence = "the target carries the run's fence" if action.holds_fence else "the target can carry no fence"
    yield "known to have taken effect", f"{_doc(kind.observe)} {_sentence(fence.capitalize())}"
    restores = action.undoable is Undo.RESTORES
    yield "taken back", _doc(kind.undo) if restores else "It cannot be: the step says `undo: none`."
    yield "cancelled", "before the change; one that has begun is finished, and taken back where the playbook says so"


def _rights(user: AnyAction | AnyCheck) -> str:
    params = user.parameters.model_validate(written(user))
    rights = list(dict.fromkeys(f"{p.verb} {p.resource}".strip() for p in user.permissions(params)))
    return ", ".join(f"`{right}`" for right in rights) or "none"


def _fields(what: str, model: type[BaseModel], user: str) -> str:
    rows = [_field(name, field, what, user) for name, field in model.model_fields.items()]
    if not rows:
        return f"No {what}s.\n"
    said = _class_doc(model)
    header = (what, "type", "default", "meaning") if what == "parameter" else (what, "type", "meaning")
    return (f"{said}\n\n" if said else "") + _table(header, rows)


def _field(name: str, field: FieldInfo, what: str, user: str) -> Row:
    shown = f"`{field.alias or name}`"
    meaning = _sentence(field.description or _obvious(name, field, user)) + _parts(field.annotation)
    if what != "parameter":
        return shown, kind_of(field.annotation), meaning
    default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
    return shown, kind_of(field.annotation) + _bounds(field), default, meaning


def _obvious(name: str, field: FieldInfo, user: str) -> str:
    """What a parameter means that every action of a system has."""
    if Workload in alternatives(field.annotation):
        return "What it is about"
    system = user.partition(".")[0]
    return f"A name under `targets.{system}`" if name == "target" and system in TARGET_KINDS else ""


def _parts(annotation: Any) -> str:
    """The fields of what a value, or each entry of a list, consists of."""
    for base in alternatives(annotation):
        model = next(iter(get_args(base)), None) if get_origin(base) in (tuple, list, Sequence) else base
        if isinstance(model, type) and issubclass(model, BaseModel) and model is not Workload:
            return f" With {', '.join(f'`{f.alias or n}`' for n, f in model.model_fields.items())}."
    return ""


def kind_of(annotation: Any) -> str:
    """A type as people call it."""
    found = [a for a in alternatives(annotation) if a is not type(None)]
    return " or ".join(dict.fromkeys(_word(each) for each in found)) or "nothing"


def _word(base: Any) -> str:
    if base in WORDS:
        return WORDS[base]
    origin, inner = get_origin(base), [a for a in get_args(base) if a is not Ellipsis]
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in inner)
    if origin in (tuple, list, Sequence, set, frozenset):
        return f"list of {kind_of(Union[tuple(inner)])}"  # noqa: UP007 - made from a tuple
    if (origin is not None and issubclass(origin, dict)) or str(origin).endswith("Mapping'>"):
        return f"mapping of {kind_of(inner[0])} to {kind_of(inner[1])}"
    if isinstance(base, type) and hasattr(base, "__members__"):
        return " or ".join(f"`{member.value}`" for member in base)  # type: ignore[attr-defined]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", getattr(base, "__name__", str(base))).lower()


def _bounds(field: FieldInfo) -> str:
    told = []
    for word, name in (("at least", "ge"), ("more than", "gt"), ("at most", "le"), ("less than", "lt")):
        limit = next((getattr(m, name) for m in field.metadata if getattr(m, name, None) is not None), None)
        if limit is not None:
            told.append(f"{word} {format_duration(limit) if isinstance(limit, timedelta) else limit}")
    return f", {', '.join(told)}" if told else ""


def _default(value: Any) -> str:
    if value is None:
        return ""
    plain = format_duration(value) if isinstance(value, timedelta) else _JSON.dump_python(value, mode="json")
    text = plain if isinstance(plain, str) else json.dumps(plain)
    return f"`{text}`" if len(text) <= LONGEST else f"`{text[:LONGEST]}...`"


def _params(read: str) -> list[str]:
    used = [name for name in PARAMS if f"params.{name}" in read]
    return ["params:", *(f"  {name}: {json.dumps(PARAMS[name])}" for name in used)] if used else []


def _step(step: Any) -> list[str]:
    return [json.dumps(step)]


def _listed(text: str, indent: str) -> list[str]:
    first, *rest = text.splitlines()
    return [f"{indent}- {first}", *(f"{indent}  {line}".rstrip() for line in rest)]


def _said_undo(action: AnyAction, example: str) -> str:
    said = "undo" in YAML(typ="safe").load(StringIO(example))
    needed = isinstance(action, Mutation) and action.undoable is Undo.NONE and not said
    return f"{example}\nundo: none" if needed else example


def _more(action: AnyAction) -> str:
    """What the class says beyond its summary."""
    said = _class_doc(type(action))
    return "" if not said or said.rstrip(".") == action.summary.rstrip(".") else f" {said}"


def _class_doc(kind: type) -> str:
    own = vars(kind).get("__doc__") or ""
    return _sentence(" ".join(inspect.cleandoc(own).replace("``", "`").split()))


def _doc(method: Any) -> str:
    return " ".join((inspect.getdoc(method) or "").replace("``", "`").split())


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?", ":")) else f"{text}."


def _table(header: Row, listed: Sequence[Row]) -> str:
    lines = [header, tuple("---" for _ in header), *listed]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
