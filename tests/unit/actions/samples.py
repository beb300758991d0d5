"""Parameters of every action and check, made from its example, and every place in them where a text can stand."""

from __future__ import annotations

import copy
import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from io import StringIO
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from hdr_responder.actions.contract import Action, AnyAction, AnyCheck
from hdr_responder.domain.workloads import Workload

CLUSTER, NAMESPACE, DATABASE, CACHE = "prod-eu", "hdr-empire", "hdr_empire", "hdr_cache"
Path = tuple[str | int, ...]
KEY = "<key>"
"""In a path: the key of a mapping's entry."""
WORKLOAD = {"cluster": CLUSTER, "namespace": NAMESPACE, "kind": "deployment", "name": "neural-hdr"}
NAMED: Mapping[str, str] = {"cluster": CLUSTER, "namespace": NAMESPACE}
"""What a text of these names is in every sample."""

HOSTILE = (
    "../../x",
    "..",
    ".",
    "",
    "a/b",
    "kube-system",
    "kube-system/secrets",
    "%2e%2e",
    "x;drop table y",
    "'; select pg_sleep(9)--",
    '"; select 1; --',
    "$(reboot)",
    "`id`",
    "|reboot",
    "a=b,c!=d",
    "*",
    "?watch=true",
    "x#y",
    "{{.}}",
    "${alert.labels}",
    "\n",
    "a\nb",
    "\x00",
    "é",
    "\u202e",
    "x" * 300,
)


def written(user: AnyAction | AnyCheck) -> dict[str, Any]:
    """The parameters of the example, with a sample in the place of every expression."""
    document = YAML(typ="safe").load(StringIO(user.example))
    given = document.get("with", {}) if isinstance(user, Action) else document[user.name]
    if not isinstance(given, Mapping):
        assert user.parameters.shorthand is not None, f"{user.name}: {given!r} is no mapping"
        given = {user.parameters.shorthand: given}
    fields = {field.alias or name: field for name, field in user.parameters.model_fields.items()}
    return {key: _filled(value, fields[key].annotation, key, user.name) for key, value in given.items()}


def _filled(value: Any, annotation: Any, name: str, user: str) -> Any:
    """A value of an example with a sample for each expression in it."""
    if isinstance(value, str) and "${" in value:
        return sample(annotation, name, user)
    if isinstance(value, Mapping):
        return {key: _filled(each, _below(annotation, key), str(key), user) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, _below(annotation, 0), name, user) for each in value]
    return _named(name, value, user)


def sample(annotation: Any, name: str, user: str) -> Any:
    """A value that a field of this type takes."""
    base, rest = _unwrapped(annotation)
    if base is Workload:
        return dict(WORKLOAD)
    if isinstance(base, type) and issubclass(base, BaseModel):
        required = {k: f for k, f in base.model_fields.items() if f.is_required()}
        return {f.alias or k: sample(f.annotation, k, user) for k, f in required.items()}
    origin = get_origin(base)
    if origin is Literal:
        return get_args(base)[0]
    if origin in (tuple, list, Sequence, set, frozenset):
        return [sample(next(a for a in get_args(base) if a is not Ellipsis), name, user)]
    if origin in (dict, Mapping):
        key, value = get_args(base)
        return {sample(key, "key", user): sample(value, "value", user)}
    plain: dict[Any, Any] = {
        str: "sample",
        int: 1,
        float: 1.0,
        bool: False,
        datetime: "2026-11-24T06:00:00Z",
        timedelta: "30s",
    }
    if base in plain:
        return _named(name, plain[base], user)
    assert rest, f"{user}: no sample for {name}: {annotation}"
    return None


def texts(annotation: Any, at: Path = ()) -> Iterator[Path]:
    """Every place below a type where a text can stand."""
    for base in alternatives(annotation):
        if base is str:
            yield at
        elif isinstance(base, type) and issubclass(base, BaseModel):
            for name, field in base.model_fields.items():
                yield from texts(field.annotation, (*at, field.alias or name))
        elif get_origin(base) in (tuple, list, Sequence, set, frozenset):
            for inner in dict.fromkeys(a for a in get_args(base) if a is not Ellipsis):
                yield from texts(inner, (*at, 0))
        elif get_origin(base) in (dict, Mapping):
            key, value = get_args(base)
            yield from ((*at, KEY) for _ in texts(key))
            yield from texts(value, (*at, "sample"))


def with_text(data: Mapping[str, Any], model: type[BaseModel], path: Path, text: str, user: str) -> dict[str, Any]:
    """A copy of the parameters with a text at a place; what lacks on the way there is made."""
    made: dict[str, Any] = copy.deepcopy(dict(data))
    here: Any = made
    annotation: Any = model
    for step, following in itertools.pairwise(path):
        annotation = _below(annotation, step)
        key = 0 if isinstance(here, list) else step
        if isinstance(following, int) or (isinstance(here, dict) and here.get(key) is None):
            here[key] = sample(annotation, str(step), user)
        here = here[key]
    if path[-1] == KEY:
        value = next(iter(here.values()), "sample")
        here.clear()
        here[text] = value
    else:
        here[path[-1]] = text
    return made


def takes(model: type[BaseModel], data: object) -> BaseModel | None:
    """The parameters, None where they are refused."""
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _below(annotation: Any, step: str | int) -> Any:
    for base in alternatives(annotation):
        if isinstance(base, type) and issubclass(base, BaseModel):
            return next(f.annotation for n, f in base.model_fields.items() if step == (f.alias or n))
        if get_origin(base) in (tuple, list, Sequence, set, frozenset):
            return next(a for a in get_args(base) if a is not Ellipsis)
        if get_origin(base) in (dict, Mapping):
            return get_args(base)[1]
    raise AssertionError(f"nothing below {annotation} at {step}")


def _named(name: str, value: Any, user: str) -> Any:
    """What names a place names a listed one, whatever the example says."""
    if not isinstance(value, str):
        return value
    target = {"postgres": DATABASE, "redis": CACHE}.get(user.partition(".")[0])
    return target if name == "target" and target else NAMED.get(name, value)


def _unwrapped(annotation: Any) -> tuple[Any, bool]:
    """The first alternative of a type, and whether None is one."""
    found = list(alternatives(annotation))
    return next((each for each in found if each is not type(None)), None), type(None) in found


def alternatives(annotation: Any) -> Iterator[Any]:
    """The types that a field of this type takes, annotations and aliases taken off."""
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from alternatives(each)
    elif hasattr(annotation, "__value__"):
        yield from alternatives(annotation.__value__)
    else:
        yield annotation
